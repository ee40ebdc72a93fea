//! The HTTP server: listens on both ports and accepts connections.
//!
//! Both ports share one pipeline, which passes requests to [`service`] and a `CONNECT` to
//! [`connect`].
//! The main type is [`HttpServer`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::error::DispatchError;
use actix_http::{HttpService as HttpPipeline, KeepAlive, Request, h1};
use actix_server::{GracefulShutdownSignal, ServerHandle};
use actix_service::{
    IntoServiceFactory as _, ServiceFactory, ServiceFactoryExt as _, boxed, fn_factory, fn_service,
    map_config,
};
use actix_web::dev::AppConfig;
use actix_web::{App, web};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use super::client_info::Port;
use super::connect;
use super::connect_routes::{ConnectRoutes, RequestPipeline};
use super::connection::{ClientConnection, ClientStream, ConnectionFacts, HEAD_TIMEOUT};
use super::proxy_header::read_proxy_header;
use super::service;
use super::state::HttpService;
use crate::limits::PoolClient;
use crate::model::{ClientNet, ConfigError};

/// Length of the queue of connections that wait to be accepted. A build farm opens many at the same
/// moment.
const BACKLOG: u32 = 4096;

/// Size of the write buffer from which on the server flushes. Chunks of bodies are larger, so that
/// the buffer of a connection never holds more than one chunk.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;

/// How long the client may take to close its half after the last response.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bound sockets. They are bound before anything else starts, so that an error is reported early.
pub struct Listeners {
    gateway: std::net::TcpListener,
    proxy: Option<std::net::TcpListener>,
}

impl Listeners {
    /// Binds the addresses `host:port` of both ports. If `proxy` is empty, there is no proxy port.
    ///
    /// # Errors
    /// A line that names the key and the address.
    pub async fn bind(gateway: &str, proxy: &str) -> Result<Self, ConfigError> {
        let bind_key = |key: &'static str, address: &str| {
            let address = address.to_owned();
            async move {
                listen(&address).await.map_err(|why| {
                    let advice = match why.kind() {
                        io::ErrorKind::AddrInUse => {
                            "; stop the program that listens there, or \
                             choose another address"
                        }
                        _ => "",
                    };
                    let text = format!("cannot listen on {address}: {why}{advice}");
                    ConfigError::new(key, text)
                })
            }
        };
        let gateway = bind_key("gateway.listen", gateway).await?;
        let proxy = match proxy {
            "" => None,
            address => Some(bind_key("proxy.listen", address).await?),
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
pub struct HttpServer {
    handle: ServerHandle,
    running: tokio::task::JoinHandle<io::Result<()>>,
}

impl HttpServer {
    /// Serves `service` at both ports. After [`HttpServer::stop`], open responses may go on for
    /// `grace`.
    ///
    /// # Errors
    /// The system's error, if a socket cannot be used.
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
            // Further connections wait in the backlog and take no descriptor.
            .max_concurrent_connections(service.admission.max_connections().div_ceil(workers));
        let stopping = builder.graceful_shutdown_signal();
        let gateway_address = listeners.gateway.local_addr()?;
        let gateway = (Port::Gateway, "gateway", Some(listeners.gateway));
        for (port, name, listener) in [gateway, (Port::Proxy, "proxy", listeners.proxy)] {
            let Some(listener) = listener else { continue };
            let address = listener.local_addr()?;
            let context = PortContext {
                port,
                gateway_address,
                service: Arc::clone(service),
                stopping: stopping.clone(),
            };
            builder =
                builder.listen(name, listener, move || connection_service(context.clone()))?;
            tracing::info!(endpoint = name, %address, "listening");
        }
        let server = builder.run();
        let handle = server.handle();
        Ok(Self {
            handle,
            running: tokio::spawn(server),
        })
    }

    /// Accepts no more connections, and waits for open responses at most for the grace period.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        match self.running.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "HTTP server ended with an error"),
            Err(error) => tracing::warn!(%error, "HTTP server task failed"),
        }
    }
}

/// State that the connections of one port share.
#[derive(Clone)]
struct PortContext {
    port: Port,
    /// Address of the gateway port.
    gateway_address: SocketAddr,
    service: Arc<HttpService>,
    stopping: GracefulShutdownSignal,
}

/// Returns the pipeline of a connection: the client's address, then its requests or its `CONNECT`.
fn connection_service(
    context: PortContext,
) -> impl ServiceFactory<TcpStream, Config = (), Error = DispatchError> {
    let for_connect = context.clone();
    let connect = fn_factory(move || {
        let context = for_connect.clone();
        async move {
            // No other CONNECT is inside, so the pipeline ends there.
            let requests = request_pipeline(&context, connect_service(&context, None));
            let inside: RequestPipeline = Rc::new(boxed::service(requests.new_service(()).await?));
            connect_service(&context, Some(inside))
                .new_service(())
                .await
        }
    });
    let requests = request_pipeline(&context, connect);
    fn_service(move |stream: TcpStream| accept_client(context.clone(), stream)).and_then(requests)
}

/// Returns the service of a connection whose request is a `CONNECT`.
fn connect_service(
    context: &PortContext,
    inside: Option<RequestPipeline>,
) -> impl ServiceFactory<
    (Request, Framed<ClientConnection, h1::Codec>),
    Config = (),
    Response = (),
    Error = actix_web::Error,
    InitError = (),
> + use<> {
    let routes = Rc::new(ConnectRoutes {
        port: context.port,
        service: Arc::clone(&context.service),
        inside,
    });
    fn_service(move |(request, framed)| {
        let routes = Rc::clone(&routes);
        // Each connection would have the size of this future, and few become tunnels.
        Box::pin(async move {
            connect::serve(request, framed, routes)
                .await
                .map_err(actix_web::Error::from)
        })
    })
}

/// Returns the pipeline of the requests of a connection. `connect` serves a `CONNECT`.
fn request_pipeline<U>(
    context: &PortContext,
    connect: U,
) -> impl ServiceFactory<
    (ClientConnection, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
> + use<U>
where
    U: ServiceFactory<
            (Request, Framed<ClientConnection, h1::Codec>),
            Config = (),
            Response = (),
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
{
    let port = context.port;
    let handler =
        web::to(move |request, payload, service| service::serve(port, request, payload, service));
    let app = App::new()
        .app_data(web::Data::from(Arc::clone(&context.service)))
        .default_service(handler);
    let app = app
        .into_factory()
        .map_err(|error: actix_web::Error| error.error_response());
    let stopping = context.stopping.clone();
    HttpPipeline::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        // `ClientConnection` bounds the idle time itself.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .h1_allow_half_closed(false)
        .on_connect_ext(|connection: &ClientConnection, data| drop(data.insert(connection.state())))
        .h1_write_buffer_size(WRITE_BUFFER_BYTES)
        .upgrade(connect)
        .h1(map_config(app, |()| AppConfig::default()))
}

/// Admits a connection and determines its client's address. Only a trusted proxy may state the
/// address in a PROXY header.
async fn accept_client(
    context: PortContext,
    mut stream: TcpStream,
) -> Result<(ClientConnection, Option<SocketAddr>), DispatchError> {
    let service = &context.service;
    let peer = stream.peer_addr().map_err(DispatchError::Io)?;
    let local = stream.local_addr().map_err(DispatchError::Io)?;
    let local_ip = local.ip().to_canonical();
    let listening = context.gateway_address.ip().to_canonical();
    // A gateway port that listens elsewhere only must not be reachable through the proxy port.
    let is_at_gateway = listening.is_unspecified() || listening == local_ip;
    let mut facts = ConnectionFacts {
        client: connection_client(service, peer.ip()),
        gateway: is_at_gateway.then(|| SocketAddr::new(local_ip, context.gateway_address.port())),
        connect: None,
        stopping: context.stopping.clone(),
    };
    // A failure costs only a little latency.
    stream.set_nodelay(true).ok();
    set_stall_timeout(&stream, service.settings.load().stall_timeout);
    let permit = service.admission.acquire_connection_permit(facts.client);
    if context.port == Port::Gateway || !service.proxy.proxy_protocol {
        let stream = ClientStream::Plain(stream);
        return Ok((ClientConnection::new(stream, permit, facts), Some(peer)));
    }
    if !service.settings.load().is_trusted_proxy(peer.ip()) {
        tracing::warn!(%peer, "closed a connection that is not from gateway.trusted_proxies");
        return Err(DispatchError::Io(io::ErrorKind::PermissionDenied.into()));
    }
    let header = tokio::select! {
        header = timeout(HEAD_TIMEOUT, read_proxy_header(&mut stream)) => header,
        // The library closes connections without a request at a stop, once it has them.
        () = context.stopping.notified() => {
            return Err(DispatchError::Io(io::ErrorKind::ConnectionAborted.into()));
        }
    };
    match header {
        Ok(Ok(client)) => {
            let client = client.unwrap_or(peer);
            drop(permit);
            facts.client = connection_client(service, client.ip());
            let permit = service.admission.acquire_connection_permit(facts.client);
            let connection = ClientConnection::new(ClientStream::Plain(stream), permit, facts);
            Ok((connection, Some(client)))
        }
        Ok(Err(error)) => {
            tracing::warn!(%peer, %error, "closed a connection without a valid PROXY header");
            Err(DispatchError::Io(io::ErrorKind::InvalidData.into()))
        }
        Err(_) => Err(DispatchError::Io(io::ErrorKind::TimedOut.into())),
    }
}

/// Returns the client that a connection counts for. A trusted proxy carries many clients.
fn connection_client(service: &HttpService, peer: IpAddr) -> PoolClient {
    if service.settings.load().is_trusted_proxy(peer) {
        PoolClient::Exempt(ClientNet::from_address(peer))
    } else {
        service.gateway.pool_client(peer)
    }
}

/// Makes the kernel close a connection whose peer acknowledges nothing for `timeout` (RFC 9293,
/// section 3.9.1.8).
///
/// The kernel opens its window again only when a part of its buffer is free. A peer that reads less
/// than that part within `timeout` therefore counts as one that does not read. With five minutes,
/// this is about 1 KiB a second.
fn set_stall_timeout(stream: &TcpStream, timeout: Duration) {
    let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds) {
        tracing::warn!(%error, "cannot set the stall timeout of a connection");
    }
}
