//! Counts of all events that were emitted. A subscriber may lag behind and lose events, but the
//! counts are exact. The main type is [`EventCounts`].

use super::cause::Cause;
use super::counter::Counter;
use super::event::Event;

/// Counts of all events since the start of the process.
#[derive(Debug, Default)]
pub struct EventCounts {
    pub stored_objects: Counter,
    pub stored_bytes: Counter,
    /// Objects that were removed from the disk to make space.
    pub evicted_objects: Counter,
    pub evicted_bytes: Counter,
    /// In the order of [`Cause::ALL`].
    failures: [Counter; Cause::ALL.len()],
}

impl EventCounts {
    /// Counts an event.
    pub(super) fn record(&self, event: &Event) {
        match event {
            Event::Stored { size_bytes, .. } => {
                self.stored_objects.increment();
                self.stored_bytes.add(*size_bytes);
            }
            Event::Evicted { size_bytes, .. } => {
                self.evicted_objects.increment();
                self.evicted_bytes.add(*size_bytes);
            }
            Event::FetchFailed { cause, .. } => self.record_failure(*cause),
            Event::CorruptionFound { .. } => self.record_failure(Cause::Corruption),
            Event::BucketFailed { .. } => self.record_failure(Cause::Bucket),
            Event::DiskFailed { .. } => self.record_failure(Cause::Disk),
            Event::Repaired { .. } | Event::BucketRecovered | Event::DiskRecovered => {}
        }
    }

    fn record_failure(&self, cause: Cause) {
        self.failures[cause as usize].increment();
    }

    /// Returns how often each cause was reported.
    pub fn failures(&self) -> impl Iterator<Item = (Cause, u64)> {
        let counts = self.failures.iter().map(Counter::get);
        Cause::ALL.into_iter().zip(counts)
    }
}
