//! Client of a `CONNECT`, whose connection the HTTP library has given up.
//!
//! The main type is [`ConnectClient`].

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::access_log::RequestLog;
use super::connection::ConnectionFacts;
use super::response_facts::ResponseFacts;
use crate::gateway::RequestError;
use crate::limits::Admission;
use crate::metrics::{Outcome, TransferEnd};

/// Logged status if the connection has ended before a request inside. The response to the `CONNECT`
/// was 200.
pub const CLIENT_CLOSED: u16 = 499;

/// Connection after the head of its `CONNECT`.
pub struct ConnectClient {
    pub stream: TcpStream,
    /// Bytes that the client sent without waiting for the response.
    pub early: Vec<u8>,
    pub log: RequestLog,
    /// Held until the connection is closed.
    pub permit: Admission,
    pub facts: ConnectionFacts,
    pub peer: Option<SocketAddr>,
}

/// Logs a `CONNECT` that ends with the process, before the client has sent a request inside.
pub fn log_stop(log: &RequestLog) {
    log.set_error(RequestError::Stopping.to_string());
    let facts = ResponseFacts::without_response(Outcome::Abandoned);
    log.write(CLIENT_CLOSED, &facts, 0, TransferEnd::Aborted);
}
