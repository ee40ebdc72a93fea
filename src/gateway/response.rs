//! Responses of the request path. The HTTP module renders them.

use std::fmt;
use std::sync::Arc;

use super::preconditions::Selection;
use super::representation::Representation;
use crate::cache::{BucketStream, FileHit, ObjectHandle, VerifyingReader};
use crate::fetch::{BodyReader, Head};
use crate::limits::{TransferPermit, UpstreamPermit};
use crate::model::Target;
use crate::passthrough::PassThroughResponse;
use crate::policy::Class;

/// Response to a [`super::CacheRequest`].
#[derive(Debug)]
pub enum CacheResponse {
    /// Bytes that are stored, or will be stored by a fetch.
    Body(Box<BodyResponse>),
    /// 302 to the origin.
    Redirect(Target),
    /// 302 to the URL of this gateway for a target, which is a web page.
    PageRedirect(Target),
    /// 302 to the bucket.
    BucketRedirect { location: String },
    /// Response of the origin. Nothing of it is stored.
    PassThrough(Box<PassThroughResponse>),
}

/// Response that counts as a transfer of its client.
#[derive(Debug)]
pub struct ClientDownload {
    pub response: CacheResponse,
    /// Cacheability class of the request.
    pub class: Class,
    pub permit: TransferPermit,
}

/// Response with a body from the cache or from an in-flight fetch.
#[derive(Debug)]
pub struct BodyResponse {
    pub representation: Representation,
    pub selection: Selection,
    pub source: BodySource,
    pub status: CacheStatus,
}

/// Source of the bytes of a response.
#[derive(Debug)]
pub enum BodySource {
    DiskFile(FileHit),
    /// Whole object that is hashed while it is sent.
    Verifying(Box<VerifyingReader>),
    /// Open stream from the bucket, for exactly the selected bytes.
    Bucket(Box<BucketStream>),
    /// The response has no body.
    Empty,
    InFlight {
        reader: BodyReader,
        head: Arc<Head>,
        permit: UpstreamPermit,
    },
    /// Stored bytes that were requested by digest.
    Object(ObjectHandle),
    /// nginx sends the file with this internal URI, and applies the range.
    Offloaded {
        location: String,
    },
}

/// Cache status of a response, which `Display` formats for `Cache-Status` (RFC 9211) without the
/// cache's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    Hit,
    BucketHit,
    Miss {
        /// The request joined the fetch of another one.
        collapsed: bool,
    },
    /// A response of class `revalidate` answers without a request to the origin. The freshness left
    /// is in seconds. It is zero or negative if the response is stale.
    Reused {
        ttl_seconds: i64,
    },
    /// The origin said that the stored response of class `revalidate` is valid.
    Validated,
    /// A response of class `revalidate` is being stored.
    Stored {
        forwarded: ForwardReason,
        collapsed: bool,
    },
    Bypass,
    Redirect,
    /// The response is an error. The word is its `detail`.
    Error(&'static str),
}

/// Reason for which a request for a target of class `revalidate` went to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardReason {
    NothingStored,
    Stale,
}

impl fmt::Display for ForwardReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingStored => "uri-miss",
            Self::Stale => "stale",
        })
    }
}

impl CacheStatus {
    /// Whether stored bytes answer, perhaps after a validation.
    #[must_use]
    pub fn is_hit(self) -> bool {
        matches!(
            self,
            Self::Hit | Self::BucketHit | Self::Reused { .. } | Self::Validated
        )
    }

    /// Returns the status for the log at the end of a response. It does not say `stored`, because
    /// only the end of the fetch decides about that.
    #[must_use]
    pub fn outcome(&self) -> String {
        self.to_string().replace("; stored", "")
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit => f.write_str("hit; detail=disk"),
            Self::BucketHit => f.write_str("hit; detail=bucket"),
            Self::Miss { collapsed: false } => f.write_str("fwd=uri-miss; stored"),
            Self::Miss { collapsed: true } => f.write_str("fwd=uri-miss; stored; collapsed"),
            Self::Reused { ttl_seconds } if *ttl_seconds <= 0 => {
                write!(f, "hit; detail=stale; ttl={ttl_seconds}; class=revalidate")
            }
            Self::Reused { ttl_seconds } => {
                write!(f, "hit; detail=disk; ttl={ttl_seconds}; class=revalidate")
            }
            Self::Validated => f.write_str("fwd=stale; fwd-status=304; class=revalidate"),
            Self::Stored {
                forwarded,
                collapsed,
            } => {
                let collapsed = if *collapsed { "; collapsed" } else { "" };
                write!(f, "fwd={forwarded}; stored{collapsed}; class=revalidate")
            }
            Self::Bypass => f.write_str("fwd=bypass"),
            Self::Redirect => f.write_str("detail=redirect"),
            Self::Error(word) => write!(f, "detail={word}"),
        }
    }
}
