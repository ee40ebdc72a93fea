//! Responses to `CONNECT`, which the HTTP library does not write.
//!
//! The main functions are [`accept`] and [`send_error`].

use std::io;
use std::time::SystemTime;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::access_log::RequestLog;
use super::connect_client::ConnectClient;
use super::error_response::{challenge, proxy_status, retry_after_seconds};
use super::error_status::status_of;
use super::response_facts::{ResponseFacts, outcome_of_error};
use crate::gateway::{CacheStatus, Endpoint, RequestError};
use crate::metrics::TransferEnd;
use crate::model::sanitize_line;

/// Sends the response after which the connection carries the client's bytes. `name` is the name of
/// this node.
///
/// # Errors
/// If the response cannot be written.
pub async fn accept(stream: &mut TcpStream, name: &str) -> io::Result<()> {
    let cache_status = CacheStatus::Bypass;
    let head = format!(
        "HTTP/1.1 200 Connection established\r\n\
         Via: 1.1 {name}\r\n\
         Cache-Status: {name}; {cache_status}\r\n\
         \r\n"
    );
    stream.write_all(head.as_bytes()).await
}

/// Sends an error response to a client, see [`write_error`].
///
/// # Errors
/// If the response cannot be written.
pub async fn send_error(
    client: &mut ConnectClient,
    error: &RequestError,
    name: &str,
) -> io::Result<()> {
    write_error(&mut client.stream, &client.log, error, name).await
}

/// Sends an error response and closes the connection for writing. `name` is the name of this node.
///
/// # Errors
/// If the response cannot be written.
pub async fn write_error(
    stream: &mut (impl AsyncWrite + Unpin),
    log: &RequestLog,
    error: &RequestError,
    name: &str,
) -> io::Result<()> {
    let error_status = status_of(error, Endpoint::Proxy);
    let (status, reason) = (error_status.status.as_u16(), error_status.reason);
    let cache_status = CacheStatus::Error(error_status.detail);
    let body = format!("{}\n", sanitize_line(&error.to_string()));
    let proxy_status = proxy_status(error, error_status, name);
    let retry_after = retry_after_seconds(error, error_status.status)
        .map_or_else(String::new, |seconds| format!("Retry-After: {seconds}\r\n"));
    let challenge = challenge(error_status.status)
        .map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
    let date = httpdate::fmt_http_date(SystemTime::now());
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status} {reason}\r\n\
         Date: {date}\r\n\
         Via: 1.1 {name}\r\n\
         Cache-Status: {name}; {cache_status}\r\n\
         Proxy-Status: {proxy_status}\r\n\
         {retry_after}\
         {challenge}\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\n\
         Connection: close\r\n\
         \r\n\
         {body}"
    );
    log.set_error(error.to_string());
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await?;
    let mut facts = ResponseFacts::of(cache_status);
    facts.outcome = outcome_of_error(error);
    log.write(status, &facts, length as u64, TransferEnd::Complete);
    Ok(())
}
