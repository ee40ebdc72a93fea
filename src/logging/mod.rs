//! Writing of the log to standard error, through a bounded queue and one thread.
//!
//! Standard error may be a pipe that is not read, a pipe whose reader has exited, or a file on a
//! full disk. Then log lines are lost, but logging neither blocks nor fails. `/readyz` shows the
//! loss, and a log line states it as soon as the log can be written again.
//!
//! This module knows nothing of the content of log lines. Its main type is [`LogWriter`].

mod output;
mod queue;

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use queue::{LogQueue, Taken};

/// How long the process waits for queued lines at its end. A pipe with a reader takes the whole
/// queue in less time.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

thread_local! {
    /// Captures the line that the writing thread itself logs.
    static OWN_LINE: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Thread that writes the log. When this is dropped, the thread writes the queued lines, for a
/// limited time, and ends.
pub struct LogWriter {
    queue: Arc<LogQueue>,
    thread: Option<JoinHandle<()>>,
}

/// Destination of log lines: the queue of a [`LogWriter`].
#[derive(Clone)]
pub struct LogSink {
    queue: Arc<LogQueue>,
}

/// QueueState of the log, for `/readyz`.
#[derive(Clone)]
pub struct LogHealth {
    queue: Arc<LogQueue>,
}

impl LogWriter {
    /// Starts the thread, which writes to `output`.
    ///
    /// # Errors
    /// If the system cannot create a thread.
    pub fn start(output: File) -> io::Result<Self> {
        let queue = Arc::new(LogQueue::new());
        let consumed = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || write_lines(&consumed, &output))?;
        Ok(Self {
            queue,
            thread: Some(thread),
        })
    }

    #[must_use]
    pub fn sink(&self) -> LogSink {
        LogSink {
            queue: Arc::clone(&self.queue),
        }
    }

    #[must_use]
    pub fn health(&self) -> LogHealth {
        LogHealth {
            queue: Arc::clone(&self.queue),
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // If the thread is blocked in a write, it ends with the process.
        if self.queue.close(CLOSE_TIMEOUT)
            && let Some(thread) = self.thread.take()
        {
            // A panic of the thread is in the log already.
            drop(thread.join());
        }
    }
}

impl LogHealth {
    /// Returns the number of lines that were lost since the start of the process.
    #[must_use]
    pub fn lost_lines(&self) -> u64 {
        self.queue.lost_lines()
    }

    /// Describes what is wrong with the log, if something is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.queue.trouble()
    }
}

impl<'a> MakeWriter<'a> for LogSink {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Each write is one whole line, because `tracing_subscriber::fmt` writes each line with one call.
impl io::Write for &LogSink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let is_own = OWN_LINE.with_borrow_mut(|own| {
            own.as_mut()
                .map(|own| own.extend_from_slice(line))
                .is_some()
        });
        if !is_own {
            self.queue.push(line.to_vec());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Installs a panic hook that logs panics. The default hook writes to standard error itself, and
/// blocks if that is a full pipe.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let at = panic.location().map(ToString::to_string);
        tracing::error!(
            thread = thread.name(),
            at,
            why = panic.payload_as_str(),
            "a thread panicked"
        );
    }));
}

/// Writes queued lines until the queue is closed and empty.
fn write_lines(queue: &LogQueue, output: &File) {
    while let Some(taken) = queue.take() {
        let (lines, stated_lines) = match taken {
            Taken::Lines(lines) => (lines, 0),
            Taken::Lost(count) => (loss_report(count), count),
        };
        if !output::write(output, &lines, queue) {
            break;
        }
        queue.acknowledge(stated_lines);
    }
    queue.finish();
}

/// Returns the line that states a loss, in the configured format. The level is `error`, which no
/// configured level hides.
fn loss_report(lost_lines: u64) -> Vec<u8> {
    OWN_LINE.set(Some(Vec::new()));
    tracing::error!(lost_lines, "log lines were lost");
    OWN_LINE.take().unwrap_or_default()
}
