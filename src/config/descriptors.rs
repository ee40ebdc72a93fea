//! Open files: how many the process may have, and who gets how many of them.

use std::num::NonZero;
use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::http::CrowdLimits;

/// What the process itself needs: listeners, event loops, the index, locks, the bucket's connections, its own trouble's posts.
const OWN: usize = 64;

/// What each thread that serves clients needs.
const PER_WORKER: usize = 5;

/// Of so many, one is left for connections to origins that rest.
const PART_OF_RESTING: usize = 32;

/// What a fetch opens besides its claim: the connection, the staged file, and the next hop's connection.
const PER_FETCH: usize = 3;

/// Of so many, one fetch may be under way.
const PART_OF_FETCHES: usize = 32;

/// A part of them all, for flights that wait for their turn: each holds its claim.
const PART_OF_FLIGHTS: usize = 4;

/// What is assumed where there is no limit.
const UNLIMITED: usize = 1 << 20;

/// How many of each there may be at once, so that none of them ever finds no descriptor left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    pub flights: usize,
    pub fetches: usize,
    /// Answers that come from upstream.
    pub upstream: usize,
    pub crowd: CrowdLimits,
}

impl Shares {
    /// Divides `limit` descriptors. Nobody's share is nothing, however few there are.
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

/// Every client, tunnel and fetch costs one or two descriptors, and the usual soft limit is for interactive programs: it is
/// raised as far as may be, and divided.
pub fn divide_descriptors(concurrency: usize) -> Shares {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, limit = limit.current, "the limit of open files could not be raised");
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
            "there may be few open files, so fetch.concurrency is not reached"
        );
    } else {
        tracing::debug!(descriptors, fetches = shares.fetches, connections, answers, "places");
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shares_together_fit_and_none_is_nothing() {
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
    fn ten_thousand_clients_have_a_place_each_where_there_are_descriptors_for_them() {
        let shares = Shares::of(20_000, 64);
        assert!(shares.crowd.connections >= 10_000, "{shares:?}");
        assert_eq!((shares.fetches, shares.flights), (64, crate::fetch::MAX_FLIGHTS));
    }
}
