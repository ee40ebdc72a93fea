//! Faults of an S3 store.

use std::sync::Mutex;

use super::super::{Gate, lock};
use super::front_end::Seen;

/// Fault that is injected into a request.
#[derive(Clone)]
pub enum Fault {
    /// Millpond gets this status and error code, and the store does nothing.
    Refuse(u16, &'static str),
    /// The store closes the connection without a response.
    Hangup,
    /// The response waits until the test opens the gate.
    Stall(Gate),
    /// The response body is cut off after this many bytes.
    Cut(usize),
    /// The response has a different ETag.
    WrongEtag,
    /// The response has an empty ETag, as with Ceph when a multipart upload is complete.
    EmptyEtag,
    /// The store reports success but keeps at most this many bytes.
    Keep(u64),
    /// The store reports success but keeps nothing.
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
    /// Error code of OBS.
    pub const NO_SPACE: Self = Self::Refuse(403, "InsufficientStorageSpace");
    /// Error code of Ceph.
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
    /// Every gate ever used: a request may wait at a gate whose rule was removed.
    gates: Mutex<Vec<Gate>>,
}

impl Faults {
    pub(super) fn add(
        &self,
        wanted: impl Fn(&Seen) -> bool + Send + Sync + 'static,
        fault: Fault,
        left: usize,
    ) {
        if let Fault::Stall(gate) = &fault {
            lock(&self.gates).push(gate.clone());
        }
        lock(&self.rules).push(Rule {
            wanted: Box::new(wanted),
            fault,
            left,
        });
    }

    pub(super) fn clear(&self) {
        lock(&self.rules).clear();
    }

    pub(super) fn abandon(&self) {
        lock(&self.gates).iter().for_each(Gate::abandon);
    }

    /// Returns the fault for this request.
    pub(super) fn of(&self, seen: &Seen) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let rule = rules
            .iter_mut()
            .find(|rule| rule.left > 0 && (rule.wanted)(seen))?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }
}
