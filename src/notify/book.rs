//! Incident tracker: groups events into incidents, and decides when to alert and when to close.
//!
//! The tracker reads no clock and starts no task, so tests can simulate days.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use super::incident::{Incident, Note, Occasion, Severity, State};
use crate::model::{Cause, Event, Key, Target, one_line};

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
const MIN_REST: Duration = Duration::from_hours(1);

/// An open incident expires after this time without a new event.
const QUIET: Duration = Duration::from_hours(24);

/// Maximum number of alerts of one cause in [`ALERT_WINDOW`], over all hosts.
///
/// A client that requests a thousand unreachable hosts must not cause a thousand mails, or hide
/// alerts of other causes. Further alerts are delayed until the limit allows them.
const MAX_ALERTS: usize = 20;
const ALERT_WINDOW: Duration = Duration::from_hours(1);

/// Condition that closes an incident as recovered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MendedBy {
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
pub struct Book {
    entries: Vec<Entry>,
    /// Times of the recent alerts of each cause.
    told: HashMap<Cause, VecDeque<SystemTime>>,
}

struct Entry {
    incident: Incident,
    /// The incident was opened or reopened, and no alert was sent yet.
    is_untold: bool,
    followed: HashSet<Key>,
    /// Whether there are more targets than are tracked.
    has_more: bool,
}

impl Book {
    /// Records an event. Returns the notifications to send now.
    pub fn hear(&mut self, event: &Event, now: SystemTime) -> Vec<Note> {
        match event {
            Event::Trouble { target, cause, detail } => {
                let host = (mended_by(*cause) != MendedBy::Anything).then(|| target.host().to_owned());
                let at = self.enter(host, *cause, now);
                self.entries[at].follow(target);
                self.see(at, detail, now)
            }
            Event::Rotten { targets, detail } => {
                let at = self.enter(None, Cause::Rotten, now);
                for target in targets {
                    self.entries[at].follow(target);
                }
                self.see(at, detail, now)
            }
            Event::BucketFailed { detail } => self.see_of_ours(Cause::Bucket, detail, now),
            Event::DiskFailed { detail } => self.see_of_ours(Cause::Disk, detail, now),
            Event::BucketBack => self.end_all(Cause::Bucket, now),
            Event::DiskBack => self.end_all(Cause::Disk, now),
            Event::Mended { targets } => {
                let of_rot = self.entries.iter_mut().filter(|entry| entry.incident.cause == Cause::Rotten);
                of_rot.filter_map(|entry| targets.iter().find_map(|target| entry.hear_of_stored(target, now))).collect()
            }
            Event::Stored { target, .. } => {
                self.entries.iter_mut().filter_map(|entry| entry.hear_of_stored(target, now)).collect()
            }
            Event::Evicted { .. } => Vec::new(),
        }
    }

    /// Expires old incidents, and returns the delayed alerts that are due.
    pub fn look_after(&mut self, now: SystemTime) -> Vec<Note> {
        for entry in self.entries.iter_mut().filter(|entry| entry.is_open()) {
            if since(entry.incident.last_seen, now) >= QUIET {
                entry.close(State::Expired, now);
            }
        }
        let told = &mut self.told;
        self.entries.iter_mut().filter_map(|entry| alert(entry, told, now)).collect()
    }

    pub fn newest_first(&self) -> Vec<Incident> {
        let mut incidents: Vec<_> = self.entries.iter().map(|entry| entry.incident.clone()).collect();
        incidents.sort_by_key(|incident| std::cmp::Reverse(incident.last_seen));
        incidents
    }

    fn see(&mut self, at: usize, detail: &str, now: SystemTime) -> Vec<Note> {
        let entry = &mut self.entries[at];
        entry.see(detail, now);
        alert(entry, &mut self.told, now).into_iter().collect()
    }

    /// Records an incident of this instance, which has no host.
    fn see_of_ours(&mut self, cause: Cause, detail: &str, now: SystemTime) -> Vec<Note> {
        let at = self.enter(None, cause, now);
        self.see(at, detail, now)
    }

    fn end_all(&mut self, cause: Cause, now: SystemTime) -> Vec<Note> {
        let of_cause = self.entries.iter_mut().filter(|entry| entry.incident.cause == cause);
        of_cause.filter_map(|entry| entry.end(now)).collect()
    }

    /// Returns the index of the incident for this host and cause, and creates it if necessary.
    ///
    /// An incident that was closed long ago is not reopened.
    fn enter(&mut self, host: Option<String>, cause: Cause, now: SystemTime) -> usize {
        let is_it = |entry: &Entry| {
            let Incident { cause: of_entry, host: at, last_seen, .. } = &entry.incident;
            (*of_entry, at) == (cause, &host) && (entry.is_open() || since(*last_seen, now) < MIN_REST)
        };
        if let Some(at) = self.entries.iter().position(is_it) {
            return at;
        }
        if self.entries.len() >= MAX_INCIDENTS {
            let importance = |entry: &Entry| (entry.is_open(), entry.incident.severity, entry.incident.last_seen);
            let least = (0..self.entries.len()).min_by_key(|at| importance(&self.entries[*at]));
            self.entries.swap_remove(least.expect("the tracker is full"));
        }
        self.entries.push(Entry::new(cause, host, now));
        self.entries.len() - 1
    }
}

impl Entry {
    fn new(cause: Cause, host: Option<String>, now: SystemTime) -> Self {
        let incident = Incident {
            id: format!("{:016x}", rand::random::<u64>()),
            cause,
            severity: if cause == Cause::Absent { Severity::Notice } else { Severity::Alert },
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
        Self { incident, is_untold: false, followed: HashSet::new(), has_more: false }
    }

    fn is_open(&self) -> bool {
        self.incident.state == State::Open
    }

    fn see(&mut self, detail: &str, now: SystemTime) {
        if !self.is_open() {
            self.incident.state = State::Open;
            self.incident.ended = None;
            self.is_untold = true;
        }
        self.incident.count += 1;
        self.incident.last_seen = now;
        self.incident.detail = one_line(detail).chars().take(MAX_DETAIL_CHARS).collect();
    }

    fn follow(&mut self, target: &Target) {
        let shown = target.to_string();
        let targets = &mut self.incident.targets;
        targets.retain(|other| *other != shown);
        targets.push(shown);
        if targets.len() > MAX_SHOWN_TARGETS {
            targets.remove(0);
        }
        if self.followed.len() < MAX_FOLLOWED_TARGETS {
            self.followed.insert(Key::of(target));
        } else if !self.followed.contains(&Key::of(target)) {
            self.has_more = true;
        }
    }

    /// Closes the incident if the stored target meets its recovery condition.
    ///
    /// Returns a recovery notification only if an alert was sent before.
    fn hear_of_stored(&mut self, target: &Target, now: SystemTime) -> Option<Note> {
        if !self.is_open() {
            return None;
        }
        let is_over = match mended_by(self.incident.cause) {
            MendedBy::Anything => true,
            MendedBy::SameHost => self.incident.host.as_deref() == Some(target.host()),
            MendedBy::SameTargets => {
                let is_one_of_them = self.followed.remove(&Key::of(target));
                is_one_of_them && self.followed.is_empty() && !self.has_more
            }
            MendedBy::ItsOwnEvent => false,
        };
        if is_over { self.end(now) } else { None }
    }

    fn end(&mut self, now: SystemTime) -> Option<Note> {
        if !self.is_open() {
            return None;
        }
        let was_told = !self.is_untold && self.incident.severity == Severity::Alert;
        self.close(State::Recovered, now);
        was_told.then(|| self.note(Occasion::Recovery))
    }

    fn close(&mut self, state: State, now: SystemTime) {
        self.incident.state = state;
        self.incident.ended = Some(now);
        self.is_untold = false;
        self.followed.clear();
        self.has_more = false;
    }

    fn note(&self, occasion: Occasion) -> Note {
        Note { occasion, incident: self.incident.clone() }
    }
}

/// Returns the pending alert of an incident, if the rate limits allow it now.
fn alert(entry: &mut Entry, told: &mut HashMap<Cause, VecDeque<SystemTime>>, now: SystemTime) -> Option<Note> {
    let incident = &mut entry.incident;
    let rests = incident.alerted.is_some_and(|alerted| since(alerted, now) < MIN_REST);
    if !entry.is_untold || incident.severity < Severity::Alert || rests {
        return None;
    }
    let lately = told.entry(incident.cause).or_default();
    while lately.front().is_some_and(|first| since(*first, now) >= ALERT_WINDOW) {
        lately.pop_front();
    }
    if lately.len() >= MAX_ALERTS {
        return None;
    }
    lately.push_back(now);
    incident.alerted = Some(now);
    entry.is_untold = false;
    Some(entry.note(Occasion::Alert))
}

fn mended_by(cause: Cause) -> MendedBy {
    match cause {
        Cause::Status | Cause::Silent | Cause::Slow | Cause::Wrong => MendedBy::SameHost,
        Cause::Absent | Cause::Gone | Cause::Impostor | Cause::Mismatch | Cause::Changed | Cause::Rotten => {
            MendedBy::SameTargets
        }
        Cause::NoSpace | Cause::StoreFailed => MendedBy::Anything,
        Cause::Bucket | Cause::Disk => MendedBy::ItsOwnEvent,
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
        Event::Trouble { target: target(host, name), cause, detail: "a\r\ndetail".to_owned() }
    }

    fn stored(host: &str, name: &str) -> Event {
        Event::Stored { target: target(host, name), sha256: crate::model::Sha256::from_bytes([0; 32]), size_bytes: 1 }
    }

    fn occasions(notes: &[Note]) -> Vec<Occasion> {
        notes.iter().map(|note| note.occasion).collect()
    }

    #[test]
    fn flapping_host_alerts_once_an_hour() {
        let (mut book, start) = (Book::default(), SystemTime::UNIX_EPOCH);
        let mut told = Vec::new();
        for minute in 0..180 {
            let now = start + minute * MINUTE;
            told.extend(book.look_after(now));
            told.extend(book.hear(&trouble(Cause::Silent, "a.example", "x"), now));
            told.extend(book.hear(&stored("a.example", "y"), now));
        }
        let pair = [Occasion::Alert, Occasion::Recovery];
        assert_eq!(occasions(&told), [pair, pair, pair].concat());
        let counts: Vec<_> = told.iter().map(|note| note.incident.count).collect();
        assert_eq!(counts, [1, 1, 61, 61, 121, 121], "the second alert reports the count since the first");
        assert_eq!(book.newest_first().len(), 1);
    }

    #[test]
    fn delayed_alert_is_sent_when_due() {
        let (mut book, start) = (Book::default(), SystemTime::UNIX_EPOCH);
        book.hear(&trouble(Cause::Silent, "a.example", "x"), start);
        book.hear(&stored("a.example", "x"), start + MINUTE);
        assert!(book.hear(&trouble(Cause::Silent, "a.example", "x"), start + 2 * MINUTE).is_empty());
        assert!(book.look_after(start + 59 * MINUTE).is_empty());
        assert_eq!(occasions(&book.look_after(start + 60 * MINUTE)), [Occasion::Alert]);
        assert!(book.look_after(start + 121 * MINUTE).is_empty(), "an open incident alerts once");
    }

    #[test]
    fn quiet_incident_expires_without_notification() {
        let (mut book, start) = (Book::default(), SystemTime::UNIX_EPOCH);
        book.hear(&trouble(Cause::Changed, "a.example", "x"), start);
        assert!(book.look_after(start + QUIET).is_empty());
        assert_eq!(book.newest_first()[0].state, State::Expired);
        let again = book.hear(&trouble(Cause::Changed, "a.example", "x"), start + 2 * QUIET);
        assert_eq!((occasions(&again), book.newest_first().len()), (vec![Occasion::Alert], 2));
    }

    #[test]
    fn mismatch_recovers_when_each_target_is_stored() {
        let (mut book, now) = (Book::default(), SystemTime::UNIX_EPOCH);
        for name in ["x", "y"] {
            book.hear(&trouble(Cause::Mismatch, "a.example", name), now);
        }
        assert!(book.hear(&stored("a.example", "other"), now).is_empty());
        assert!(book.hear(&stored("a.example", "x"), now).is_empty());
        assert_eq!(occasions(&book.hear(&stored("a.example", "y"), now)), [Occasion::Recovery]);
    }

    #[test]
    fn incident_with_untracked_targets_only_expires() {
        let (mut book, now) = (Book::default(), SystemTime::UNIX_EPOCH);
        let names: Vec<_> = (0..=MAX_FOLLOWED_TARGETS).map(|number| number.to_string()).collect();
        for name in &names {
            book.hear(&trouble(Cause::Impostor, "a.example", name), now);
        }
        assert!(names.iter().all(|name| book.hear(&stored("a.example", name), now).is_empty()));
        assert_eq!(book.newest_first()[0].state, State::Open);
        assert_eq!(book.newest_first()[0].targets.len(), MAX_SHOWN_TARGETS);
    }

    #[test]
    fn host_flood_is_bounded_and_hides_nothing() {
        let (mut book, now) = (Book::default(), SystemTime::UNIX_EPOCH);
        let flood = |book: &mut Book, cause| -> usize {
            (0..1000).map(|number| book.hear(&trouble(cause, &format!("h{number}.example"), "x"), now).len()).sum()
        };
        assert_eq!(flood(&mut book, Cause::Silent), MAX_ALERTS);
        assert_eq!(book.newest_first().len(), MAX_INCIDENTS);
        assert_eq!(book.hear(&trouble(Cause::Changed, "a.example", "x"), now).len(), 1);
        assert_eq!(flood(&mut book, Cause::Absent), 0);
        let listed = book.newest_first();
        assert!(
            listed.iter().any(|incident| incident.cause == Cause::Silent),
            "less important incidents are removed first"
        );
        assert_eq!(listed.len(), MAX_INCIDENTS);
        assert_eq!(book.look_after(now + ALERT_WINDOW).len(), MAX_ALERTS, "the next alerts are due");
    }

    #[test]
    fn detail_stays_on_one_line() {
        let mut book = Book::default();
        book.hear(&trouble(Cause::Wrong, "a.example", "x"), SystemTime::UNIX_EPOCH);
        assert_eq!(book.newest_first()[0].detail, "a  detail");
    }
}
