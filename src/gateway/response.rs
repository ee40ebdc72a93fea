//! What the request path decides, for the HTTP room to render.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::OwnedSemaphorePermit;

use super::{RequestError, Selection};
use crate::cache::{BucketStream, FileHit, ObjectHandle};
use crate::fetch::{BodyReader, Head};
use crate::model::{Record, Sha256, StoredHeaders, Target};
use crate::passthrough::PassThroughResponse;

#[derive(Debug)]
pub enum CacheResponse {
    /// Bytes that are stored, or about to be.
    Body(Box<BodyResponse>),
    /// 302 to the origin.
    Redirect(Target),
    /// 302 to the bucket, which has it.
    BucketRedirect {
        location: String,
    },
    /// The origin's own answer, of which nothing is kept.
    PassThrough(Box<PassThroughResponse>),
    Error(RequestError),
}

#[derive(Debug)]
pub struct BodyResponse {
    pub representation: Representation,
    pub selection: Selection,
    pub source: BodySource,
    pub status: CacheStatus,
}

/// Where the bytes come from.
#[derive(Debug)]
pub enum BodySource {
    DiskFile(FileHit),
    /// Opened already.
    Bucket(Box<BucketStream>),
    /// The answer shows none.
    Empty,
    InFlight {
        reader: BodyReader,
        head: Arc<Head>,
        /// Among the answers that come from upstream.
        permit: OwnedSemaphorePermit,
    },
    /// Stored bytes that were asked for by their digest.
    Object(ObjectHandle),
    /// Our own nginx sends the file that it knows by this name, and applies the range.
    Offloaded {
        location: String,
    },
}

/// What is said about the bytes besides themselves.
#[derive(Debug, Clone)]
pub struct Representation {
    /// In bytes. Unknown only while a body of unknown length is coming.
    pub length: Option<u64>,
    /// Unknown while the body is coming: then there is no validator but the date.
    pub sha256: Option<Sha256>,
    pub headers: StoredHeaders,
}

impl Representation {
    #[must_use]
    pub fn of_record(record: &Record) -> Self {
        Self {
            length: Some(record.size_bytes),
            sha256: Some(record.sha256),
            headers: record.headers.clone(),
        }
    }

    #[must_use]
    pub fn of_head(head: &Head) -> Self {
        Self {
            length: head.length,
            sha256: None,
            headers: head.headers.clone(),
        }
    }

    #[must_use]
    pub fn etag(&self) -> Option<String> {
        Some(self.sha256?.etag())
    }

    #[must_use]
    pub fn modified_at(&self) -> Option<SystemTime> {
        self.headers.modified_at()
    }
}

/// How the cache took part, as `Cache-Status` says it behind our name (RFC 9211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    Hit,
    BucketHit,
    Miss {
        collapsed: bool,
    },
    Bypass,
    Redirect,
    /// No content was to be had; the word says why.
    Error(&'static str),
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit => f.write_str("hit; detail=disk"),
            Self::BucketHit => f.write_str("hit; detail=bucket"),
            Self::Miss { collapsed: false } => f.write_str("fwd=uri-miss; stored"),
            Self::Miss { collapsed: true } => f.write_str("fwd=uri-miss; stored; collapsed"),
            Self::Bypass => f.write_str("fwd=bypass"),
            Self::Redirect => f.write_str("detail=redirect"),
            Self::Error(word) => write!(f, "detail={word}"),
        }
    }
}
