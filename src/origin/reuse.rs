//! Detects requests that failed because of the state of a kept-alive connection.
//!
//! The origin may have closed it, or may have sent bytes after the previous response.
//!
//! The HTTP client's errors carry both ends of the connection that failed. A layer around its
//! connector records both ends of a connection that the request itself opened. If they differ, the
//! connection had been kept alive.

use std::cell::Cell;
use std::error::Error as StdError;
use std::iter::successors;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use futures_util::TryFutureExt as _;
use futures_util::future::InspectOk;
use hyper::http::Extensions;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpInfo};
use reqwest::{Client, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

tokio::task_local! {
    /// The last connection that the current request opened.
    static OPENED: Cell<Option<Ends>>;
}

/// Error returned when there is no response.
#[derive(Debug)]
pub enum SendError {
    /// A kept-alive connection ended before the header section of its response was complete.
    Stale(reqwest::Error),
    Failed(reqwest::Error),
}

impl From<SendError> for reqwest::Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Stale(error) | SendError::Failed(error) => error,
        }
    }
}

/// Sends a request and returns the response when its header section is complete.
///
/// The client must be built with [`OpenedLayer`]. Otherwise every connection counts as kept alive.
///
/// # Errors
/// [`SendError`] if there is no response.
pub async fn send(client: &Client, request: Request) -> Result<Response, SendError> {
    let sending = async {
        let response = client.execute(request).await;
        response.map_err(|error| {
            if is_stale(&error) {
                SendError::Stale(error)
            } else {
                SendError::Failed(error)
            }
        })
    };
    OPENED.scope(Cell::new(None), sending).await
}

/// Returns whether the request failed on a kept-alive connection, before any response.
///
/// If the error has no connection, opening one failed. Bytes that cannot be parsed may be the rest
/// of the previous response, so they cost only that connection.
fn is_stale(error: &reqwest::Error) -> bool {
    let first: &(dyn StdError + 'static) = error;
    let failed = successors(Some(first), |&cause| cause.source()).find_map(|cause| {
        let client_error = cause.downcast_ref::<legacy::Error>()?;
        Ends::new(client_error.connect_info()?)
    });
    failed.is_some() && failed != OPENED.with(Cell::get)
}

/// Addresses of both ends of a TCP connection. They identify an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    local: SocketAddr,
    remote: SocketAddr,
}

impl Ends {
    /// Returns `None` if the connection was reset before its addresses were read.
    fn new(connected: &Connected) -> Option<Self> {
        let mut extras = Extensions::new();
        connected.get_extras(&mut extras);
        let info = extras.get::<HttpInfo>()?;
        Some(Self {
            local: info.local_addr(),
            remote: info.remote_addr(),
        })
    }
}

/// Connector layer that records which connection a request opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenedLayer;

impl<S> Layer<S> for OpenedLayer {
    type Service = Opening<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Opening(inner)
    }
}

#[derive(Debug, Clone)]
pub struct Opening<S>(S);

impl<S, R> Service<R> for Opening<S>
where
    S: Service<R>,
    S::Response: Connection,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = InspectOk<S::Future, fn(&S::Response)>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.0.call(request).inspect_ok(record)
    }
}

fn record<C: Connection>(connection: &C) {
    // If the request got a kept-alive connection meanwhile, a task without OPENED opens the new one
    // for the pool.
    OPENED
        .try_with(|opened| opened.set(Ends::new(&connection.connected())))
        .ok();
}
