//! Standard error of the gateway, read line by line.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::{DEADLINE, lock};

#[derive(Clone)]
pub struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads `stream` to its end in a background thread.
    pub fn read(stream: impl Read + Send + 'static) -> Self {
        let log = Self {
            shared: Arc::default(),
        };
        let writing = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                writing.change(|lines| {
                    lines
                        .lines
                        .push(String::from_utf8_lossy(&line).into_owned());
                });
            }
            writing.change(|lines| lines.ended = true);
        });
        log
    }

    /// Returns the text so far.
    pub fn text(&self) -> String {
        lock(&self.shared.0).lines.join("\n")
    }

    pub fn events(&self) -> Vec<Value> {
        lock(&self.shared.0)
            .lines
            .iter()
            .filter_map(|line| event(line))
            .collect()
    }

    /// Waits for the first event that `wanted` selects.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = self.wait(|lines| {
            lines
                .lines
                .iter()
                .filter_map(|line| event(line))
                .find(|event| wanted(event))
        });
        found.unwrap_or_else(|| panic!("the log has no event for {what}"))
    }

    /// Waits for `count` events that `wanted` selects.
    #[track_caller]
    pub fn wait_for_many(
        &self,
        what: &str,
        count: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        let found = self.wait(|lines| {
            let events: Vec<_> = lines
                .lines
                .iter()
                .filter_map(|line| event(line))
                .filter(|e| wanted(e))
                .collect();
            (events.len() >= count).then_some(events)
        });
        found.unwrap_or_else(|| panic!("the log has fewer than {count} events for {what}"))
    }

    /// Waits for the first line, of any format, that `wanted` selects.
    #[track_caller]
    pub fn wait_for_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let found = self.wait(|lines| lines.lines.iter().find(|line| wanted(line)).cloned());
        found.unwrap_or_else(|| panic!("the log has no line for {what}"))
    }

    /// Waits until the process has closed the stream. Returns false at the deadline.
    pub fn await_end(&self) -> bool {
        self.wait(|lines| lines.ended.then_some(())).is_some()
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut lock(&self.shared.0));
        self.shared.1.notify_all();
    }

    /// Waits for a result of `find`. Returns `None` at the deadline or when the log has ended.
    fn wait<T>(&self, find: impl Fn(&Lines) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + DEADLINE;
        let mut lines = lock(&self.shared.0);
        loop {
            if let Some(found) = find(&lines) {
                return Some(found);
            }
            let left = deadline
                .checked_duration_since(Instant::now())
                .filter(|_| !lines.ended)?;
            lines = self
                .shared
                .1
                .wait_timeout(lines, left)
                .expect("no thread panicked with the lock")
                .0;
        }
    }
}

fn event(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok().filter(Value::is_object)
}

/// Returns whether this is the log event of a request whose `uri` contains `part`.
pub fn is_request_of(event: &Value, part: &str) -> bool {
    event["message"] == "request" && event["uri"].as_str().is_some_and(|uri| uri.contains(part))
}
