//! Incident tracker: groups events into incidents, and decides when to alert and when to close.
//!
//! The tracker reads no clock and starts no task, so tests can simulate days.

use std::collections::HashMap;
use std::time::SystemTime;

use super::alert_limit::AlertLimit;
use super::incident::{Incident, Notification, elapsed};
use super::recovery_rule::RecoveryRule;
use super::tracked_incident::{REALERT_INTERVAL, TrackedIncident};
use crate::model::{Cause, ClientNet, Event};

/// Maximum number of listed incidents, open or closed. Beyond it, the least important is removed.
const MAX_INCIDENTS: usize = 200;

/// Number of listed incidents above which those of a client are removed first.
const MAX_INCIDENTS_OF_CLIENT: usize = MAX_INCIDENTS / 8;

#[derive(Default)]
pub struct IncidentTracker {
    entries: Vec<TrackedIncident>,
    alert_limit: AlertLimit,
}

impl IncidentTracker {
    /// Records an event. Returns the notifications to send now.
    pub fn record(&mut self, event: &Event, now: SystemTime) -> Vec<Notification> {
        match event {
            Event::FetchFailed {
                target,
                cause,
                detail,
                client,
            } => {
                let is_own = RecoveryRule::for_cause(*cause) == RecoveryRule::AnyTarget;
                let host = (!is_own).then(|| target.host().to_owned());
                let index = self.find_or_open((host, *cause), *client, now);
                self.entries[index].add_target(target);
                self.record_occurrence(index, detail, now)
            }
            Event::CorruptionFound { targets, detail } => {
                let index = self.find_or_open((None, Cause::Corruption), None, now);
                for target in targets {
                    self.entries[index].add_target(target);
                }
                self.record_occurrence(index, detail, now)
            }
            Event::BucketFailed { detail } => self.record_own(Cause::Bucket, detail, now),
            Event::DiskFailed { detail } => self.record_own(Cause::Disk, detail, now),
            Event::BucketRecovered => self.resolve_all(Cause::Bucket, now),
            Event::DiskRecovered => self.resolve_all(Cause::Disk, now),
            Event::Repaired { targets } => {
                let corruption = self
                    .entries
                    .iter_mut()
                    .filter(|tracked| tracked.incident.cause == Cause::Corruption);
                corruption
                    .filter_map(|tracked| {
                        targets
                            .iter()
                            .find_map(|target| tracked.record_stored(target, now))
                    })
                    .collect()
            }
            Event::Stored { target, .. } => self
                .entries
                .iter_mut()
                .filter_map(|tracked| tracked.record_stored(target, now))
                .collect(),
            // No request fails without a replica.
            Event::Evicted { .. }
            | Event::ReplicaFailed { .. }
            | Event::ReplicaRecovered { .. } => Vec::new(),
        }
    }

    /// Expires old incidents, and returns the delayed alerts that are due.
    pub fn tick(&mut self, now: SystemTime) -> Vec<Notification> {
        for tracked in &mut self.entries {
            tracked.expire_if_quiet(now);
        }
        self.take_delayed_alerts(now)
    }

    /// Returns the delayed alerts that are due, those of the clients with the fewest alerts first.
    fn take_delayed_alerts(&mut self, now: SystemTime) -> Vec<Notification> {
        let limit = &mut self.alert_limit;
        let mut waiting: Vec<_> = self.entries.iter_mut().collect();
        waiting.retain(|tracked| tracked.needs_alert());
        let mut sent = Vec::new();
        while !waiting.is_empty() {
            let count = |tracked: &TrackedIncident, limit: &mut AlertLimit| {
                limit.count_caused(tracked.incident.cause, &tracked.clients, now)
            };
            let next = (0..waiting.len()).min_by_key(|index| count(waiting[*index], limit));
            let tracked = waiting.remove(next.unwrap_or_default());
            sent.extend(tracked.take_alert(limit, now));
        }
        sent
    }

    /// Returns all incidents, open or closed, latest event first.
    pub fn newest_first(&self) -> Vec<Incident> {
        let mut incidents: Vec<_> = self
            .entries
            .iter()
            .map(|tracked| tracked.incident.clone())
            .collect();
        incidents.sort_by_key(|incident| std::cmp::Reverse(incident.last_seen));
        incidents
    }

    fn record_occurrence(
        &mut self,
        index: usize,
        detail: &str,
        now: SystemTime,
    ) -> Vec<Notification> {
        let tracked = &mut self.entries[index];
        tracked.record_occurrence(detail, now);
        tracked
            .take_alert(&mut self.alert_limit, now)
            .into_iter()
            .collect()
    }

    /// Records a failure of this instance, which has no host.
    fn record_own(&mut self, cause: Cause, detail: &str, now: SystemTime) -> Vec<Notification> {
        let index = self.find_or_open((None, cause), None, now);
        self.record_occurrence(index, detail, now)
    }

    /// Closes all incidents of a cause as recovered.
    fn resolve_all(&mut self, cause: Cause, now: SystemTime) -> Vec<Notification> {
        let of_cause = self
            .entries
            .iter_mut()
            .filter(|tracked| tracked.incident.cause == cause);
        of_cause
            .filter_map(|tracked| tracked.resolve(now))
            .collect()
    }

    /// Returns the index of the incident for this host and cause, and creates it if necessary.
    ///
    /// An incident that was closed long ago is not reopened.
    fn find_or_open(
        &mut self,
        (host, cause): (Option<String>, Cause),
        client: Option<ClientNet>,
        now: SystemTime,
    ) -> usize {
        let matches = |tracked: &TrackedIncident| {
            let incident = &tracked.incident;
            (incident.cause, &incident.host) == (cause, &host)
                && (tracked.is_open() || elapsed(incident.last_seen, now) < REALERT_INTERVAL)
        };
        if let Some(index) = self.entries.iter().position(matches) {
            self.entries[index].add_client(client);
            return index;
        }
        if self.entries.len() >= MAX_INCIDENTS {
            self.remove_least_important();
        }
        self.entries
            .push(TrackedIncident::new(cause, host, client, now));
        self.entries.len() - 1
    }

    /// Removes the least important incident: one whose clients all have more than their share, or
    /// else one of all.
    fn remove_least_important(&mut self) {
        let mut counts = HashMap::<ClientNet, usize>::new();
        for client in self.entries.iter().flat_map(|tracked| &tracked.clients) {
            *counts.entry(*client).or_default() += 1;
        }
        let is_above_share = |client: &ClientNet| counts[client] > MAX_INCIDENTS_OF_CLIENT;
        let importance = |index: &usize| {
            let tracked = &self.entries[*index];
            let goes_first = tracked.counts_only_for(is_above_share);
            (!goes_first, tracked.importance())
        };
        let least = (0..self.entries.len()).min_by_key(importance);
        self.entries
            .swap_remove(least.expect("the tracker is full"));
    }
}

#[cfg(test)]
mod tests;
