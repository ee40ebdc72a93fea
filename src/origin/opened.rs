//! The connection that a request has opened itself, if any.
//!
//! It knows no client and no protocol. The main function is [`with_opened`].

use std::cell::Cell;

use super::http_stream::ConnectionId;

tokio::task_local! {
    static OPENED: Cell<Opening>;
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

/// Runs a request, of which [`opening`] then states the connection.
pub async fn with_opened<T>(request: impl Future<Output = T>) -> T {
    OPENED.scope(Cell::new(Opening::NotBegun), request).await
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
