//! The fetches that run now, as operators see them. The main type is [`LiveFetches`].
//!
//! A fetch registers itself when it starts. It knows nothing of those who look at the list.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::fetch_meter::{FetchMeter, MeterReading};
use crate::model::{Target, TransferNumber, lock};

/// Purpose of a fetch, as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchAim {
    /// The bytes that answer for a target.
    Answer,
    /// Other bytes than the answer, whose digest a client has stated.
    OtherBytes,
    /// A stored target is fetched again for an operator or a job.
    Refresh,
    /// A request for a target of class `revalidate`.
    Revalidation,
    /// An object that only the bucket has is copied to the disk. No origin is asked.
    Promotion,
}

/// A fetch at one time.
#[derive(Debug, Clone)]
pub struct FetchView {
    pub number: TransferNumber,
    pub target: Target,
    pub aim: FetchAim,
    pub age: Duration,
    pub reading: MeterReading,
}

/// The fetches that run now.
#[derive(Debug, Default)]
pub struct LiveFetches {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_number: BTreeMap<TransferNumber, LiveFetch>,
}

#[derive(Debug)]
struct LiveFetch {
    target: Target,
    aim: FetchAim,
    started: Instant,
    meter: Arc<FetchMeter>,
}

/// Place of a fetch in the list. Dropping it removes the fetch.
#[derive(Debug)]
pub struct LivePlace {
    number: TransferNumber,
    fetches: Arc<LiveFetches>,
}

impl LiveFetches {
    /// Adds a fetch that starts now.
    pub fn register(
        self: &Arc<Self>,
        target: &Target,
        aim: FetchAim,
        meter: &Arc<FetchMeter>,
    ) -> LivePlace {
        let fetch = LiveFetch {
            target: target.clone(),
            aim,
            started: Instant::now(),
            meter: Arc::clone(meter),
        };
        let mut entries = lock(&self.entries);
        let number = TransferNumber::next();
        entries.by_number.insert(number, fetch);
        LivePlace {
            number,
            fetches: Arc::clone(self),
        }
    }

    /// Returns all fetches, the oldest first. The pools of fetches and exchanges bound their
    /// number.
    pub fn views(&self) -> Vec<FetchView> {
        let now = Instant::now();
        let entries = lock(&self.entries);
        let views = entries.by_number.iter().map(|(number, fetch)| FetchView {
            number: *number,
            target: fetch.target.clone(),
            aim: fetch.aim,
            age: now.saturating_duration_since(fetch.started),
            reading: fetch.meter.read(now),
        });
        views.collect()
    }
}

impl Drop for LivePlace {
    fn drop(&mut self) {
        lock(&self.fetches.entries).by_number.remove(&self.number);
    }
}
