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
            Event::Evicted { .. } => Vec::new(),
        }
    }

    /// Expires old incidents, and returns the delayed alerts that are due.
    pub fn tick(&mut self, now: SystemTime) -> Vec<Notification> {
        for tracked in &mut self.entries {
            tracked.expire_if_quiet(now);
        }
        let limit = &mut self.alert_limit;
        self.entries
            .iter_mut()
            .filter_map(|tracked| tracked.take_alert(limit, now))
            .collect()
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
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use super::*;
    use crate::model::Target;
    use crate::notify::alert_limit::{ALERT_WINDOW, MAX_ALERTS};
    use crate::notify::incident::{IncidentState, NotificationKind};
    use crate::notify::tracked_incident::{EXPIRY, MAX_SHOWN_TARGETS, MAX_TRACKED_TARGETS};

    const MINUTE: Duration = Duration::from_mins(1);

    fn target(host: &str, name: &str) -> Target {
        Target::parse(&format!("https://{host}/{name}.tar.gz")).unwrap()
    }

    fn failure(cause: Cause, host: &str, name: &str) -> Event {
        Event::FetchFailed {
            target: target(host, name),
            cause,
            detail: "a\r\ndetail".to_owned(),
            client: None,
        }
    }

    fn failure_of(client: u8, cause: Cause, host: &str) -> Event {
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, client));
        Event::FetchFailed {
            target: target(host, "x"),
            cause,
            detail: "a detail".to_owned(),
            client: Some(ClientNet::from_address(address)),
        }
    }

    fn stored(host: &str, name: &str) -> Event {
        Event::Stored {
            target: target(host, name),
            sha256: crate::model::Sha256::from_bytes([0; 32]),
            size_bytes: 1,
        }
    }

    fn kinds(notifications: &[Notification]) -> Vec<NotificationKind> {
        notifications
            .iter()
            .map(|notification| notification.kind)
            .collect()
    }

    #[test]
    fn flapping_host_alerts_once_an_hour() {
        let (mut tracker, start) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
        let mut sent = Vec::new();
        for minute in 0..180 {
            let now = start + minute * MINUTE;
            sent.extend(tracker.tick(now));
            sent.extend(tracker.record(&failure(Cause::Unreachable, "a.example", "x"), now));
            sent.extend(tracker.record(&stored("a.example", "y"), now));
        }
        let pair = [NotificationKind::Alert, NotificationKind::Recovery];
        assert_eq!(kinds(&sent), [pair, pair, pair].concat());
        let counts: Vec<_> = sent
            .iter()
            .map(|notification| notification.incident.count)
            .collect();
        assert_eq!(
            counts,
            [1, 1, 61, 61, 121, 121],
            "the second alert reports the count since the first"
        );
        assert_eq!(tracker.newest_first().len(), 1);
    }

    #[test]
    fn delayed_alert_is_sent_when_due() {
        let (mut tracker, start) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
        tracker.record(&failure(Cause::Unreachable, "a.example", "x"), start);
        tracker.record(&stored("a.example", "x"), start + MINUTE);
        let again = failure(Cause::Unreachable, "a.example", "x");
        assert!(tracker.record(&again, start + 2 * MINUTE).is_empty());
        assert!(tracker.tick(start + 59 * MINUTE).is_empty());
        assert_eq!(
            kinds(&tracker.tick(start + 60 * MINUTE)),
            [NotificationKind::Alert]
        );
        assert!(
            tracker.tick(start + 121 * MINUTE).is_empty(),
            "an open incident alerts once"
        );
    }

    #[test]
    fn quiet_incident_expires_without_notification() {
        let (mut tracker, start) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
        tracker.record(&failure(Cause::ContentChanged, "a.example", "x"), start);
        assert!(tracker.tick(start + EXPIRY).is_empty());
        assert_eq!(tracker.newest_first()[0].state, IncidentState::Expired);
        let again = tracker.record(
            &failure(Cause::ContentChanged, "a.example", "x"),
            start + 2 * EXPIRY,
        );
        assert_eq!(
            (kinds(&again), tracker.newest_first().len()),
            (vec![NotificationKind::Alert], 2)
        );
    }

    #[test]
    fn mismatch_recovers_when_each_target_is_stored() {
        let (mut tracker, now) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
        for name in ["x", "y"] {
            tracker.record(&failure(Cause::ChecksumMismatch, "a.example", name), now);
        }
        assert!(
            tracker
                .record(&stored("a.example", "other"), now)
                .is_empty()
        );
        assert!(tracker.record(&stored("a.example", "x"), now).is_empty());
        assert_eq!(
            kinds(&tracker.record(&stored("a.example", "y"), now)),
            [NotificationKind::Recovery]
        );
    }

    #[test]
    fn incident_with_untracked_targets_only_expires() {
        let (mut tracker, now) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
        let names: Vec<_> = (0..=MAX_TRACKED_TARGETS)
            .map(|number| number.to_string())
            .collect();
        for name in &names {
            tracker.record(&failure(Cause::WrongFileType, "a.example", name), now);
        }
        assert!(
            names
                .iter()
                .all(|name| tracker.record(&stored("a.example", name), now).is_empty())
        );
        assert_eq!(tracker.newest_first()[0].state, IncidentState::Open);
        assert_eq!(tracker.newest_first()[0].targets.len(), MAX_SHOWN_TARGETS);
    }

    #[test]
    fn host_flood_is_bounded_and_hides_nothing() {
        let (mut tracker, now) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
        let flood = |tracker: &mut IncidentTracker, cause| -> usize {
            (0..1000)
                .map(|number| failure(cause, &format!("h{number}.example"), "x"))
                .map(|event| tracker.record(&event, now).len())
                .sum()
        };
        assert_eq!(flood(&mut tracker, Cause::Unreachable), MAX_ALERTS);
        assert_eq!(tracker.newest_first().len(), MAX_INCIDENTS);
        let changed = failure(Cause::ContentChanged, "a.example", "x");
        assert_eq!(tracker.record(&changed, now).len(), 1);
        assert_eq!(flood(&mut tracker, Cause::NotFound), 0);
        let listed = tracker.newest_first();
        assert!(
            listed
                .iter()
                .any(|incident| incident.cause == Cause::Unreachable),
            "less important incidents are removed first"
        );
        assert_eq!(listed.len(), MAX_INCIDENTS);
        assert_eq!(
            tracker.tick(now + ALERT_WINDOW).len(),
            MAX_ALERTS,
            "the next alerts are due"
        );
    }

    #[test]
    fn one_client_hides_and_delays_no_others() {
        let (mut tracker, now) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
        let bob = |tracker: &mut IncidentTracker, cause, host: &str| {
            tracker.record(&failure_of(2, cause, host), now).len()
        };
        // An incident of low importance, which a flood of alerts would remove.
        bob(&mut tracker, Cause::NotFound, "bob.example");
        let alerts: usize = (0..1000)
            .map(|number| failure_of(1, Cause::Unreachable, &format!("h{number}.example")))
            .map(|event| tracker.record(&event, now).len())
            .sum();
        assert_eq!(alerts, MAX_ALERTS * 3 / 4, "the alerts of one client");
        assert_eq!(bob(&mut tracker, Cause::Unreachable, "bob.example"), 1);
        let listed = tracker.newest_first();
        assert_eq!(listed.len(), MAX_INCIDENTS);
        let of_bob = listed.iter();
        let of_bob = of_bob.filter(|incident| incident.host.as_deref() == Some("bob.example"));
        assert_eq!(of_bob.count(), 2, "both are listed");
    }

    #[test]
    fn two_clients_hide_no_incidents_of_others() {
        let (mut tracker, now) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
        tracker.record(&failure_of(3, Cause::NotFound, "bob.example"), now);
        for host in (0..1000).map(|number| format!("h{number}.example")) {
            tracker.record(&failure_of(1, Cause::Unreachable, &host), now);
            tracker.record(&failure_of(2, Cause::Unreachable, &host), now);
        }
        tracker.record(&failure_of(1, Cause::NotFound, "bob.example"), now);
        tracker.record(&failure_of(3, Cause::Unreachable, "bob.example"), now);
        let is_of_bob = |incident: &Incident| incident.host.as_deref() == Some("bob.example");
        let mut listed = tracker.newest_first();
        assert_eq!(listed.len(), MAX_INCIDENTS);
        listed.retain(is_of_bob);
        assert_eq!(listed.len(), 2, "both are listed");
        // The two clients leave alerts to others.
        let alerts = tracker.tick(now + ALERT_WINDOW);
        assert!(alerts.iter().any(|alert| is_of_bob(&alert.incident)));
    }

    #[test]
    fn detail_stays_on_one_line() {
        let mut tracker = IncidentTracker::default();
        tracker.record(
            &failure(Cause::InvalidResponse, "a.example", "x"),
            SystemTime::UNIX_EPOCH,
        );
        assert_eq!(tracker.newest_first()[0].detail, "a  detail");
    }
}
