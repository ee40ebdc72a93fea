//! In what ways a store fails.

use std::sync::Mutex;

use super::super::{Gate, lock};
use super::door::Seen;

/// What happens to a request.
#[derive(Clone)]
pub enum Fault {
    /// It is answered with this status and error code, and nothing is done.
    Refuse(u16, &'static str),
    /// The connection is closed instead of an answer.
    Hangup,
    /// The answer waits for the test.
    Stall(Gate),
    /// The body of the answer breaks off after so many bytes.
    Cut(usize),
    /// The answer names another ETag.
    WrongEtag,
    /// The answer's ETag is empty, as Ceph's is when an upload in parts is complete.
    EmptyEtag,
    /// A success is told, but no more than so many bytes were kept.
    Keep(u64),
    /// A success is told, but nothing was kept.
    Lose,
}

impl Fault {
    pub const SLOW_DOWN: Self = Self::Refuse(503, "SlowDown");
    pub const UNKNOWN_KEY: Self = Self::Refuse(403, "InvalidAccessKeyId");
    pub const WRONG_SIGNATURE: Self = Self::Refuse(403, "SignatureDoesNotMatch");
    pub const WRONG_CLOCK: Self = Self::Refuse(403, "RequestTimeTooSkewed");
    pub const EXPIRED_TOKEN: Self = Self::Refuse(400, "ExpiredToken");
    pub const ACCESS_DENIED: Self = Self::Refuse(403, "AccessDenied");
    pub const NO_BUCKET: Self = Self::Refuse(404, "NoSuchBucket");
    /// OBS.
    pub const NO_SPACE: Self = Self::Refuse(403, "InsufficientStorageSpace");
    /// Ceph.
    pub const QUOTA: Self = Self::Refuse(403, "QuotaExceeded");
}

type Wanted = Box<dyn Fn(&Seen) -> bool + Send + Sync>;

struct Rule {
    wanted: Wanted,
    fault: Fault,
    left: usize,
}

#[derive(Default)]
pub(super) struct Faults {
    rules: Mutex<Vec<Rule>>,
    /// All that there ever were: somebody may stand at one whose rule has gone.
    gates: Mutex<Vec<Gate>>,
}

impl Faults {
    pub(super) fn add(&self, wanted: impl Fn(&Seen) -> bool + Send + Sync + 'static, fault: Fault, left: usize) {
        if let Fault::Stall(gate) = &fault {
            lock(&self.gates).push(gate.clone());
        }
        lock(&self.rules).push(Rule { wanted: Box::new(wanted), fault, left });
    }

    pub(super) fn clear(&self) {
        lock(&self.rules).clear();
    }

    pub(super) fn abandon(&self) {
        lock(&self.gates).iter().for_each(Gate::abandon);
    }

    /// What is to happen to this request.
    pub(super) fn of(&self, seen: &Seen) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let rule = rules.iter_mut().find(|rule| rule.left > 0 && (rule.wanted)(seen))?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }
}
