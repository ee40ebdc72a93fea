//! Writing to an output that may be full, blocked or closed.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::thread;
use std::time::Duration;

use super::queue::LogQueue;

/// Bounds of the delay before a failed write is retried. The delay doubles at each retry, so that a
/// restarted reader gets lines at once, and a missing one costs one system call a second.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(10);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Writes whole lines, and retries until the output accepts them. Returns false if the queue is
/// closed while writes fail.
pub fn write(mut output: &File, lines: &[u8], queue: &LogQueue) -> bool {
    let (mut written, mut delay) = (0, MIN_RETRY_DELAY);
    while written < lines.len() {
        let error = match output.write(&lines[written..]) {
            Ok(0) => ErrorKind::WriteZero.into(),
            Ok(count) => {
                written += count;
                delay = MIN_RETRY_DELAY;
                continue;
            }
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Interrupted => continue,
            // Another process that shares standard error may have made it non-blocking. A full
            // pipe is then not a failure.
            ErrorKind::WouldBlock => thread::sleep(delay),
            kind => {
                if kind == ErrorKind::BrokenPipe {
                    // The next reader must get a whole line first.
                    written = line_start(&lines[..written]);
                }
                if !queue.await_retry(error.to_string(), delay) {
                    return false;
                }
            }
        }
        delay = (delay * 2).min(MAX_RETRY_DELAY);
    }
    true
}

/// Returns the start of the line that contains the end of `written`.
fn line_start(written: &[u8]) -> usize {
    written
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1)
}
