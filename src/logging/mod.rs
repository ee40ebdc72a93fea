//! The log's way to standard error: a bounded queue, and one thread that writes.
//!
//! Standard error may be a pipe that is not read, a pipe whose reader has exited, or a file on a
//! full disk. All of these cost log lines and never a request: logging neither blocks nor fails.
//! `/readyz` shows the loss, and the log itself states it once it can be written again. The main
//! type is [`LogWriter`].

mod output;
mod queue;

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use queue::{Queue, Taken};

/// How long the end of the process waits for queued lines. A pipe that is read takes the whole
/// queue in less.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

thread_local! {
    /// Catches the line that the writing thread itself logs.
    static OWN_LINE: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The thread that writes the log. Dropped, it writes what is queued, for a short time.
pub struct LogWriter {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

/// Accepts lines for the log.
#[derive(Clone)]
pub struct LogSink {
    queue: Arc<Queue>,
}

/// State of the log, for `/readyz`.
#[derive(Clone)]
pub struct LogHealth {
    queue: Arc<Queue>,
}

impl LogWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(output: File) -> io::Result<Self> {
        let queue = Arc::new(Queue::new());
        let taking = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || write_lines(&taking, &output))?;
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
        // A thread that is blocked in a write ends with the process.
        if self.queue.close(CLOSE_DEADLINE)
            && let Some(thread) = self.thread.take()
        {
            // Its panic is in the log.
            drop(thread.join());
        }
    }
}

impl LogHealth {
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

/// Each call takes one whole line, as `tracing_subscriber::fmt` passes it.
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

/// Sends panics to the log. The default hook writes to standard error itself, and blocks where that
/// is a full pipe.
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

fn write_lines(queue: &Queue, output: &File) {
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

/// The line that states a loss, in the configured format.
fn loss_report(lost_lines: u64) -> Vec<u8> {
    OWN_LINE.set(Some(Vec::new()));
    tracing::warn!(lost_lines, "log lines were lost");
    OWN_LINE.take().unwrap_or_default()
}
