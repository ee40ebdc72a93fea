//! File descriptor budget: the limit of open files, and its division among uses.

use std::num::NonZero;
use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::http::CrowdLimits;

/// Descriptors of the process itself: listeners, event loops, the index, locks, bucket connections,
/// and notification channels.
const OWN: usize = 64;

/// Descriptors of each worker thread.
const PER_WORKER: usize = 5;

/// Divisor of the limit that gives the share of idle connections to origins.
const PART_OF_RESTING: usize = 32;

/// Descriptors of a fetch, without its lease: the connection, the staged file, and the connection
/// of the next hop.
const PER_FETCH: usize = 3;

/// Divisor of the limit that gives the maximum number of concurrent fetches.
const PART_OF_FETCHES: usize = 32;

/// Divisor of the limit that gives the share of in-flight fetches. Each one holds a lease, also
/// while it waits for a permit.
const PART_OF_FLIGHTS: usize = 4;

/// Assumed limit if there is none.
const UNLIMITED: usize = 1 << 20;

/// File descriptor budget: the maximum of each use, chosen so that descriptors never run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    pub flights: usize,
    pub fetches: usize,
    /// Responses that come from upstream.
    pub upstream: usize,
    pub crowd: CrowdLimits,
}

impl Shares {
    /// Divides `limit` descriptors. Every share is at least 1.
    fn of(limit: usize, concurrency: usize) -> Self {
        let fetches = concurrency.min(limit / PART_OF_FETCHES).max(1);
        let flights = (limit / PART_OF_FLIGHTS).clamp(1, crate::fetch::MAX_FLIGHTS);
        let workers = available_parallelism().map_or(1, NonZero::get);
        let own = OWN + workers * PER_WORKER + limit / PART_OF_RESTING;
        let left = limit.saturating_sub(own + fetches * PER_FETCH + flights);
        let crowd = CrowdLimits::within(left);
        Self { flights, fetches, upstream: (crowd.answers / 4 * 3).max(1), crowd }
    }
}

/// Raises the soft limit of open files to the hard limit, and divides it.
///
/// Every client, tunnel and fetch needs descriptors, and the usual soft limit is too low for a
/// server.
pub fn divide_descriptors(concurrency: usize) -> Shares {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, limit = limit.current, "cannot raise the limit of open files");
            limit.current
        }
    };
    let descriptors = in_force.map_or(UNLIMITED, |limit| usize::try_from(limit).unwrap_or(UNLIMITED)).min(UNLIMITED);
    let shares = Shares::of(descriptors, concurrency);
    let CrowdLimits { connections, answers, .. } = shares.crowd;
    if shares.fetches < concurrency {
        tracing::warn!(
            descriptors,
            fetches = shares.fetches,
            connections,
            answers,
            "limit of open files too low for fetch.concurrency, reducing concurrent fetches"
        );
    } else {
        tracing::debug!(descriptors, fetches = shares.fetches, connections, answers, "divided file descriptors");
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fit_limit_and_are_not_zero() {
        for limit in [256, 512, 1024, 4096, 20_000, 65_536, UNLIMITED] {
            let shares = Shares::of(limit, 64);
            let CrowdLimits { connections, spare, answers } = shares.crowd;
            let all = OWN + shares.fetches * PER_FETCH + shares.flights + connections + spare + answers;
            assert!(all <= limit, "{limit}: {all} for {shares:?}");
            assert!(shares.fetches >= 8 && connections >= 32 && answers >= 16 && spare >= 4, "{limit}: {shares:?}");
        }
        let shares = Shares::of(0, 64);
        assert!(shares.fetches > 0 && shares.flights > 0 && shares.crowd.connections > 0, "{shares:?}");
    }

    #[test]
    fn twenty_thousand_descriptors_allow_ten_thousand_clients() {
        let shares = Shares::of(20_000, 64);
        assert!(shares.crowd.connections >= 10_000, "{shares:?}");
        assert_eq!((shares.fetches, shares.flights), (64, crate::fetch::MAX_FLIGHTS));
    }
}
