use std::io;
use std::time::Duration;

use hickory_proto::ProtoError;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::tsig::TsigError;

/// Why the name does not stand as it should. All of it is tried again; they differ in what an operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    #[error("it did not answer in {0:?}")]
    Slow(Duration),
    #[error("it says {0:?}")]
    Refused(ResponseCode),
    /// The key is unknown to it or another, or the clocks differ.
    #[error("it refuses our signature: {0:?}")]
    Key(TsigError),
    /// So it may come from anybody.
    #[error("its answer is not signed with the key: {0}")]
    Unsigned(ProtoError),
    #[error("its answer is none: {0}")]
    Malformed(#[from] ProtoError),
    #[error("its answer is to another question")]
    Foreign,
    #[error("it is no server of the zone")]
    NotPrimary,
    #[error("the name is an alias, which can have no addresses")]
    Alias,
    #[error("the name's addresses changed each time that we looked")]
    Restless,
}
