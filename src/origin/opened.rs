//! The connection that a request has opened itself, if any, and the client it is opened for.
//!
//! The HTTP client has no way to pass these on to its connector. It knows no protocol. The main
//! function is [`with_opened`].

use std::cell::Cell;

use super::http_stream::ConnectionId;
use crate::dial::Asker;

tokio::task_local! {
    static OPENED: Cell<Opening>;
    static ASKER: Asker;
}

/// Progress of the connection that a request opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The request uses a kept-alive connection, as far as is known.
    NotBegun,
    /// Lookup, connection or handshake have not ended.
    InProgress,
    Opened(ConnectionId),
}

/// Runs a request for a client. [`opening`] then states the connection of the request.
pub async fn with_opened<T>(asker: Asker, request: impl Future<Output = T>) -> T {
    let request = OPENED.scope(Cell::new(Opening::NotBegun), request);
    ASKER.scope(asker, request).await
}

/// Returns the client of the current request. `None` also for a connection that is opened for no
/// request.
pub fn current_asker() -> Asker {
    ASKER.try_with(|asker| *asker).ok().flatten()
}

/// Records the progress of a connection for the current request.
pub fn record_opening(progress: Opening) {
    // If the request got a kept-alive connection meanwhile, a task without OPENED opens the new one
    // for the pool.
    OPENED.try_with(|opened| opened.set(progress)).ok();
}

/// Returns the progress of the connection that the current request opens.
pub fn opening() -> Opening {
    OPENED.try_with(Cell::get).unwrap_or(Opening::NotBegun)
}
