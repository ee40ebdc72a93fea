//! Recent failures of fetches, by host and by target, since the start of the process.
//!
//! All lists are bounded. The main type is [`FailureLog`].

use std::collections::VecDeque;
use std::time::SystemTime;

use crate::model::{Cause, Event, Target};

/// Bound on the hosts.
const MAX_HOSTS: usize = 100;

/// Bound on the listed mismatches.
const MAX_MISMATCHES: usize = 50;

/// Bound on the changed targets.
const MAX_CHANGED: usize = 50;

/// Failures of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFailure {
    pub host: String,
    pub count: u64,
    pub last: SeenFailure,
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenFailure {
    /// URL without its secrets.
    pub url: String,
    pub at: SystemTime,
    pub cause: Cause,
    pub detail: String,
}

/// Recent failures. The newest is first everywhere.
#[derive(Debug, Default)]
pub struct FailureLog {
    hosts: VecDeque<HostFailure>,
    mismatches: VecDeque<SeenFailure>,
    changed: VecDeque<Target>,
}

impl FailureLog {
    /// Records an event if it is a failure of a fetch.
    pub fn record(&mut self, event: &Event, now: SystemTime) {
        let Event::FetchFailed {
            target,
            cause,
            detail,
            ..
        } = event
        else {
            return;
        };
        let failed = SeenFailure {
            url: target.redacted(),
            at: now,
            cause: *cause,
            detail: detail.clone(),
        };
        match cause {
            Cause::WrongFileType | Cause::ChecksumMismatch | Cause::ClientDigest => {
                self.mismatches.push_front(failed.clone());
                self.mismatches.truncate(MAX_MISMATCHES);
            }
            Cause::ContentChanged => {
                self.changed.retain(|known| known != target);
                self.changed.push_front(target.clone());
                self.changed.truncate(MAX_CHANGED);
            }
            _ => {}
        }
        self.add_to_host(target.host(), failed);
    }

    fn add_to_host(&mut self, host: &str, last: SeenFailure) {
        let known = self.hosts.iter().position(|known| known.host == host);
        let known = known.and_then(|at| self.hosts.remove(at));
        self.hosts.push_front(HostFailure {
            host: host.to_owned(),
            count: known.map_or(0, |known| known.count) + 1,
            last,
        });
        self.hosts.truncate(MAX_HOSTS);
    }

    #[must_use]
    pub fn hosts(&self, limit: usize) -> Vec<HostFailure> {
        self.hosts.iter().take(limit).cloned().collect()
    }

    #[must_use]
    pub fn mismatches(&self) -> Vec<SeenFailure> {
        self.mismatches.iter().cloned().collect()
    }

    /// Returns the targets that have returned other bytes than before.
    #[must_use]
    pub fn changed(&self) -> Vec<Target> {
        self.changed.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(url: &str, cause: Cause) -> Event {
        Event::FetchFailed {
            target: Target::parse(url).unwrap(),
            cause,
            detail: "why".to_owned(),
            client: None,
        }
    }

    #[test]
    fn failures_are_grouped_and_bounded() {
        let (mut log, now) = (FailureLog::default(), SystemTime::UNIX_EPOCH);
        for number in 0..500 {
            for cause in [Cause::ContentChanged, Cause::WrongFileType] {
                log.record(
                    &failure(&format!("https://h{number}.example/x"), cause),
                    now,
                );
            }
        }
        log.record(&failure("https://h450.example/y", Cause::Timeout), now);
        let hosts = log.hosts(usize::MAX);
        assert_eq!(hosts.len(), MAX_HOSTS);
        assert_eq!(
            (hosts[0].host.as_str(), hosts[0].count),
            ("h450.example", 3)
        );
        assert_eq!(hosts[0].last.cause, Cause::Timeout);
        assert_eq!(log.mismatches().len(), MAX_MISMATCHES);
        assert_eq!(log.changed().len(), MAX_CHANGED);
        assert_eq!(log.changed()[0].host(), "h499.example");
    }
}
