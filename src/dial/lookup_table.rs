//! Lookups in progress, and which of them ends if there are too many.
//!
//! No lookup waits for a place. A client that asks for many names loses its own lookups, and none
//! of another client. It knows no name server. The main type is [`LookupTable`].

use std::cmp::Reverse;
use std::collections::HashMap;

use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio_util::sync::CancellationToken;

use super::answers::{Family, Found};
use crate::model::ClientNet;

/// Maximum number of clients that a lookup counts for. Further ones only wait for it.
const MAX_ASKERS: usize = 8;

/// Lookup in progress. It ends if all its clones are dropped.
pub type SharedLookup = Shared<BoxFuture<'static, Found>>;

/// Client for which a name is looked up. `None` is Millpond itself.
pub type Asker = Option<ClientNet>;

/// Host and family. `None` is both families together.
pub type LookupKey = (String, Option<Family>);

/// Lookups that have not ended, and some that have.
#[derive(Debug)]
pub struct LookupTable {
    /// Maximum number of concurrent lookups.
    capacity: usize,
    running: HashMap<LookupKey, RunningLookup>,
    /// Number of lookups that were started.
    started: u64,
}

#[derive(Debug)]
struct RunningLookup {
    lookup: WeakShared<BoxFuture<'static, Found>>,
    /// Its number. A lower one has waited longer.
    number: u64,
    /// The clients that it counts for. Each has asked for it.
    askers: Vec<Asker>,
    displaced: CancellationToken,
}

impl LookupTable {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            running: HashMap::new(),
            started: 0,
        }
    }

    /// Returns the lookup of a name, if it is in progress.
    pub fn join(&mut self, key: &LookupKey, asker: Asker) -> Option<SharedLookup> {
        let running = self.running.get_mut(key)?;
        let lookup = running.in_progress()?;
        if running.askers.len() < MAX_ASKERS && !running.askers.contains(&asker) {
            running.askers.push(asker);
        }
        Some(lookup)
    }

    /// Adds a lookup that was started for a client. `displaced` ends it.
    pub fn insert(
        &mut self,
        key: LookupKey,
        asker: Asker,
        lookup: &SharedLookup,
        displaced: CancellationToken,
    ) {
        self.make_place(asker);
        self.started += 1;
        // A lookup that has ended needs no place.
        if let Some(lookup) = lookup.downgrade() {
            let running = RunningLookup {
                lookup,
                number: self.started,
                askers: vec![asker],
                displaced,
            };
            self.running.insert(key, running);
        }
    }

    /// Removes ended lookups from a full table. If that is not enough, the oldest lookup of the
    /// client with the most lookups ends now. A lookup that several clients wait for is judged by
    /// the one with the fewest.
    fn make_place(&mut self, asker: Asker) {
        // One client has at most three quarters of the table.
        let max_of_client = self.capacity / 4 * 3;
        if self.running.len() < max_of_client {
            return;
        }
        self.running
            .retain(|_, running| running.in_progress().is_some());
        let counts = self.counts();
        let of_client = counts.get(&asker).copied().unwrap_or(0);
        if of_client < max_of_client && self.running.len() < self.capacity {
            return;
        }
        let fewest = |running: &RunningLookup| {
            let askers = running.askers.iter();
            askers.filter_map(|asker| counts.get(asker)).min().copied()
        };
        let loser = self
            .running
            .iter()
            .max_by_key(|(_, running)| (fewest(running), Reverse(running.number)));
        let loser = loser.map(|(key, _)| key.clone());
        if let Some(loser) = loser.and_then(|key| self.running.remove(&key)) {
            loser.displaced.cancel();
        }
    }

    /// Counts the lookups of each client. The caller has removed those that have ended.
    fn counts(&self) -> HashMap<Asker, usize> {
        let mut counts = HashMap::new();
        for asker in self.running.values().flat_map(|running| &running.askers) {
            *counts.entry(*asker).or_default() += 1;
        }
        counts
    }
}

impl RunningLookup {
    fn in_progress(&self) -> Option<SharedLookup> {
        self.lookup
            .upgrade()
            .filter(|lookup| lookup.peek().is_none())
    }
}
