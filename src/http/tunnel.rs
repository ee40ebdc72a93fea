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

use super::Doors;
use super::connection::Connection;
use super::log::RequestLog;
use super::problem::{judge, proxy_status, retry_after_seconds};
use crate::gateway::{CacheStatus, Door, Problem, Tunnel, TunnelEnd};
use crate::model::{Target, one_line};
use crate::policy::{AdmittedTunnel, Client, Transfer, Use};

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
    doors: Arc<Doors>,
) -> io::Result<()> {
    let parts = framed.into_parts();
    let is_turned_away = parts.io.line().is_turned_away();
    // The connection's place is held as long as it is open.
    let (mut client, _connected, withheld) = parts.io.into_parts();
    let already_read = [&parts.read_buf[..], &withheld[..]].concat();
    let peer = request.head().peer_addr.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
    let authority = request.uri().authority().map_or_else(String::new, ToString::to_string);
    let log = RequestLog::begin(peer, "tunnel", request.method().as_str(), Target::redact(&authority));
    let opened = match doors.read_tunnel(&request, peer, port, &authority) {
        Ok(_) if is_turned_away => Err(Problem::Busy),
        Ok((admitted, client)) => open(&doors, admitted, client).await,
        Err(problem) => Err(problem),
    };
    let Opened { tunnel, transfer, _places } = match opened {
        Ok(opened) => opened,
        Err(problem) => return refuse(&mut client, &problem, &doors.name, &log).await,
    };
    let name = &doors.name;
    let head =
        format!("HTTP/1.1 200 Connection established\r\nVia: 1.1 {name}\r\nCache-Status: {name}; fwd=bypass\r\n\r\n");
    client.write_all(head.as_bytes()).await?;
    log.answered(200);
    // What the client sent on without waiting for the 200 belongs to the tunnel.
    let (reader, writer) = client.into_split();
    let reader = Cursor::new(already_read).chain(reader);
    let report = tunnel.run(reader, writer, &transfer, doors.proxy.tunnel_idle_timeout.0).await;
    let ended = match report.end {
        TunnelEnd::Closed => "whole",
        TunnelEnd::Idle => "idle",
        TunnelEnd::Broken(_) => "cut",
    };
    log.write(200, &CacheStatus::Bypass.to_string(), report.to_client_bytes, ended);
    Ok(())
}

impl Doors {
    fn read_tunnel(
        &self,
        request: &Request,
        peer: IpAddr,
        port: Port,
        authority: &str,
    ) -> Result<(AdmittedTunnel, Client), Problem> {
        let client = self.gateway.admit_client(peer, Use::Tunnel)?;
        if port == Port::Gateway {
            let text = "this port is no proxy: CONNECT belongs to the proxy port";
            return Err(Problem::Misdirected(text.to_owned()));
        }
        if request.method() != Method::CONNECT {
            return Err(Problem::BadRequest("no other protocol is spoken here".to_owned()));
        }
        super::read::refuse_loop(&request.head().headers, &self.name)?;
        let has_port =
            authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let target = Target::parse(&format!("https://{authority}/")).ok().filter(|_| has_port);
        let target = target.ok_or_else(|| Problem::BadRequest("CONNECT takes host:port".to_owned()))?;
        Ok((self.gateway.admit_tunnel(target)?, client))
    }
}

/// A tunnel, and what counts it as long as it is open.
struct Opened {
    tunnel: Tunnel,
    transfer: Transfer,
    /// Among what comes from upstream, and among all answers.
    _places: [OwnedSemaphorePermit; 2],
}

async fn open(doors: &Doors, admitted: AdmittedTunnel, client: Client) -> Result<Opened, Problem> {
    let transfer = doors.gateway.begin(client, Use::Tunnel)?;
    let places = [doors.gateway.begin_upstream()?, doors.crowd.begin_answer().ok_or(Problem::Busy)?];
    Ok(Opened { tunnel: doors.gateway.open_tunnel(&admitted).await?, transfer, _places: places })
}

async fn refuse(client: &mut TcpStream, problem: &Problem, name: &str, log: &RequestLog) -> io::Result<()> {
    let verdict = judge(problem, Some(Door::Proxy));
    let cache = CacheStatus::Problem(verdict.detail).to_string();
    let body = format!("{}\n", one_line(&problem.to_string()));
    let reason = verdict.status.canonical_reason().unwrap_or_default();
    let proxy_status = proxy_status(problem, verdict, name);
    let retry_after = retry_after_seconds(problem, verdict.status);
    let retry_after = retry_after.map_or_else(String::new, |seconds| format!("Retry-After: {seconds}\r\n"));
    let answer = format!(
        "HTTP/1.1 {} {reason}\r\nVia: 1.1 {name}\r\nCache-Status: {name}; {cache}\r\nProxy-Status: {proxy_status}\r\n{retry_after}\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        verdict.status.as_u16(),
        body.len(),
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await?;
    log.write(verdict.status.as_u16(), &cache, body.len() as u64, "whole");
    Ok(())
}
