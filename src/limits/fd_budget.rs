//! File descriptor budget: the limit of open files, and its division among uses.

use std::num::NonZero;
use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::AdmissionLimits;

/// Descriptors of the process itself: listeners, event loops, the index, locks, bucket connections,
/// and notification channels.
const OWN: usize = 64;

/// Descriptors of each worker thread.
const PER_WORKER: usize = 5;

/// Divisor of the limit that gives the share of idle connections to origins.
const PART_OF_IDLE: usize = 32;

/// Descriptors of a fetch, without its lease: the connection, the staged file, and the connection
/// of the next hop.
const PER_FETCH: usize = 3;

/// Divisor of the limit that gives the maximum number of concurrent fetches.
const PART_OF_FETCHES: usize = 32;

/// Divisor of the limit that gives the share of in-flight fetches. Each one holds a lease, also
/// while it waits for a permit.
const PART_OF_IN_FLIGHT: usize = 4;

/// Divisor of the responses that gives the share of responses from the cache. One client leaves
/// more, because it gets only a part of the responses from upstream.
const PART_OF_HITS: usize = 8;

/// Divisor of the limit that gives the maximum number of concurrent lookups. Each has a socket.
const PART_OF_LOOKUPS: usize = 64;

/// Bounds of that number. A lookup with an answer takes milliseconds, so that a full table consists
/// of names without one.
const MIN_LOOKUPS: usize = 8;
const MAX_LOOKUPS: usize = 512;

/// Divisor of the limit that gives the number of small objects that stay open.
const PART_OF_HELD: usize = 1024;

/// Maximum of that number. Only objects that are requested again within moments gain from it.
const MAX_HELD: usize = 256;

/// Divisor of the limit that gives the additional connection attempts of all races together.
const PART_OF_ATTEMPTS: usize = 128;

/// Maximum of that number.
const MAX_EXTRA_ATTEMPTS: usize = 64;

/// Assumed limit if there is none.
const UNLIMITED: usize = 1 << 20;

/// Maximum number of in-flight fetches, active or waiting for a permit. Further ones are rejected.
pub const MAX_IN_FLIGHT: usize = 4096;

/// Maximum numbers of sockets that are opened before a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialLimits {
    /// Concurrent lookups.
    pub lookups: usize,
    /// Concurrent connection attempts, without the first one of each connection.
    pub extra_attempts: usize,
}

/// File descriptor budget: the maximum of each use, chosen so that descriptors never run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdBudget {
    /// Fetches that are active or wait for a permit.
    pub in_flight: usize,
    /// Concurrent fetches.
    pub fetches: usize,
    /// Responses that come from upstream.
    pub upstream: usize,
    pub dial: DialLimits,
    /// Small objects that stay open.
    pub held_objects: usize,
    pub admission: AdmissionLimits,
}

impl DialLimits {
    /// Returns the limits without regard to descriptors, for a command.
    pub const MAX: Self = Self {
        lookups: MAX_LOOKUPS,
        extra_attempts: MAX_EXTRA_ATTEMPTS,
    };

    fn for_limit(limit: usize) -> Self {
        Self {
            lookups: (limit / PART_OF_LOOKUPS).clamp(MIN_LOOKUPS, MAX_LOOKUPS),
            extra_attempts: (limit / PART_OF_ATTEMPTS).clamp(1, MAX_EXTRA_ATTEMPTS),
        }
    }

    fn sockets(self) -> usize {
        self.lookups + self.extra_attempts
    }
}

impl FdBudget {
    /// Divides `limit` descriptors. Every share is at least 1.
    fn divide(limit: usize, concurrency: usize) -> Self {
        let fetches = concurrency.min(limit / PART_OF_FETCHES).max(1);
        let in_flight = (limit / PART_OF_IN_FLIGHT).clamp(1, MAX_IN_FLIGHT);
        let workers = available_parallelism().map_or(1, NonZero::get);
        let dial = DialLimits::for_limit(limit);
        let held_objects = (limit / PART_OF_HELD).min(MAX_HELD);
        let own = OWN + workers * PER_WORKER + limit / PART_OF_IDLE + held_objects;
        let left = limit.saturating_sub(own + fetches * PER_FETCH + in_flight + dial.sockets());
        let admission = AdmissionLimits::for_descriptors(left);
        Self {
            in_flight,
            fetches,
            dial,
            held_objects,
            upstream: (admission.responses - admission.responses / PART_OF_HITS).max(1),
            admission,
        }
    }
}

/// Raises the soft limit of open files to the hard limit, and divides it.
///
/// Every client, tunnel and fetch needs descriptors, and the usual soft limit is too low for a
/// server.
pub fn divide_descriptors(concurrency: usize) -> FdBudget {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let in_force = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, limit = limit.current, "cannot raise the limit of open files");
            limit.current
        }
    };
    let descriptors = in_force
        .map_or(UNLIMITED, |limit| {
            usize::try_from(limit).unwrap_or(UNLIMITED)
        })
        .min(UNLIMITED);
    let budget = FdBudget::divide(descriptors, concurrency);
    let AdmissionLimits {
        connections,
        responses,
        ..
    } = budget.admission;
    if budget.fetches < concurrency {
        tracing::warn!(
            descriptors,
            fetches = budget.fetches,
            connections,
            responses,
            "limit of open files too low for fetch.concurrency, reducing concurrent fetches"
        );
    } else {
        tracing::debug!(
            descriptors,
            fetches = budget.fetches,
            connections,
            responses,
            "divided file descriptors"
        );
    }
    budget
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fit_limit_and_are_not_zero() {
        for limit in [256, 512, 1024, 4096, 20_000, 65_536, UNLIMITED] {
            let budget = FdBudget::divide(limit, 64);
            let AdmissionLimits {
                connections,
                reserve,
                responses,
            } = budget.admission;
            let all = OWN
                + budget.fetches * PER_FETCH
                + budget.in_flight
                + budget.dial.sockets()
                + budget.held_objects
                + connections
                + reserve
                + responses;
            assert!(all <= limit, "{limit}: {all} for {budget:?}");
            assert!(
                budget.fetches >= 8 && connections >= 32 && responses >= 16 && reserve >= 4,
                "{limit}: {budget:?}"
            );
        }
        let budget = FdBudget::divide(0, 64);
        assert!(
            budget.fetches > 0 && budget.in_flight > 0 && budget.admission.connections > 0,
            "{budget:?}"
        );
    }

    #[test]
    fn twenty_thousand_descriptors_allow_ten_thousand_clients() {
        let budget = FdBudget::divide(20_000, 64);
        assert!(budget.admission.connections >= 10_000, "{budget:?}");
        assert_eq!((budget.fetches, budget.in_flight), (64, MAX_IN_FLIGHT));
    }
}
