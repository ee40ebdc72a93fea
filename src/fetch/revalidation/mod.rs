//! Exchanges with an origin about responses that are stored and reused by RFC 9111.
//!
//! Unlike a fetch, an exchange sends the header fields of the request, and asks conditionally if a
//! response is stored. Requests share an exchange if all fields that go to the origin are equal.
//! This module must not know clients or when a stored response may be reused. Its main types are
//! [`SharedRequest`] and [`ExchangeReader`].

mod exchange;
mod exchange_map;
mod head;
mod judge;
mod request;
mod store;
mod task;

pub use exchange::{ExchangeReader, FirstAnswer, StreamingResponse};
pub use exchange_map::ExchangeMap;
pub use request::{SharedRequest, StoredObservation};

use std::sync::Arc;

use tokio::sync::oneshot;

use self::exchange::Exchange;
use self::task::ExchangeTask;
use super::FetchError;
use super::live_fetches::FetchAim;
use super::state::FetcherState;
use crate::policy::Admitted;

/// Joins the exchange of an equal request, or starts one. It goes on after all readers have left.
///
/// # Errors
/// [`FetchError::TooManyFetches`] or [`FetchError::Stopping`].
pub fn join_or_start(
    state: &Arc<FetcherState>,
    admitted: &Admitted,
    request: SharedRequest,
) -> Result<ExchangeReader, FetchError> {
    let key = request.key(admitted.target());
    let mut exchanges = state.exchanges();
    if let Some(exchange) = exchanges.get(&key) {
        return exchange.join(admitted.pool_client());
    }
    if let Some(observation) = exchanges.current(&key, request.arrived_at) {
        return Ok(Exchange::ended_reader(state.cache.clone(), observation));
    }
    if state.has_stopped() {
        return Err(FetchError::Stopping);
    }
    let client = admitted.pool_client();
    let permit = state.exchange_permits.try_acquire(client);
    let permit = permit.map_err(|_| FetchError::TooManyFetches)?;
    let exchange = Arc::new(Exchange::new(state.cache.clone(), client));
    let (handover, response) = oneshot::channel();
    let reader = exchange.first_reader(client, response);
    let permit = exchange.body.readership().hold(permit);
    let (target, meter) = (admitted.target(), exchange.body.meter());
    let place = state.live.register(target, FetchAim::Revalidation, meter);
    let audience = exchanges.audience(&key);
    exchanges.insert(key.clone(), Arc::clone(&exchange), audience);
    drop(exchanges);
    let task = ExchangeTask {
        exchange,
        key,
        admitted: admitted.clone(),
        request,
    };
    let run = task::run(Arc::clone(state), task, handover);
    let run = async move {
        run.await;
        drop((permit, place));
    };
    state.tasks.spawn_on(run, &state.runtime);
    Ok(reader)
}
