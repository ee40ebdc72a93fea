//! Listening: both ports on one pipeline, from a TCP connection to the doors.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_http::HttpService as HttpPipeline;
use actix_http::error::DispatchError;
use actix_server::{GracefulShutdownSignal, ServerHandle};
use actix_service::{
    IntoServiceFactory as _, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::dev::AppConfig;
use actix_web::{App, web};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use super::connection::{Connection, HEAD_TIMEOUT, set_stall_timeout};
use super::tunnel::{self, Port};
use super::{HttpService, read_proxy_header, service};
use crate::model::ConfigError;

/// Connections that wait to be accepted: a build farm begins its downloads at one moment.
const BACKLOG: u32 = 4096;

/// An answer is flushed once so much waits, in bytes. Pieces of bodies are larger, so that each
/// goes out by itself and a connection's buffer holds one of them.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;

/// How long a connection may rest between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long the client may take to close its half after the last answer.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sockets that are bound, so that an error shows before anything runs.
pub struct Listeners {
    gateway: std::net::TcpListener,
    proxy: Option<std::net::TcpListener>,
}

impl Listeners {
    /// Binds `host:port` of both ports; an empty proxy address means no proxy port.
    ///
    /// # Errors
    /// A line that names key and address.
    pub async fn bind(gateway: &str, proxy: &str) -> Result<Self, ConfigError> {
        let bound = |key: &'static str, address: &str| {
            let address = address.to_owned();
            async move {
                listen(&address).await.map_err(|why| {
                    ConfigError::new(key, format!("cannot listen on {address}: {why}"))
                })
            }
        };
        let gateway = bound("gateway.listen", gateway).await?;
        let proxy = match proxy {
            "" => None,
            address => Some(bound("proxy.listen", address).await?),
        };
        Ok(Self { gateway, proxy })
    }
}

async fn listen(address: &str) -> io::Result<std::net::TcpListener> {
    let address: SocketAddr = match address.parse() {
        Ok(address) => address,
        Err(_) => lookup_host(address)
            .await?
            .next()
            .ok_or(io::ErrorKind::AddrNotAvailable)?,
    };
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// The running server.
pub struct Server {
    handle: ServerHandle,
    running: tokio::task::JoinHandle<io::Result<()>>,
}

impl Server {
    /// Serves `service` at both ports. At the end answers may go on for `grace`.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(
        listeners: Listeners,
        service: &Arc<HttpService>,
        grace: Duration,
    ) -> io::Result<Self> {
        let workers = available_parallelism().map_or(1, NonZero::get);
        let mut builder = actix_server::Server::build()
            .disable_signals()
            .workers(workers)
            .shutdown_timeout(
                grace
                    .as_millis()
                    .div_ceil(1000)
                    .try_into()
                    .unwrap_or(u64::MAX),
            )
            // Beyond it they wait in the backlog, and no descriptor is spent on them.
            .max_concurrent_connections(service.admission.max_connections().div_ceil(workers));
        let stopping = builder.graceful_shutdown_signal();
        let gateway = (Port::Gateway, "gateway", Some(listeners.gateway));
        for (port, name, listener) in [gateway, (Port::Proxy, "proxy", listeners.proxy)] {
            let Some(listener) = listener else { continue };
            let address = listener.local_addr()?;
            let (service, stopping) = (Arc::clone(service), stopping.clone());
            builder = builder.listen(name, listener, move || {
                connection_service(port, Arc::clone(&service), stopping.clone())
            })?;
            tracing::info!(endpoint = name, %address, "listening");
        }
        let server = builder.run();
        let handle = server.handle();
        Ok(Self {
            handle,
            running: tokio::spawn(server),
        })
    }

    /// Accepts no more connections, and lets those that are open finish their answers within the
    /// grace period.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        match self.running.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the server ended with an error"),
            Err(error) => tracing::warn!(%error, "the server's task failed"),
        }
    }
}

/// From a connection to its end: whose it is, then requests one after the other, or a tunnel.
fn connection_service(
    port: Port,
    service: Arc<HttpService>,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
{
    let handler =
        web::to(move |request, payload, service| service::serve(port, request, payload, service));
    let app = App::new()
        .app_data(web::Data::from(Arc::clone(&service)))
        .default_service(handler);
    let app = app
        .into_factory()
        .map_err(|error: actix_web::Error| error.error_response());
    let for_tunnels = Arc::clone(&service);
    let requests = HttpPipeline::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .h1_allow_half_closed(false)
        .on_connect_ext(|connection: &Connection, data| drop(data.insert(connection.state())))
        .h1_write_buffer_size(WRITE_BUFFER_BYTES)
        .upgrade(fn_service(move |(request, framed)| {
            let service = Arc::clone(&for_tunnels);
            async move {
                tunnel::serve(request, framed, port, service)
                    .await
                    .map_err(actix_web::Error::from)
            }
        }))
        .h1(map_config(app, |()| AppConfig::default()));
    fn_service(move |stream: TcpStream| accept_client(port, Arc::clone(&service), stream))
        .and_then(requests)
}

/// Learns whose connection it is. Behind a front server that is in its PROXY header, which nobody
/// else may send.
async fn accept_client(
    port: Port,
    service: Arc<HttpService>,
    mut stream: TcpStream,
) -> Result<(Connection, Option<SocketAddr>), DispatchError> {
    let permit = service.admission.admit_connection();
    let peer = stream.peer_addr().map_err(DispatchError::Io)?;
    // Failing here only costs a little latency.
    stream.set_nodelay(true).ok();
    set_stall_timeout(&stream, service.settings.load().stall_timeout);
    if port == Port::Gateway || !service.proxy.proxy_protocol {
        return Ok((Connection::new(stream, permit), Some(peer)));
    }
    if !service.is_trusted_proxy(peer.ip()) {
        tracing::warn!(%peer, "a connection that is not from gateway.trusted_proxies was closed");
        return Err(DispatchError::Io(io::ErrorKind::PermissionDenied.into()));
    }
    match timeout(HEAD_TIMEOUT, read_proxy_header(&mut stream)).await {
        Ok(Ok(client)) => Ok((
            Connection::new(stream, permit),
            Some(client.unwrap_or(peer)),
        )),
        Ok(Err(error)) => {
            tracing::warn!(%peer, %error, "a connection was closed");
            Err(DispatchError::Io(io::ErrorKind::InvalidData.into()))
        }
        Err(_) => Err(DispatchError::Io(io::ErrorKind::TimedOut.into())),
    }
}
