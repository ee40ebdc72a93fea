//! Tests of the tracker: alerts, their limits, and recoveries over simulated days.

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
    let alerts = tracker.record(&failure_of(3, Cause::Unreachable, "bob.example"), now);
    let is_of_bob = |incident: &Incident| incident.host.as_deref() == Some("bob.example");
    let mut listed = tracker.newest_first();
    assert_eq!(listed.len(), MAX_INCIDENTS);
    listed.retain(is_of_bob);
    assert_eq!(listed.len(), 2, "both are listed");
    // The two clients leave alerts to others.
    assert!(alerts.iter().any(|alert| is_of_bob(&alert.incident)));
}

#[test]
fn colluding_clients_delay_no_alert() {
    let (mut tracker, now) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
    let mut sent_of = |client: u8, hosts: usize| -> usize {
        let hosts = (0..hosts).map(|number| format!("h{number}.c{client}.example"));
        let event = |host: String| failure_of(client, Cause::Unreachable, &host);
        hosts
            .map(|host| tracker.record(&event(host), now).len())
            .sum()
    };
    let colluding: usize = (1..=4).map(|client| sent_of(client, 40)).sum();
    assert_eq!(colluding, MAX_ALERTS * 3 / 4 + 3);
    assert_eq!(sent_of(9, 1), 1, "another client's alert is sent at once");
}

#[test]
fn delayed_alerts_are_sent_in_turn() {
    let (mut tracker, now) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
    for client in 1..=3 {
        for number in 0..40 {
            let host = format!("h{number}.c{client}.example");
            tracker.record(&failure_of(client, Cause::Unreachable, &host), now);
        }
    }
    let late: Vec<_> = (4..=10)
        .map(|client| failure_of(client, Cause::Unreachable, &format!("c{client}.example")))
        .collect();
    let mut alerts: Vec<_> = late
        .iter()
        .flat_map(|event| tracker.record(event, now))
        .collect();
    assert!(alerts.len() < late.len(), "some of them wait");
    alerts.extend(tracker.tick(now + ALERT_WINDOW));
    let hosts: Vec<_> = alerts
        .iter()
        .filter_map(|alert| alert.incident.host.as_deref())
        .collect();
    for host in (4..=10).map(|client| format!("c{client}.example")) {
        assert!(hosts.contains(&host.as_str()), "{host} of {hosts:?}");
    }
}

#[test]
fn error_of_one_target_outlives_others() {
    let (mut tracker, now) = (IncidentTracker::default(), SystemTime::UNIX_EPOCH);
    let fail = |tracker: &mut IncidentTracker, name| {
        tracker.record(&failure(Cause::UpstreamError, "a.example", name), now)
    };
    fail(&mut tracker, "x");
    assert!(tracker.record(&stored("a.example", "y"), now).is_empty());
    let recovery = [NotificationKind::Recovery];
    assert_eq!(
        kinds(&tracker.record(&stored("a.example", "x"), now)),
        recovery
    );
    // An error of several targets is one of the host.
    let later = now + REALERT_INTERVAL;
    for name in ["x", "z"] {
        tracker.record(&failure(Cause::UpstreamError, "a.example", name), later);
    }
    assert_eq!(
        kinds(&tracker.record(&stored("a.example", "y"), later)),
        recovery
    );
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
