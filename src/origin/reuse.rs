//! Detects requests that failed because the origin had closed a kept-alive connection.
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
    /// The last connection that the running request has opened.
    static OPENED: Cell<Option<Ends>>;
}

/// Error returned when no response has come.
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

/// Sends a request and returns the response once its header section is here. The client must be
/// built with [`OpenedLayer`]: without it every connection counts as kept alive.
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

/// An error without a connection is one of opening it, and a response that cannot be parsed is a
/// response.
fn is_stale(error: &reqwest::Error) -> bool {
    let first: &(dyn StdError + 'static) = error;
    let mut failed = None;
    for cause in successors(Some(first), |&cause| cause.source()) {
        if cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse)
        {
            return false;
        }
        let client_error = cause.downcast_ref::<legacy::Error>();
        failed = failed.or_else(|| Ends::of(client_error?.connect_info()?));
    }
    failed.is_some() && failed != OPENED.with(Cell::get)
}

/// Both ends of a TCP connection. No two open connections have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    local: SocketAddr,
    remote: SocketAddr,
}

impl Ends {
    /// Nothing is returned if the connection was reset before its ends were read.
    fn of(connected: &Connected) -> Option<Self> {
        let mut extras = Extensions::new();
        connected.get_extras(&mut extras);
        let info = extras.get::<HttpInfo>()?;
        Some(Self {
            local: info.local_addr(),
            remote: info.remote_addr(),
        })
    }
}

/// Layer of a connector that records which connection a request has opened.
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
    // If the request has found a kept-alive connection meanwhile, the new one is opened by a task
    // of its own, for the pool.
    OPENED
        .try_with(|opened| opened.set(Ends::of(&connection.connected())))
        .ok();
}
