//! Incident tracker: groups events into incidents, and decides when to alert and when to close.
//!
//! The tracker reads no clock and starts no task, so tests can simulate days.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use super::incident::{Incident, Notification, NotificationKind, Severity, State};
use crate::model::{Cause, Event, Key, Target, sanitize_line};

/// Maximum number of listed incidents, open or closed. Beyond it, the least important is removed.
const MAX_INCIDENTS: usize = 200;

/// Maximum number of targets that an incident shows.
const MAX_SHOWN_TARGETS: usize = 8;

/// Maximum number of targets that an incident tracks individually. With more, it only expires.
const MAX_FOLLOWED_TARGETS: usize = 64;

/// Maximum length of an incident's error text, in characters.
const MAX_DETAIL_CHARS: usize = 300;

/// Minimum time between two alerts of one incident.
///
/// An incident that recurs within this time after its last event is reopened.
const REALERT_INTERVAL: Duration = Duration::from_hours(1);

/// An open incident expires after this time without a new event.
const EXPIRY: Duration = Duration::from_hours(24);

/// Maximum number of alerts of one cause in [`ALERT_WINDOW`], over all hosts.
///
/// A client that requests a thousand unreachable hosts must not cause a thousand mails, or hide
/// alerts of other causes. Further alerts are delayed until the limit allows them.
const MAX_ALERTS: usize = 20;
const ALERT_WINDOW: Duration = Duration::from_hours(1);

/// Condition that closes an incident as recovered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RecoveryRule {
    /// Any target of the same host was stored.
    SameHost,
    /// Each target of the incident was stored.
    SameTargets,
    /// Any target was stored.
    Anything,
    /// A recovery event of the same cause.
    ItsOwnEvent,
}

#[derive(Default)]
pub struct IncidentTracker {
    entries: Vec<TrackedIncident>,
    /// Times of the recent alerts of each cause.
    sent: HashMap<Cause, VecDeque<SystemTime>>,
}

struct TrackedIncident {
    incident: Incident,
    /// The incident was opened or reopened, and no alert was sent yet.
    needs_alert: bool,
    pending: HashSet<Key>,
    /// Whether there are more targets than are tracked.
    has_more: bool,
}

impl IncidentTracker {
    /// Records an event. Returns the notifications to send now.
    pub fn record(&mut self, event: &Event, now: SystemTime) -> Vec<Notification> {
        match event {
            Event::FetchFailed {
                target,
                cause,
                detail,
            } => {
                let host = (recovery_rule(*cause) != RecoveryRule::Anything)
                    .then(|| target.host().to_owned());
                let at = self.find_or_open(host, *cause, now);
                self.entries[at].add_target(target);
                self.record_occurrence(at, detail, now)
            }
            Event::CorruptionFound { targets, detail } => {
                let at = self.find_or_open(None, Cause::Corruption, now);
                for target in targets {
                    self.entries[at].add_target(target);
                }
                self.record_occurrence(at, detail, now)
            }
            Event::BucketFailed { detail } => self.record_own(Cause::Bucket, detail, now),
            Event::DiskFailed { detail } => self.record_own(Cause::Disk, detail, now),
            Event::BucketRecovered => self.resolve_all(Cause::Bucket, now),
            Event::DiskRecovered => self.resolve_all(Cause::Disk, now),
            Event::Repaired { targets } => {
                let of_rot = self
                    .entries
                    .iter_mut()
                    .filter(|tracked| tracked.incident.cause == Cause::Corruption);
                of_rot
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
        for tracked in self.entries.iter_mut().filter(|tracked| tracked.is_open()) {
            if since(tracked.incident.last_seen, now) >= EXPIRY {
                tracked.close(State::Expired, now);
            }
        }
        let sent = &mut self.sent;
        self.entries
            .iter_mut()
            .filter_map(|tracked| alert(tracked, sent, now))
            .collect()
    }

    pub fn newest_first(&self) -> Vec<Incident> {
        let mut incidents: Vec<_> = self
            .entries
            .iter()
            .map(|tracked| tracked.incident.clone())
            .collect();
        incidents.sort_by_key(|incident| std::cmp::Reverse(incident.last_seen));
        incidents
    }

    fn record_occurrence(&mut self, at: usize, detail: &str, now: SystemTime) -> Vec<Notification> {
        let tracked = &mut self.entries[at];
        tracked.record_occurrence(detail, now);
        alert(tracked, &mut self.sent, now).into_iter().collect()
    }

    /// Records an incident of this instance, which has no host.
    fn record_own(&mut self, cause: Cause, detail: &str, now: SystemTime) -> Vec<Notification> {
        let at = self.find_or_open(None, cause, now);
        self.record_occurrence(at, detail, now)
    }

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
    fn find_or_open(&mut self, host: Option<String>, cause: Cause, now: SystemTime) -> usize {
        let is_it = |tracked: &TrackedIncident| {
            let Incident {
                cause: of_entry,
                host: at,
                last_seen,
                ..
            } = &tracked.incident;
            (*of_entry, at) == (cause, &host)
                && (tracked.is_open() || since(*last_seen, now) < REALERT_INTERVAL)
        };
        if let Some(at) = self.entries.iter().position(is_it) {
            return at;
        }
        if self.entries.len() >= MAX_INCIDENTS {
            let importance = |tracked: &TrackedIncident| {
                (
                    tracked.is_open(),
                    tracked.incident.severity,
                    tracked.incident.last_seen,
                )
            };
            let least = (0..self.entries.len()).min_by_key(|at| importance(&self.entries[*at]));
            self.entries
                .swap_remove(least.expect("the tracker is full"));
        }
        self.entries.push(TrackedIncident::new(cause, host, now));
        self.entries.len() - 1
    }
}

impl TrackedIncident {
    fn new(cause: Cause, host: Option<String>, now: SystemTime) -> Self {
        let incident = Incident {
            id: format!("{:016x}", rand::random::<u64>()),
            cause,
            severity: if cause == Cause::NotFound {
                Severity::Notice
            } else {
                Severity::Alert
            },
            host,
            // The first event opens the incident.
            state: State::Expired,
            count: 0,
            first_seen: now,
            last_seen: now,
            alerted: None,
            ended: None,
            targets: Vec::new(),
            detail: String::new(),
        };
        Self {
            incident,
            needs_alert: false,
            pending: HashSet::new(),
            has_more: false,
        }
    }

    fn is_open(&self) -> bool {
        self.incident.state == State::Open
    }

    fn record_occurrence(&mut self, detail: &str, now: SystemTime) {
        if !self.is_open() {
            self.incident.state = State::Open;
            self.incident.ended = None;
            self.needs_alert = true;
        }
        self.incident.count += 1;
        self.incident.last_seen = now;
        self.incident.detail = sanitize_line(detail)
            .chars()
            .take(MAX_DETAIL_CHARS)
            .collect();
    }

    fn add_target(&mut self, target: &Target) {
        let shown = target.to_string();
        let targets = &mut self.incident.targets;
        targets.retain(|other| *other != shown);
        targets.push(shown);
        if targets.len() > MAX_SHOWN_TARGETS {
            targets.remove(0);
        }
        if self.pending.len() < MAX_FOLLOWED_TARGETS {
            self.pending.insert(Key::new(target));
        } else if !self.pending.contains(&Key::new(target)) {
            self.has_more = true;
        }
    }

    /// Closes the incident if the stored target meets its recovery condition.
    ///
    /// Returns a recovery notification only if an alert was sent before.
    fn record_stored(&mut self, target: &Target, now: SystemTime) -> Option<Notification> {
        if !self.is_open() {
            return None;
        }
        let is_over = match recovery_rule(self.incident.cause) {
            RecoveryRule::Anything => true,
            RecoveryRule::SameHost => self.incident.host.as_deref() == Some(target.host()),
            RecoveryRule::SameTargets => {
                let is_one_of_them = self.pending.remove(&Key::new(target));
                is_one_of_them && self.pending.is_empty() && !self.has_more
            }
            RecoveryRule::ItsOwnEvent => false,
        };
        if is_over { self.resolve(now) } else { None }
    }

    fn resolve(&mut self, now: SystemTime) -> Option<Notification> {
        if !self.is_open() {
            return None;
        }
        let was_sent = !self.needs_alert && self.incident.severity == Severity::Alert;
        self.close(State::Recovered, now);
        was_sent.then(|| self.notification(NotificationKind::Recovery))
    }

    fn close(&mut self, state: State, now: SystemTime) {
        self.incident.state = state;
        self.incident.ended = Some(now);
        self.needs_alert = false;
        self.pending.clear();
        self.has_more = false;
    }

    fn notification(&self, kind: NotificationKind) -> Notification {
        Notification {
            kind,
            incident: self.incident.clone(),
        }
    }
}

/// Returns the pending alert of an incident, if the rate limits allow it now.
fn alert(
    tracked: &mut TrackedIncident,
    sent: &mut HashMap<Cause, VecDeque<SystemTime>>,
    now: SystemTime,
) -> Option<Notification> {
    let incident = &mut tracked.incident;
    let rests = incident
        .alerted
        .is_some_and(|alerted| since(alerted, now) < REALERT_INTERVAL);
    if !tracked.needs_alert || incident.severity < Severity::Alert || rests {
        return None;
    }
    let lately = sent.entry(incident.cause).or_default();
    while lately
        .front()
        .is_some_and(|first| since(*first, now) >= ALERT_WINDOW)
    {
        lately.pop_front();
    }
    if lately.len() >= MAX_ALERTS {
        return None;
    }
    lately.push_back(now);
    incident.alerted = Some(now);
    tracked.needs_alert = false;
    Some(tracked.notification(NotificationKind::Alert))
}

fn recovery_rule(cause: Cause) -> RecoveryRule {
    match cause {
        Cause::UpstreamError | Cause::Unreachable | Cause::Timeout | Cause::InvalidResponse => {
            RecoveryRule::SameHost
        }
        Cause::NotFound
        | Cause::RemovedUpstream
        | Cause::WrongFileType
        | Cause::ChecksumMismatch
        | Cause::ContentChanged
        | Cause::Corruption => RecoveryRule::SameTargets,
        Cause::NoSpace | Cause::StoreFailed => RecoveryRule::Anything,
        Cause::Bucket | Cause::Disk => RecoveryRule::ItsOwnEvent,
    }
}

/// Returns the time since `then`, or zero if the clock was set back. Waits then take longer.
fn since(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn target(host: &str, name: &str) -> Target {
        Target::parse(&format!("https://{host}/{name}.tar.gz")).unwrap()
    }

    fn trouble(cause: Cause, host: &str, name: &str) -> Event {
        Event::FetchFailed {
            target: target(host, name),
            cause,
            detail: "a\r\ndetail".to_owned(),
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
            sent.extend(tracker.record(&trouble(Cause::Unreachable, "a.example", "x"), now));
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
        tracker.record(&trouble(Cause::Unreachable, "a.example", "x"), start);
        tracker.record(&stored("a.example", "x"), start + MINUTE);
        assert!(
            tracker
                .record(
                    &trouble(Cause::Unreachable, "a.example", "x"),
                    start + 2 * MINUTE
                )
                .is_empty()
        );
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
        tracker.record(&trouble(Cause::ContentChanged, "a.example", "x"), start);
        assert!(tracker.tick(start + EXPIRY).is_empty());
        assert_eq!(tracker.newest_first()[0].state, State::Expired);
        let again = tracker.record(
            &trouble(Cause::ContentChanged, "a.example", "x"),
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
            tracker.record(&trouble(Cause::ChecksumMismatch, "a.example", name), now);
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
        let names: Vec<_> = (0..=MAX_FOLLOWED_TARGETS)
            .map(|number| number.to_string())
            .collect();
        for name in &names {
            tracker.record(&trouble(Cause::WrongFileType, "a.example", name), now);
        }
        assert!(
            names
                .iter()
                .all(|name| tracker.record(&stored("a.example", name), now).is_empty())
        );
        assert_eq!(tracker.newest_first()[0].state, State::Open);
        assert_eq!(tracker.newest_first()[0].targets.len(), MAX_SHOWN_TARGETS);
    }

    #[test]
    fn host_flood_is_bounded_and_hides_nothing() {
        let (mut tracker, now) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
        let flood = |tracker: &mut IncidentTracker, cause| -> usize {
            (0..1000)
                .map(|number| {
                    tracker
                        .record(&trouble(cause, &format!("h{number}.example"), "x"), now)
                        .len()
                })
                .sum()
        };
        assert_eq!(flood(&mut tracker, Cause::Unreachable), MAX_ALERTS);
        assert_eq!(tracker.newest_first().len(), MAX_INCIDENTS);
        assert_eq!(
            tracker
                .record(&trouble(Cause::ContentChanged, "a.example", "x"), now)
                .len(),
            1
        );
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
    fn detail_stays_on_one_line() {
        let mut tracker = IncidentTracker::default();
        tracker.record(
            &trouble(Cause::InvalidResponse, "a.example", "x"),
            SystemTime::UNIX_EPOCH,
        );
        assert_eq!(tracker.newest_first()[0].detail, "a  detail");
    }
}
