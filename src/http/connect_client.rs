//! Client of a `CONNECT`, whose connection the HTTP library has given up.
//!
//! The main type is [`ConnectClient`].

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::access_log::RequestLog;
use super::connection::ConnectionFacts;
use crate::limits::Admission;

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
