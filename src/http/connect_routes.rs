//! Where a `CONNECT` may lead, and the requests inside it.
//!
//! The main type is [`ConnectRoutes`].

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use actix_http::error::DispatchError;
use actix_service::Service as _;
use actix_service::boxed::BoxService;

use super::client_info::Port;
use super::connection::ClientConnection;
use super::state::HttpService;

/// Serves the requests of one connection.
pub type RequestPipeline =
    Rc<BoxService<(ClientConnection, Option<SocketAddr>), (), DispatchError>>;

/// Where a `CONNECT` may lead.
pub struct ConnectRoutes {
    pub port: Port,
    pub service: Arc<HttpService>,
    /// `None` inside a `CONNECT`, which carries no other one.
    pub inside: Option<RequestPipeline>,
}

/// Serves the requests of a connection inside a `CONNECT`, until it ends.
pub async fn run_inside(
    connection: ClientConnection,
    peer: Option<SocketAddr>,
    routes: &ConnectRoutes,
) {
    let Some(inside) = &routes.inside else {
        return;
    };
    let ready = std::future::poll_fn(|cx| inside.poll_ready(cx)).await;
    let served = match ready {
        Ok(()) => inside.call((connection, peer)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection inside a CONNECT ended with an error");
    }
}
