//! Errors of DNS updates.

use std::io;
use std::time::Duration;

use hickory_proto::ProtoError;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::tsig::TsigError;

/// Error returned when a DNS update fails. Every error is retried.
///
/// The variants differ in what an operator can do about them.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("DNS server unreachable: {0}")]
    Unreachable(#[from] io::Error),
    #[error("no DNS response within {0:?}")]
    Timeout(Duration),
    #[error("the DNS server returned {0:?}")]
    Refused(ResponseCode),
    /// The server does not have the key, or has a different one, or the clocks differ.
    #[error("the DNS server rejected the TSIG signature: {0:?}")]
    TsigRejected(TsigError),
    /// The response may come from another host.
    #[error("the DNS response is not signed with the TSIG key: {0}")]
    Unsigned(ProtoError),
    #[error("malformed DNS response: {0}")]
    MalformedResponse(#[from] ProtoError),
    #[error("the DNS response does not match the query")]
    IdMismatch,
    #[error("the DNS server is not authoritative for the zone")]
    NotPrimary,
    #[error("dns.name is an alias (CNAME) and cannot have addresses")]
    Alias,
    #[error("other updates changed the addresses during every attempt")]
    Contention,
}
