//! The ring of recent events. The main type is [`Ring`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use super::entry::{EventEntry, EventId};
use crate::model::Event;

/// Events that are kept. Beyond them, the oldest are dropped.
const MAX_EVENTS: usize = 1000;

/// The recent events, numbered from 0 since the start of the process.
pub struct Ring {
    /// Random number of this process, so that identities of an earlier one are recognised.
    process: u32,
    /// Number of the first event in `entries`.
    first: u64,
    entries: VecDeque<Arc<EventEntry>>,
}

impl Ring {
    #[must_use]
    pub fn new(process: u32) -> Self {
        Self {
            process,
            first: 0,
            entries: VecDeque::with_capacity(MAX_EVENTS),
        }
    }

    pub fn push(&mut self, event: &Event, now: SystemTime) {
        if self.entries.len() == MAX_EVENTS {
            self.entries.pop_front();
            self.first += 1;
        }
        let id = EventId {
            process: self.process,
            number: self.next(),
        };
        self.entries
            .push_back(Arc::new(EventEntry::new(id, event, now)));
    }

    /// Drops all events and leaves out `count` numbers, because so many events were lost.
    pub fn skip(&mut self, count: u64) {
        self.first = self.next() + count;
        self.entries.clear();
    }

    /// Returns the number of the next event.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Returns where to read behind an event: at the oldest one if it belongs to another process.
    #[must_use]
    pub fn position_behind(&self, last: Option<EventId>) -> u64 {
        match last {
            Some(last) if last.process == self.process => (last.number + 1).min(self.next()),
            _ => self.first,
        }
    }

    /// Returns the event at `position`, or the number of the oldest one that is left.
    ///
    /// # Errors
    /// The number of the first event that is left, if this one was dropped.
    pub fn get(&self, position: u64) -> Result<Option<Arc<EventEntry>>, u64> {
        let Some(at) = position.checked_sub(self.first) else {
            return Err(self.first);
        };
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        Ok(self.entries.get(at).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_events_are_dropped() {
        let mut ring = Ring::new(7);
        let now = SystemTime::UNIX_EPOCH;
        for _ in 0..MAX_EVENTS + 5 {
            ring.push(&Event::DiskRecovered, now);
        }
        assert_eq!(ring.get(4).unwrap_err(), 5);
        assert_eq!(ring.get(5).unwrap().unwrap().id().number, 5);
        assert!(ring.get(ring.next()).unwrap().is_none());
        ring.skip(10);
        assert_eq!(ring.next(), 1015);
        assert_eq!(ring.get(1005).unwrap_err(), 1015);
    }

    #[test]
    fn reading_begins_behind_the_last_event() {
        let mut ring = Ring::new(7);
        for _ in 0..3 {
            ring.push(&Event::DiskRecovered, SystemTime::UNIX_EPOCH);
        }
        let last = |process, number| Some(EventId { process, number });
        for (last, position) in [
            (None, 0),
            (last(7, 0), 1),
            (last(7, 2), 3),
            (last(7, 99), 3),
            (last(8, 2), 0),
        ] {
            assert_eq!(ring.position_behind(last), position, "{last:?}");
        }
    }
}
