//! Queue of log lines between the threads that log and the thread that writes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum size of the queued lines, in bytes. It is enough for about ten thousand requests, and
/// bounds the memory if the log cannot be written.
const MAX_QUEUED_BYTES: usize = 4 << 20;

/// Size of the queued lines, in bytes, at which the queue accepts lines again after a loss. One
/// long gap in the log is easier to read than many short ones.
const RESUME_BYTES: usize = MAX_QUEUED_BYTES / 2;

/// Maximum size of one write, in bytes, unless a line is longer. A pipe takes up to `PIPE_BUF`
/// bytes (4096 on Linux) as a whole, so that the lines of two processes do not mix.
const MAX_WRITE_BYTES: usize = 4096;

/// Duration of a write from which `/readyz` reports it. The cause is a pipe without an active
/// reader, or a hanging disk.
const STALL_LIMIT: Duration = Duration::from_secs(5);

/// A bounded queue of log lines with many producers and one consumer.
pub struct LogQueue {
    state: Mutex<QueueState>,
    /// Wakes the consumer.
    changed: Condvar,
    /// Wakes [`LogQueue::close`].
    finished: Condvar,
}

/// Next entries for the consumer.
pub enum Taken {
    /// Whole lines.
    Lines(Vec<u8>),
    /// Number of lines that were refused at this point of the log.
    Lost(u64),
}

enum Entry {
    Line(Vec<u8>),
    Lost(u64),
}

#[derive(Default)]
struct QueueState {
    entries: VecDeque<Entry>,
    queued_bytes: usize,
    /// Lines refused since the queue was full. While this is not zero, every line is refused.
    gap_lines: u64,
    /// Lost lines that the log does not state yet.
    unstated_lines: u64,
    /// Lines lost since the start of the process.
    lost_lines: u64,
    /// Start of the current write.
    write_started: Option<Instant>,
    /// Last error of the current write.
    failure: Option<String>,
    is_closed: bool,
    is_finished: bool,
}

impl LogQueue {
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            finished: Condvar::new(),
        }
    }

    /// Adds a line, or counts it as lost if the queue is full. Never waits for the output.
    pub fn push(&self, line: Vec<u8>) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        // The consumer only waits while the queue is empty.
        let consumer_waits = state.entries.is_empty() && state.gap_lines == 0;
        if state.gap_lines == 0 && state.queued_bytes + line.len() <= MAX_QUEUED_BYTES {
            state.queued_bytes += line.len();
            state.entries.push_back(Entry::Line(line));
        } else {
            state.gap_lines += 1;
            state.unstated_lines += 1;
            state.lost_lines += 1;
        }
        drop(state);
        if consumer_waits {
            self.changed.notify_one();
        }
    }

    /// Waits for the next lines. Returns `None` once the queue is closed and empty.
    pub fn take(&self) -> Option<Taken> {
        let mut state = self.lock();
        loop {
            if state.gap_lines > 0 && state.queued_bytes <= RESUME_BYTES {
                let lost = std::mem::take(&mut state.gap_lines);
                state.entries.push_back(Entry::Lost(lost));
            }
            if let Some(taken) = state.next() {
                state.write_started = Some(Instant::now());
                return Some(taken);
            }
            if state.is_closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Records that the taken entries are written, and how many lost lines they state.
    pub fn acknowledge(&self, stated_lines: u64) {
        let mut state = self.lock();
        state.write_started = None;
        state.failure = None;
        state.unstated_lines -= stated_lines;
    }

    /// Records why a write has failed, and waits before the next attempt. Returns false if the
    /// queue is closed.
    pub fn await_retry(&self, failure: String, delay: Duration) -> bool {
        let mut state = self.lock();
        state.failure = Some(failure);
        let waited = self
            .changed
            .wait_timeout_while(state, delay, |state| !state.is_closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }

    /// Records that the consumer has ended.
    pub fn finish(&self) {
        self.lock().is_finished = true;
        self.finished.notify_all();
    }

    /// Refuses further lines, and waits until the consumer has ended. Returns false if that takes
    /// longer than `timeout`.
    pub fn close(&self, timeout: Duration) -> bool {
        let mut state = self.lock();
        state.is_closed = true;
        self.changed.notify_all();
        let waited = self
            .finished
            .wait_timeout_while(state, timeout, |state| !state.is_finished);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_finished
    }

    /// Returns the number of lines that were lost since the start of the process.
    pub fn lost_lines(&self) -> u64 {
        self.lock().lost_lines
    }

    /// Describes why lines are not written, and how many are lost. `None` without a problem.
    pub fn trouble(&self) -> Option<String> {
        let state = self.lock();
        let is_stalled = state
            .write_started
            .is_some_and(|started| started.elapsed() > STALL_LIMIT);
        let cause = match &state.failure {
            Some(failure) => format!("the log cannot be written: {failure}"),
            None if is_stalled => {
                format!("the log cannot be written: no write ends within {STALL_LIMIT:?}")
            }
            None if state.unstated_lines > 0 => {
                "the log is not written as fast as it grows".to_owned()
            }
            None => return None,
        };
        Some(match state.unstated_lines {
            0 => cause,
            lost => format!("{cause}; {lost} lines are lost"),
        })
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // A panic cannot happen while the state is inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    /// Removes and returns the next entries, as many as fit one write.
    fn next(&mut self) -> Option<Taken> {
        let mut lines = match self.entries.pop_front()? {
            Entry::Lost(count) => return Some(Taken::Lost(count)),
            Entry::Line(line) => line,
        };
        while let Some(Entry::Line(line)) = self.entries.front()
            && lines.len() + line.len() <= MAX_WRITE_BYTES
        {
            lines.extend_from_slice(line);
            self.entries.pop_front();
        }
        self.queued_bytes -= lines.len();
        Some(Taken::Lines(lines))
    }
}
