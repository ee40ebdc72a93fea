//! Reasons why policy denies a request.

use std::net::IpAddr;

use crate::model::{Digest, FtpFileError, HumanDuration, Scheme, Size};

/// Error returned when policy denies a request. The text names the configuration key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyDenied {
    #[error("client address {0} is not allowed (policy.allow_clients)")]
    Client(IpAddr),
    #[error("host {0} is denied (policy.deny_hosts)")]
    DeniedHost(String),
    #[error("host {0} is not allowed (policy.allow_hosts)")]
    UnlistedHost(String),
    #[error("names that end in {0} are denied (policy.deny_suffixes)")]
    DeniedSuffix(String),
    #[error("only certain file suffixes are allowed (policy.allow_suffixes)")]
    UnlistedSuffix,
    #[error("port {1} is not allowed for {0} (policy.ports)")]
    Port(Scheme, u16),
    #[error("tunnels to port {0} are not allowed (policy.connect_ports)")]
    ConnectPort(u16),
    #[error("the address of {0} is private or reserved (policy.allow_networks)")]
    Address(String),
    #[error("content type {0} is denied (policy.deny_content_types)")]
    ContentType(String),
    #[error("the body is larger than policy.max_object_size, {0}")]
    TooLarge(Size),
    #[error(
        "a redirect from https to another scheme is only followed if the request has an expected \
         digest"
    )]
    Downgrade,
    #[error("the file is younger than {0} by its Last-Modified (rules.min_age)")]
    TooYoung(HumanDuration),
    #[error("the repository is not allowed (allow and deny of its registry)")]
    Repository,
    #[error("{0} is denied (policy.deny_digests)")]
    Digest(Digest),
    #[error("the tag, or its last change, is younger than {0} (min_age of its registry)")]
    YoungTag(HumanDuration),
    /// The target holds bytes that needed credentials of Millpond.
    #[error("this URL is reserved for content that needed credentials of the gateway")]
    PrivateTarget,
    #[error("unsupported ftp URL: {0}")]
    FtpFile(FtpFileError),
}
