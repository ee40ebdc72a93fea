//! Requests and bytes by client and by host, for operators.
//!
//! Clients and hosts are no labels of `/metrics`, since their number has no bound. These tables are
//! bounded: a new name replaces the one with the fewest bytes. The main type is [`CostCounts`].

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

use crate::model::{ClientNet, lock};

/// Bound on the clients, and on the hosts.
const MAX_NAMES: usize = 1024;

/// Longest name of a host (RFC 1035, section 2.3.4), in bytes.
const MAX_HOST_BYTES: usize = 253;

/// Sums of one client or host since it was seen first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    pub requests: u64,
    /// Bytes of bodies sent to clients, tunnels included.
    pub sent_bytes: u64,
    /// Those of them that came from upstream for one request.
    pub upstream_bytes: u64,
    /// Requests beyond a limit.
    pub limited: u64,
}

/// Requests and bytes by client and by host.
#[derive(Debug, Default)]
pub struct CostCounts {
    clients: Mutex<CostTable<ClientNet>>,
    hosts: Mutex<CostTable<Box<str>>>,
}

#[derive(Debug)]
struct CostTable<K> {
    costs: HashMap<K, Cost>,
}

impl<K> Default for CostTable<K> {
    fn default() -> Self {
        Self {
            costs: HashMap::new(),
        }
    }
}

impl CostCounts {
    /// Counts a request that has ended. `host` is that of its target.
    pub fn record(&self, cost: Cost, client: ClientNet, host: Option<&str>) {
        lock(&self.clients).add(&client, || client, cost);
        if let Some(host) = host.filter(|host| host.len() <= MAX_HOST_BYTES) {
            lock(&self.hosts).add(host, || host.into(), cost);
        }
    }

    /// Returns up to `limit` clients, the one with the most bytes from upstream first.
    #[must_use]
    pub fn clients(&self, limit: usize) -> Vec<(ClientNet, Cost)> {
        lock(&self.clients).most_expensive(limit)
    }

    /// Returns up to `limit` hosts, the one with the most bytes from upstream first.
    #[must_use]
    pub fn hosts(&self, limit: usize) -> Vec<(Box<str>, Cost)> {
        lock(&self.hosts).most_expensive(limit)
    }
}

impl<K: Clone + Eq + Hash> CostTable<K> {
    fn add<Q>(&mut self, name: &Q, new_name: impl FnOnce() -> K, cost: Cost)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(known) = self.costs.get_mut(name) {
            known.requests += cost.requests;
            known.sent_bytes += cost.sent_bytes;
            known.upstream_bytes += cost.upstream_bytes;
            known.limited += cost.limited;
            return;
        }
        if self.costs.len() >= MAX_NAMES {
            let costs = self.costs.iter();
            let least = costs.min_by_key(|(_, cost)| (cost.sent_bytes, cost.requests));
            if let Some(least) = least.map(|(name, _)| name.clone()) {
                self.costs.remove::<K>(&least);
            }
        }
        self.costs.insert(new_name(), cost);
    }

    fn most_expensive(&self, limit: usize) -> Vec<(K, Cost)> {
        let mut costs: Vec<_> = self.costs.iter().collect();
        costs.sort_by_key(|(_, cost)| {
            std::cmp::Reverse((cost.upstream_bytes, cost.sent_bytes, cost.requests))
        });
        let shown = costs.into_iter().take(limit);
        shown.map(|(name, cost)| (name.clone(), *cost)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(sent_bytes: u64) -> Cost {
        Cost {
            requests: 1,
            sent_bytes,
            upstream_bytes: sent_bytes,
            limited: 0,
        }
    }

    #[test]
    fn new_name_replaces_the_cheapest_one() {
        let mut table = CostTable::<usize>::default();
        for number in 0..MAX_NAMES {
            table.add(&number, || number, cost(10 + number as u64));
        }
        table.add(&0, || 0, cost(5000));
        table.add(&MAX_NAMES, || MAX_NAMES, cost(1));
        assert_eq!(table.costs.len(), MAX_NAMES);
        assert!(!table.costs.contains_key(&1), "1 had the fewest bytes");
        assert!(table.costs.contains_key(&MAX_NAMES));
        let most = table.most_expensive(2);
        assert_eq!(most[0].1.requests, 2);
        assert_eq!(most[1].0, MAX_NAMES - 1);
    }
}
