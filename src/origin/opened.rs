//! The connection that a request has opened itself, if any.
//!
//! It knows no client and no protocol. The main function is [`with_opened`].

use std::cell::Cell;

use super::http_stream::ConnectionId;

tokio::task_local! {
    /// The last connection that the current request opened.
    static OPENED: Cell<Option<ConnectionId>>;
}

/// Runs a request, of which [`opened_connection`] then states the connection.
pub async fn with_opened<T>(request: impl Future<Output = T>) -> T {
    OPENED.scope(Cell::new(None), request).await
}

/// Records a connection that was opened for the current request.
pub fn record_opened(connection: ConnectionId) {
    // If the request got a kept-alive connection meanwhile, a task without OPENED opens the new one
    // for the pool.
    OPENED.try_with(|opened| opened.set(Some(connection))).ok();
}

/// Returns the connection that the current request opened. Only within [`with_opened`].
pub fn opened_connection() -> Option<ConnectionId> {
    OPENED.try_with(Cell::get).ok().flatten()
}
