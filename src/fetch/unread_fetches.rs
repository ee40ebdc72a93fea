//! Bound on the fetches that wait for a permit and have no reader. Redirects and clients that leave
//! begin such fetches at no cost of their own, and each one takes memory and a descriptor.
//!
//! Its entry points are [`await_surplus`], and [`is_surplus`] before a fetch has begun.

use std::future::pending;

use super::in_flight::FetchPurpose;
use super::shared_body::SharedBody;
use super::state::FetcherState;
use crate::model::Key;
use crate::policy::Admitted;

/// Waits until the in-flight fetch of a body has no reader and its client has too many of these.
/// Then no request can join it. A refresh, or a fetch of other bytes, never counts.
pub async fn await_surplus(state: &FetcherState, body: &SharedBody, key: Key) {
    let is_registered = || {
        let in_flight = state.in_flight();
        let registered = in_flight.get(key, FetchPurpose::Answer);
        registered.is_some_and(|other| std::ptr::eq(&raw const **other, body))
    };
    let readership = body.readership();
    while is_registered() {
        readership.wait_unread().await;
        if let Ok(_place) = state.unread_waiting.try_acquire(readership.beginner()) {
            readership.wait_read().await;
            continue;
        }
        let mut in_flight = state.in_flight();
        // A reader may have joined since. From here on, none can.
        if readership.is_unread() {
            in_flight.remove(key, FetchPurpose::Answer, body);
            return;
        }
    }
    pending::<()>().await;
}

/// Whether a fetch without a reader would end as soon as it waited for its first permit. The lease
/// that it acquires before is a file, and costs more than the redirect that begins the fetch.
pub fn is_surplus(state: &FetcherState, admitted: &Admitted) -> bool {
    let client = admitted.pool_client();
    if state.unread_waiting.free_for(client) > 0 {
        return false;
    }
    let sources = state.policy.sources(admitted, false);
    let is_full = |admitted| state.host_limiter.is_full_for(client, admitted);
    sources
        .first()
        .is_some_and(|source| is_full(source.admitted()))
}
