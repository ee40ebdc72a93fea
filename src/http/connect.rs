//! `CONNECT`: decides between a tunnel and plain HTTP, which is read like the requests of the proxy
//! port.
//!
//! A tunnel carries the client's bytes to the origin unread ([`super::tunnel`]). If `policy.ports`
//! allows the port for http, an HTTP request inside goes through the same request path as one in
//! absolute form. The main function is [`serve`].

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use actix_codec::Framed;
use actix_http::{Request, h1};
use actix_web::http::header::PROXY_AUTHORIZATION;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::access_log::RequestLog;
use super::client_info::{Port, canonical_address, is_own_authority};
use super::connect_client::{ConnectClient, log_stop};
use super::connect_intercepted;
use super::connect_response::{accept, send_error, write_error};
use super::connect_routes::{ConnectRoutes, run_inside};
use super::connection::{
    ClientConnection, ClientStream, ConnectionFacts, EnclosingConnect, HEAD_TIMEOUT, InnerTransport,
};
use super::first_bytes::{FirstBytes, TLS_ACCESS_DENIED};
use super::login;
use super::parse_request::reject_loop;
use super::peer_link;
use super::response_facts::ResponseFacts;
use super::tunnel::{OpenTunnel, open_tunnel, relay, run_tunnel};
use crate::gateway::RequestError;
use crate::limits::{PendingTransfer, TransferKind};
use crate::metrics::{Outcome, RequestEndpoint, TransferEnd};
use crate::model::Target;
use crate::policy::AdmittedConnect;

/// Text of the error of a `CONNECT` inside another one.
const NESTED: &str = "a CONNECT cannot be inside another CONNECT";

/// Serves a connection whose request is a `CONNECT`.
///
/// # Errors
/// If the response cannot be written. The connection is closed then.
pub async fn serve(
    request: Request,
    framed: Framed<ClientConnection, h1::Codec>,
    routes: Rc<ConnectRoutes>,
) -> io::Result<()> {
    let parts = framed.into_parts();
    let is_rejected = parts.io.state().is_rejected();
    let facts = parts.io.state().facts().clone();
    let (stream, permit, buffered) = parts.io.into_parts();
    let authority = request
        .uri()
        .authority()
        .map_or_else(String::new, ToString::to_string);
    let peer = request.head().peer_addr;
    let log = routes.service.begin_log(
        canonical_address(peer),
        RequestEndpoint::Tunnel,
        request.method().as_str(),
        Target::redact(&authority).into(),
    );
    let stream = match stream {
        ClientStream::Plain(stream) => stream,
        ClientStream::Tls(stream) => return reject_nested(*stream, log, peer, &routes).await,
    };
    let client = ConnectClient {
        stream,
        early: [&parts.read_buf[..], &buffered[..]].concat(),
        log,
        permit,
        facts: ConnectionFacts {
            connect: Some(EnclosingConnect {
                authority,
                transport: InnerTransport::Plain,
            }),
            ..facts
        },
        peer,
    };
    if peer_link::is_link(&request, &routes) {
        return peer_link::serve(&request, client, &routes).await;
    }
    match admit(&routes, &request, &client).await {
        Ok(_) if is_rejected => reject(client, &RequestError::Busy, &routes).await,
        Ok((admitted, transfer)) => serve_admitted(client, admitted, transfer, &routes).await,
        Err(error) => reject(client, &error, &routes).await,
    }
}

/// Serves the connection as policy admits it.
async fn serve_admitted(
    client: ConnectClient,
    admitted: AdmittedConnect,
    transfer: PendingTransfer,
    routes: &ConnectRoutes,
) -> io::Result<()> {
    let service = &routes.service;
    let pool_client = client.facts.client;
    match admitted {
        AdmittedConnect::PlainHttp => serve_http(client, routes).await,
        AdmittedConnect::Https { host } => {
            let Some(interceptor) = &service.interceptor else {
                return Ok(());
            };
            connect_intercepted::serve(client, &host, interceptor, routes).await
        }
        AdmittedConnect::Tunnel(target) => {
            match open_tunnel(service, &target, pool_client, transfer).await {
                Ok(opened) => run_tunnel(client, opened, service).await,
                Err(error) => reject(client, &error, routes).await,
            }
        }
        AdmittedConnect::TunnelOrHttp(target) => {
            match open_tunnel(service, &target, pool_client, transfer).await {
                Ok(opened) => serve_either(client, opened, routes).await,
                Err(error) => reject(client, &error, routes).await,
            }
        }
    }
}

async fn reject(
    mut client: ConnectClient,
    error: &RequestError,
    routes: &ConnectRoutes,
) -> io::Result<()> {
    send_error(&mut client, error, routes.service.name.as_str()).await
}

/// Rejects a `CONNECT` inside an intercepted one.
async fn reject_nested(
    mut stream: TlsStream<TcpStream>,
    mut log: RequestLog,
    peer: Option<SocketAddr>,
    routes: &ConnectRoutes,
) -> io::Result<()> {
    log.mark_intercepted();
    let service = &routes.service;
    let admitted = service
        .gateway
        .admit_client(canonical_address(peer), TransferKind::Tunnel);
    let nested = RequestError::BadRequest(NESTED.to_owned());
    let error = admitted.err().unwrap_or(nested);
    write_error(&mut stream, &log, &error, service.name.as_str()).await
}

/// Checks what the client may send through the `CONNECT`.
async fn admit(
    routes: &ConnectRoutes,
    request: &Request,
    client: &ConnectClient,
) -> Result<(AdmittedConnect, PendingTransfer), RequestError> {
    let (service, address) = (&routes.service, canonical_address(client.peer));
    let transfer = service
        .gateway
        .admit_client(address, TransferKind::Tunnel)?;
    if routes.port == Port::Gateway {
        let text = "this port is no proxy: CONNECT belongs to the proxy port";
        return Err(RequestError::Misdirected(text.to_owned()));
    }
    if routes.inside.is_none() {
        return Err(RequestError::BadRequest(NESTED.to_owned()));
    }
    let headers = &request.head().headers;
    login::check(service, address, headers, &[PROXY_AUTHORIZATION]).await?;
    reject_loop(headers, service.name.as_str())?;
    let connect = client.facts.connect.as_ref();
    let authority = connect.map_or("", |connect| &connect.authority);
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let target = Target::parse(&format!("https://{authority}/"))
        .ok()
        .filter(|_| has_port)
        .ok_or_else(|| RequestError::BadRequest("CONNECT takes host:port".to_owned()))?;
    if is_own_authority(authority, &service.settings.load(), client.facts.gateway) {
        return Ok((AdmittedConnect::PlainHttp, transfer));
    }
    let interceptor = service.interceptor.as_ref();
    let is_intercepted = interceptor.is_some_and(|own| own.is_intercepted(target.host()));
    let admitted = if is_intercepted {
        service.gateway.admit_intercepted_connect(target, address)?
    } else {
        service.gateway.admit_connect(target, address)?
    };
    Ok((admitted, transfer))
}

/// Serves a connection on which the client or the server may speak first, in any protocol.
async fn serve_either(
    mut client: ConnectClient,
    opened: OpenTunnel,
    routes: &ConnectRoutes,
) -> io::Result<()> {
    accept(&mut client.stream, routes.service.name.as_str()).await?;
    client.log.set_status(200);
    // One deadline for all first bytes. A client that sends one at a time must not extend it.
    let deadline = Instant::now() + routes.service.proxy.tunnel_idle_timeout.0.min(HEAD_TIMEOUT);
    let found = loop {
        match FirstBytes::classify(&client.early) {
            FirstBytes::Undecided => {}
            found => break found,
        }
        let mut byte = [0];
        tokio::select! {
            () = opened.tunnel.readable() => break FirstBytes::Other,
            read = client.stream.read(&mut byte) => match read? {
                0 => break FirstBytes::Other,
                _ => client.early.extend_from_slice(&byte),
            },
            () = sleep_until(deadline) => break FirstBytes::Other,
            () = client.facts.stopping.notified() => {
                log_stop(&client.log);
                return Ok(());
            }
        }
    };
    if found == FirstBytes::Http {
        drop(opened);
        return serve_requests(client, routes).await;
    }
    relay(client, opened, &routes.service).await;
    Ok(())
}

/// Serves a connection that carries plain HTTP, and nothing else.
async fn serve_http(mut client: ConnectClient, routes: &ConnectRoutes) -> io::Result<()> {
    accept(&mut client.stream, routes.service.name.as_str()).await?;
    client.log.set_status(200);
    if client.early.is_empty() {
        let mut first = [0];
        let peeked = tokio::select! {
            peeked = timeout(HEAD_TIMEOUT, client.stream.peek(&mut first)) => Some(peeked),
            () = client.facts.stopping.notified() => None,
        };
        client.early.extend_from_slice(match peeked {
            Some(Ok(Ok(1))) if FirstBytes::classify(&first) == FirstBytes::Tls => &first[..],
            _ => &[],
        });
    }
    if FirstBytes::classify(&client.early) == FirstBytes::Tls {
        // A plain response would look like a broken handshake.
        client.log.set_error(
            "the client speaks TLS, and policy.connect_ports does not allow the port".to_owned(),
        );
        let facts = ResponseFacts::without_response(Outcome::Refused);
        client.log.write(403, &facts, 0, TransferEnd::Complete);
        client.stream.write_all(&TLS_ACCESS_DENIED).await?;
        return client.stream.shutdown().await;
    }
    serve_requests(client, routes).await
}

/// Serves the requests inside the `CONNECT` like those of the proxy port.
async fn serve_requests(client: ConnectClient, routes: &ConnectRoutes) -> io::Result<()> {
    // The requests inside are counted as those of the proxy endpoint.
    let facts = ResponseFacts::own();
    client.log.write(200, &facts, 0, TransferEnd::Complete);
    let stream = ClientStream::Plain(client.stream);
    let connection =
        ClientConnection::new(stream, client.permit, client.facts).with_early(&client.early);
    run_inside(connection, client.peer, routes).await;
    Ok(())
}
