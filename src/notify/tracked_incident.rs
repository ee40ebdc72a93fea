//! Incident with the state that decides about alerts and recovery.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use super::alert_limit::AlertLimit;
use super::incident::{Incident, IncidentState, Notification, NotificationKind, Severity, elapsed};
use super::recovery_rule::RecoveryRule;
use crate::model::{Cause, ClientNet, Key, Target, sanitize_line};

/// Maximum number of targets that an incident shows.
pub const MAX_SHOWN_TARGETS: usize = 8;

/// Maximum number of targets that an incident tracks individually. With more, it only expires.
pub const MAX_TRACKED_TARGETS: usize = 64;

/// Maximum number of clients that an incident counts for. Further clients change nothing.
const MAX_CLIENTS: usize = 8;

/// Maximum length of an incident's error text, in characters.
const MAX_DETAIL_CHARS: usize = 300;

/// Minimum time between two alerts of one incident.
///
/// An incident that recurs within this time after its last event is reopened.
pub const REALERT_INTERVAL: Duration = Duration::from_hours(1);

/// An open incident expires after this time without a new event.
pub const EXPIRY: Duration = Duration::from_hours(24);

pub struct TrackedIncident {
    pub incident: Incident,
    /// Clients whose requests have failed, up to [`MAX_CLIENTS`]. Empty for Millpond itself.
    pub clients: Vec<ClientNet>,
    /// The incident was opened or reopened, and no alert was sent yet.
    needs_alert: bool,
    /// Targets that were not stored since, up to [`MAX_TRACKED_TARGETS`].
    pending: HashSet<Key>,
    /// Whether there are more targets than are tracked.
    has_more: bool,
}

impl TrackedIncident {
    /// Creates an incident without events. The first event opens it.
    pub fn new(
        cause: Cause,
        host: Option<String>,
        client: Option<ClientNet>,
        now: SystemTime,
    ) -> Self {
        let incident = Incident {
            id: format!("{:016x}", rand::random::<u64>()),
            cause,
            severity: Severity::of(cause),
            host,
            state: IncidentState::Expired,
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
            clients: client.into_iter().collect(),
            needs_alert: false,
            pending: HashSet::new(),
            has_more: false,
        }
    }

    /// Whether an alert is due once the limits allow it.
    pub fn needs_alert(&self) -> bool {
        self.needs_alert
    }

    pub fn is_open(&self) -> bool {
        self.incident.state == IncidentState::Open
    }

    /// Counts a failure, and opens the incident if it is closed.
    pub fn record_occurrence(&mut self, detail: &str, now: SystemTime) {
        if !self.is_open() {
            self.incident.state = IncidentState::Open;
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

    /// Records the client of a failure. `None` is Millpond itself, whose incidents count for no
    /// client.
    pub fn add_client(&mut self, client: Option<ClientNet>) {
        let Some(client) = client else {
            self.clients.clear();
            return;
        };
        let is_own = self.clients.is_empty();
        if !is_own && self.clients.len() < MAX_CLIENTS && !self.clients.contains(&client) {
            self.clients.push(client);
        }
    }

    /// Whether the incident counts for clients, and all of them meet a condition.
    pub fn counts_only_for(&self, condition: impl Fn(&ClientNet) -> bool) -> bool {
        !self.clients.is_empty() && self.clients.iter().all(condition)
    }

    /// Returns a key that orders incidents by importance, least first.
    pub fn importance(&self) -> (bool, Severity, SystemTime) {
        let incident = &self.incident;
        (self.is_open(), incident.severity, incident.last_seen)
    }

    /// Adds a target of a failure.
    pub fn add_target(&mut self, target: &Target) {
        let shown = target.redacted();
        let targets = &mut self.incident.targets;
        targets.retain(|other| *other != shown);
        targets.push(shown);
        if targets.len() > MAX_SHOWN_TARGETS {
            targets.remove(0);
        }
        if self.pending.len() < MAX_TRACKED_TARGETS {
            self.pending.insert(Key::new(target));
        } else if !self.pending.contains(&Key::new(target)) {
            self.has_more = true;
        }
    }

    /// Closes the incident if the stored target meets its recovery condition.
    ///
    /// Returns the notification of [`TrackedIncident::resolve`].
    pub fn record_stored(&mut self, target: &Target, now: SystemTime) -> Option<Notification> {
        if !self.is_open() {
            return None;
        }
        let is_over = match RecoveryRule::for_cause(self.incident.cause) {
            RecoveryRule::AnyTarget => true,
            RecoveryRule::TargetOrHost if self.pending.len() == 1 => {
                self.pending.contains(&Key::new(target))
            }
            RecoveryRule::SameHost | RecoveryRule::TargetOrHost => {
                self.incident.host.as_deref() == Some(target.host())
            }
            RecoveryRule::SameTargets => {
                let was_pending = self.pending.remove(&Key::new(target));
                was_pending && self.pending.is_empty() && !self.has_more
            }
            RecoveryRule::RecoveryEvent => false,
        };
        if is_over { self.resolve(now) } else { None }
    }

    /// Closes the incident as recovered.
    ///
    /// Returns a recovery notification only if an alert was sent before.
    pub fn resolve(&mut self, now: SystemTime) -> Option<Notification> {
        if !self.is_open() {
            return None;
        }
        let was_sent = !self.needs_alert && self.incident.severity == Severity::Alert;
        self.close(IncidentState::Recovered, now);
        was_sent.then(|| self.notification(NotificationKind::Recovery))
    }

    /// Expires an open incident without a recent event.
    pub fn expire_if_quiet(&mut self, now: SystemTime) {
        if self.is_open() && elapsed(self.incident.last_seen, now) >= EXPIRY {
            self.close(IncidentState::Expired, now);
        }
    }

    /// Returns the pending alert, if the rate limits allow it now.
    pub fn take_alert(&mut self, limit: &mut AlertLimit, now: SystemTime) -> Option<Notification> {
        let incident = &mut self.incident;
        let alerted_recently = incident
            .alerted
            .is_some_and(|alerted| elapsed(alerted, now) < REALERT_INTERVAL);
        if !self.needs_alert
            || incident.severity < Severity::Alert
            || alerted_recently
            || !limit.try_acquire(incident.cause, &self.clients, now)
        {
            return None;
        }
        incident.alerted = Some(now);
        self.needs_alert = false;
        Some(self.notification(NotificationKind::Alert))
    }

    fn close(&mut self, state: IncidentState, now: SystemTime) {
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
