//! Detects requests that failed because of the state of a kept-alive connection.
//!
//! The origin may have closed it, or may have sent bytes after the previous response.
//!
//! The HTTP client's errors carry the identity of the connection that failed. The connector records
//! the connection that the request itself opened. If they differ, the connection had been kept
//! alive.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::{Extensions, Request, Response};
use hyper_util::client::legacy::{Client, Error};
use tokio::time::timeout;

use super::fault::TimeoutPhase;
use super::http_connector::OriginConnector;
use super::http_stream::ConnectionId;
use super::opened::{Opening, opening, with_opened};
use crate::dial::Asker;

/// Client of one egress route.
pub type HttpClient = Client<OriginConnector, reqwest::Body>;

/// Error returned when there is no response.
#[derive(Debug)]
pub enum SendError {
    /// A kept-alive connection ended before the header section of its response was complete.
    Stale(Error),
    Failed(Error),
    TimedOut(TimeoutPhase),
}

/// Sends a request of `asker`, and returns the response when its header section is complete.
///
/// # Errors
/// [`SendError`] if there is no response within `limit`.
pub async fn send(
    client: &HttpClient,
    request: Request<reqwest::Body>,
    asker: Asker,
    limit: Duration,
) -> Result<Response<Incoming>, SendError> {
    let sending = async {
        match timeout(limit, client.request(request)).await {
            Ok(response) => response.map_err(|error| {
                if is_stale(&error) {
                    SendError::Stale(error)
                } else {
                    SendError::Failed(error)
                }
            }),
            Err(_) if opening() == Opening::InProgress => {
                Err(SendError::TimedOut(TimeoutPhase::Connect))
            }
            Err(_) => Err(SendError::TimedOut(TimeoutPhase::Response)),
        }
    };
    with_opened(asker, sending).await
}

/// Returns whether the request failed on a kept-alive connection, before any response.
///
/// If the error has no connection, opening one failed. Bytes that cannot be parsed may be the rest
/// of the previous response, so they cost only that connection.
fn is_stale(error: &Error) -> bool {
    let failed = connection_of(error);
    failed.is_some_and(|failed| opening() != Opening::Opened(failed))
}

fn connection_of(error: &Error) -> Option<ConnectionId> {
    let mut extras = Extensions::new();
    error.connect_info()?.get_extras(&mut extras);
    extras.get::<ConnectionId>().copied()
}
