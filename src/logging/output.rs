//! Writing to an output that may be full, blocked or gone.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::thread;
use std::time::Duration;

use super::queue::Queue;

/// The delay before a failed write is tried again doubles between these: a reader that restarts is
/// served at once, and one that stays away costs one system call a second.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(10);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Writes whole lines, and tries again until the output takes them. Returns false if the queue is
/// closed while writes fail.
pub fn write(mut output: &File, lines: &[u8], queue: &Queue) -> bool {
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
            // Standard error may be shared with a process that has made it non-blocking. A full
            // pipe is no failure.
            ErrorKind::WouldBlock => thread::sleep(delay),
            kind => {
                if kind == ErrorKind::BrokenPipe {
                    // The next reader begins with a whole line.
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

/// Where the line begins that the end of `written` lies in.
fn line_start(written: &[u8]) -> usize {
    written
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1)
}
