//! `CONNECT`: the client's bytes go to the origin unread.

use std::io::{self, Cursor};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use actix_codec::Framed;
use actix_http::{Request, h1};
use actix_web::http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::HttpService;
use super::access_log::RequestLog;
use super::connection::Connection;
use super::error_response::{proxy_status, retry_after_seconds, status_of};
use crate::gateway::{CacheStatus, Endpoint, RequestError, Tunnel, TunnelEnd};
use crate::limits::{TransferKind, TransferPermit};
use crate::model::{Target, sanitize_line};
use crate::policy::{AdmittedTunnel, Client};

/// Which port a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Gateway,
    Proxy,
}

/// Takes over a connection whose request asks for another protocol.
///
/// # Errors
/// Where the answer could not be written; the connection is closed then.
pub async fn serve(
    request: Request,
    framed: Framed<Connection, h1::Codec>,
    port: Port,
    service: Arc<HttpService>,
) -> io::Result<()> {
    let parts = framed.into_parts();
    let is_rejected = parts.io.state().is_rejected();
    // The connection's place is held as long as it is open.
    let (mut client, _connected, withheld) = parts.io.into_parts();
    let already_read = [&parts.read_buf[..], &withheld[..]].concat();
    let peer = request
        .head()
        .peer_addr
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
            peer.ip().to_canonical()
        });
    let authority = request
        .uri()
        .authority()
        .map_or_else(String::new, ToString::to_string);
    let log = RequestLog::begin(
        peer,
        "tunnel",
        request.method().as_str(),
        Target::redact(&authority),
    );
    let opened = match service.read_tunnel(&request, peer, port, &authority) {
        Ok(_) if is_rejected => Err(RequestError::Busy),
        Ok((admitted, client)) => open(&service, admitted, client).await,
        Err(error) => Err(error),
    };
    let OpenTunnel {
        tunnel,
        transfer_permit,
        _permits,
    } = match opened {
        Ok(opened) => opened,
        Err(error) => return refuse(&mut client, &error, &service.name, &log).await,
    };
    let name = &service.name;
    let head = format!(
        "HTTP/1.1 200 Connection established\r\nVia: 1.1 {name}\r\nCache-Status: {name}; fwd=bypass\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await?;
    log.answered(200);
    // What the client sent on without waiting for the 200 belongs to the tunnel.
    let (reader, writer) = client.into_split();
    let reader = Cursor::new(already_read).chain(reader);
    let report = tunnel
        .run(
            reader,
            writer,
            &transfer_permit,
            service.proxy.tunnel_idle_timeout.0,
        )
        .await;
    let completion = match report.end {
        TunnelEnd::Closed => "complete",
        TunnelEnd::Idle => "idle",
        TunnelEnd::Broken(_) => "aborted",
    };
    log.write(
        200,
        &CacheStatus::Bypass.to_string(),
        report.to_client_bytes,
        completion,
    );
    Ok(())
}

impl HttpService {
    fn read_tunnel(
        &self,
        request: &Request,
        peer: IpAddr,
        port: Port,
        authority: &str,
    ) -> Result<(AdmittedTunnel, Client), RequestError> {
        let client = self.gateway.admit_client(peer, TransferKind::Tunnel)?;
        if port == Port::Gateway {
            let text = "this port is no proxy: CONNECT belongs to the proxy port";
            return Err(RequestError::Misdirected(text.to_owned()));
        }
        if request.method() != Method::CONNECT {
            return Err(RequestError::BadRequest(
                "no other protocol is spoken here".to_owned(),
            ));
        }
        super::parse_request::reject_loop(&request.head().headers, &self.name)?;
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let target = Target::parse(&format!("https://{authority}/"))
            .ok()
            .filter(|_| has_port);
        let target =
            target.ok_or_else(|| RequestError::BadRequest("CONNECT takes host:port".to_owned()))?;
        Ok((self.gateway.admit_tunnel(target)?, client))
    }
}

/// A tunnel, and what counts it as long as it is open.
struct OpenTunnel {
    tunnel: Tunnel,
    transfer_permit: TransferPermit,
    /// Among what comes from upstream, and among all answers.
    _permits: [OwnedSemaphorePermit; 2],
}

async fn open(
    service: &HttpService,
    admitted: AdmittedTunnel,
    client: Client,
) -> Result<OpenTunnel, RequestError> {
    let transfer_permit = service
        .gateway
        .acquire_transfer_permit(client, TransferKind::Tunnel)?;
    let permits = [
        service.gateway.acquire_upstream_permit()?,
        service
            .admission
            .acquire_response_permit()
            .ok_or(RequestError::Busy)?,
    ];
    Ok(OpenTunnel {
        tunnel: service.gateway.open_tunnel(&admitted).await?,
        transfer_permit,
        _permits: permits,
    })
}

async fn refuse(
    client: &mut TcpStream,
    error: &RequestError,
    name: &str,
    log: &RequestLog,
) -> io::Result<()> {
    let error_status = status_of(error, Some(Endpoint::Proxy));
    let cache = CacheStatus::Error(error_status.detail).to_string();
    let body = format!("{}\n", sanitize_line(&error.to_string()));
    let reason = error_status.status.canonical_reason().unwrap_or_default();
    let proxy_status = proxy_status(error, error_status, name);
    let retry_after = retry_after_seconds(error, error_status.status);
    let retry_after =
        retry_after.map_or_else(String::new, |seconds| format!("Retry-After: {seconds}\r\n"));
    let answer = format!(
        "HTTP/1.1 {} {reason}\r\nVia: 1.1 {name}\r\nCache-Status: {name}; {cache}\r\nProxy-Status: {proxy_status}\r\n{retry_after}\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        error_status.status.as_u16(),
        body.len(),
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await?;
    log.write(
        error_status.status.as_u16(),
        &cache,
        body.len() as u64,
        "complete",
    );
    Ok(())
}
