//! Counts of all events that were emitted. A subscriber may lag behind and lose events, but the
//! counts are exact. The main type is [`EventCounts`].

use super::cause::Cause;
use super::counter::Counter;
use super::event::{Event, EvictionReason};

/// Counts of all events since the start of the process.
#[derive(Debug, Default)]
pub struct EventCounts {
    pub stored_objects: Counter,
    pub stored_bytes: Counter,
    /// Objects that were removed from the disk, in the order of [`EvictionReason::ALL`].
    evicted: [EvictionCounts; EvictionReason::ALL.len()],
    /// In the order of [`Cause::ALL`].
    failures: [Counter; Cause::ALL.len()],
}

/// Counts of the objects that were removed for one reason.
#[derive(Debug, Default)]
pub struct EvictionCounts {
    pub objects: Counter,
    pub bytes: Counter,
}

impl EventCounts {
    /// Counts an event.
    pub(super) fn record(&self, event: &Event) {
        match event {
            Event::Stored { size_bytes, .. } => {
                self.stored_objects.increment();
                self.stored_bytes.add(*size_bytes);
            }
            Event::Evicted {
                size_bytes, reason, ..
            } => {
                let counts = &self.evicted[*reason as usize];
                counts.objects.increment();
                counts.bytes.add(*size_bytes);
            }
            Event::FetchFailed { cause, .. } => self.record_failure(*cause),
            Event::CorruptionFound { .. } => self.record_failure(Cause::Corruption),
            Event::BucketFailed { .. } => self.record_failure(Cause::Bucket),
            Event::DiskFailed { .. } => self.record_failure(Cause::Disk),
            Event::Repaired { .. }
            | Event::BucketRecovered
            | Event::ReplicaFailed { .. }
            | Event::ReplicaRecovered { .. }
            | Event::DiskRecovered => {}
        }
    }

    fn record_failure(&self, cause: Cause) {
        self.failures[cause as usize].increment();
    }

    /// Returns what was removed from the disk for each reason.
    pub fn evicted(&self) -> impl Iterator<Item = (EvictionReason, &EvictionCounts)> {
        EvictionReason::ALL.into_iter().zip(&self.evicted)
    }

    /// Returns how often each cause was reported.
    pub fn failures(&self) -> impl Iterator<Item = (Cause, u64)> {
        let counts = self.failures.iter().map(Counter::get);
        Cause::ALL.into_iter().zip(counts)
    }
}
