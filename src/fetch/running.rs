//! The present fetches and open circuits of this process, for operators. The main type is
//! [`RunningFetch`].

use std::time::SystemTime;

use super::fetcher::Fetcher;
use super::host_circuits::OpenCircuit;
use super::shared_body::BodyView;
use crate::model::Target;

/// One in-flight fetch at one time.
#[derive(Debug, Clone)]
pub struct RunningFetch {
    pub target: Target,
    pub began_at: SystemTime,
    /// In bytes. `None` if it is unknown, or the origin has not answered.
    pub length: Option<u64>,
    pub received_bytes: u64,
    pub readers: usize,
    /// Scheme, host and port of the source that was asked last. `None` while the fetch waits.
    pub source: Option<String>,
}

/// Returns up to `limit` in-flight fetches, the oldest first.
#[must_use]
pub fn running_fetches(fetcher: &Fetcher, limit: usize) -> Vec<RunningFetch> {
    let in_flight = fetcher.state.in_flight();
    let mut running: Vec<_> = in_flight.iter().collect();
    running.sort_by_key(|fetch| fetch.began_at);
    let shown = running.into_iter().take(limit).map(|fetch| {
        let BodyView {
            length,
            received_bytes,
            readers,
            source,
        } = fetch.body.view();
        RunningFetch {
            target: fetch.target.clone(),
            began_at: fetch.began_at,
            length,
            received_bytes,
            readers,
            source,
        }
    });
    shown.collect()
}

/// Returns up to `limit` circuits that hold requests back.
#[must_use]
pub fn open_circuits(fetcher: &Fetcher, limit: usize) -> Vec<OpenCircuit> {
    fetcher.state.circuits.list_open(limit)
}
