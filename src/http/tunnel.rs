//! `CONNECT`: a tunnel that carries the client's bytes to the origin unread.
//!
//! The main function is [`serve`].

use std::io::{self, Cursor};
use std::net::IpAddr;
use std::sync::Arc;

use actix_codec::Framed;
use actix_http::{Request, h1};
use actix_web::http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::access_log::RequestLog;
use super::client_info::{Port, canonical_address};
use super::connection::ClientConnection;
use super::error_response::{proxy_status, retry_after_seconds};
use super::error_status::status_of;
use super::parse_request::reject_loop;
use super::state::HttpService;
use crate::gateway::{CacheStatus, Endpoint, RequestError, Tunnel, TunnelEnd};
use crate::limits::{
    PendingTransfer, ResponsePermit, TransferKind, TransferPermit, UpstreamPermit,
};
use crate::model::{Target, sanitize_line};
use crate::policy::AdmittedTunnel;

/// Serves a connection whose request asks for a tunnel or another protocol.
///
/// # Errors
/// If the response cannot be written. The connection is closed then.
pub async fn serve(
    request: Request,
    framed: Framed<ClientConnection, h1::Codec>,
    port: Port,
    service: Arc<HttpService>,
) -> io::Result<()> {
    let parts = framed.into_parts();
    let is_rejected = parts.io.state().is_rejected();
    // The connection permit is held until the tunnel is closed.
    let (mut client, _connection_permit, buffered) = parts.io.into_parts();
    let already_read = [&parts.read_buf[..], &buffered[..]].concat();
    let peer = canonical_address(request.head().peer_addr);
    let authority = request
        .uri()
        .authority()
        .map_or_else(String::new, ToString::to_string);
    let log = RequestLog::begin(
        peer,
        "tunnel",
        request.method().as_str(),
        Target::redact(&authority).into(),
    );
    let opened = match admit(&service, &request, peer, port, &authority) {
        Ok(_) if is_rejected => Err(RequestError::Busy),
        Ok((admitted, transfer)) => open(&service, admitted, transfer).await,
        Err(error) => Err(error),
    };
    let name = service.name.as_str();
    let OpenTunnel {
        tunnel,
        transfer_permit,
        _upstream_permit,
        _response_permit,
    } = match opened {
        Ok(opened) => opened,
        Err(error) => return send_error(&mut client, &error, name, &log).await,
    };
    let cache_status = CacheStatus::Bypass;
    let head = format!(
        "HTTP/1.1 200 Connection established\r\n\
         Via: 1.1 {name}\r\n\
         Cache-Status: {name}; {cache_status}\r\n\
         \r\n"
    );
    client.write_all(head.as_bytes()).await?;
    log.set_status(200);
    // Bytes that the client sent without waiting for the 200 belong to the tunnel.
    let (reader, writer) = client.into_split();
    let reader = Cursor::new(already_read).chain(reader);
    let idle_timeout = service.proxy.tunnel_idle_timeout.0;
    let report = tunnel
        .run(reader, writer, &transfer_permit, idle_timeout)
        .await;
    let completion = match report.end {
        TunnelEnd::Closed => "complete",
        TunnelEnd::Idle => "idle",
        TunnelEnd::Broken(_) => "aborted",
    };
    log.write(200, Some(cache_status), report.to_client_bytes, completion);
    Ok(())
}

/// Checks whether the client may open a tunnel to `authority`.
fn admit(
    service: &HttpService,
    request: &Request,
    peer: IpAddr,
    port: Port,
    authority: &str,
) -> Result<(AdmittedTunnel, PendingTransfer), RequestError> {
    let transfer = service.gateway.admit_client(peer, TransferKind::Tunnel)?;
    if port == Port::Gateway {
        let text = "this port is no proxy: CONNECT belongs to the proxy port";
        return Err(RequestError::Misdirected(text.to_owned()));
    }
    if request.method() != Method::CONNECT {
        let text = "a protocol upgrade is not supported";
        return Err(RequestError::BadRequest(text.to_owned()));
    }
    reject_loop(&request.head().headers, service.name.as_str())?;
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let target = Target::parse(&format!("https://{authority}/"))
        .ok()
        .filter(|_| has_port)
        .ok_or_else(|| RequestError::BadRequest("CONNECT takes host:port".to_owned()))?;
    Ok((service.gateway.admit_tunnel(target)?, transfer))
}

/// A tunnel with the permits that it holds while it is open.
struct OpenTunnel {
    tunnel: Tunnel,
    transfer_permit: TransferPermit,
    _upstream_permit: UpstreamPermit,
    _response_permit: ResponsePermit,
}

async fn open(
    service: &HttpService,
    admitted: AdmittedTunnel,
    transfer: PendingTransfer,
) -> Result<OpenTunnel, RequestError> {
    let transfer_permit = transfer.begin()?;
    let upstream_permit = service.gateway.acquire_upstream_permit()?;
    let response_permit = service
        .admission
        .acquire_response_permit()
        .ok_or(RequestError::Busy)?;
    Ok(OpenTunnel {
        tunnel: service.gateway.open_tunnel(&admitted).await?,
        transfer_permit,
        _upstream_permit: upstream_permit,
        _response_permit: response_permit,
    })
}

/// Sends an error response and closes the connection for writing. `name` is the name of this node.
async fn send_error(
    client: &mut TcpStream,
    error: &RequestError,
    name: &str,
    log: &RequestLog,
) -> io::Result<()> {
    let error_status = status_of(error, Endpoint::Proxy);
    let status = error_status.status.as_u16();
    let cache_status = CacheStatus::Error(error_status.detail);
    let body = format!("{}\n", sanitize_line(&error.to_string()));
    let reason = error_status.reason;
    let proxy_status = proxy_status(error, error_status, name);
    let retry_after = retry_after_seconds(error, error_status.status)
        .map_or_else(String::new, |seconds| format!("Retry-After: {seconds}\r\n"));
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status} {reason}\r\n\
         Via: 1.1 {name}\r\n\
         Cache-Status: {name}; {cache_status}\r\n\
         Proxy-Status: {proxy_status}\r\n\
         {retry_after}\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\n\
         Connection: close\r\n\
         \r\n\
         {body}"
    );
    client.write_all(response.as_bytes()).await?;
    client.shutdown().await?;
    log.write(status, Some(cache_status), length as u64, "complete");
    Ok(())
}
