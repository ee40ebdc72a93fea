//! What the request path decides, for the HTTP room to render.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::OwnedSemaphorePermit;

use super::{Problem, Selection};
use crate::cache::{BucketStream, FileHit, ObjectHandle};
use crate::fetch::{Follower, Head};
use crate::model::{KeptHeaders, Record, Sha256, Target};
use crate::relay::Passed;

#[derive(Debug)]
pub enum Answer {
    /// Bytes that are stored, or about to be.
    Content(Box<Content>),
    /// 302 to the origin.
    Redirect(Target),
    /// 302 to the bucket, which has it.
    ToBucket {
        location: String,
    },
    /// The origin's own answer, of which nothing is kept.
    Passed(Box<Passed>),
    Problem(Problem),
}

#[derive(Debug)]
pub struct Content {
    pub representation: Representation,
    pub selection: Selection,
    pub source: Source,
    pub status: CacheStatus,
}

/// Where the bytes come from.
#[derive(Debug)]
pub enum Source {
    Hit(FileHit),
    /// Opened already.
    Bucket(Box<BucketStream>),
    /// The answer shows none.
    Nothing,
    Flight {
        follower: Follower,
        head: Arc<Head>,
        /// Among the answers that come from upstream.
        place: OwnedSemaphorePermit,
    },
    /// Stored bytes that were asked for by their digest.
    Object(ObjectHandle),
    /// Our own nginx sends the file that it knows by this name, and applies the range.
    ByNginx {
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
    pub headers: KeptHeaders,
}

impl Representation {
    #[must_use]
    pub fn of_record(record: &Record) -> Self {
        Self { length: Some(record.size_bytes), sha256: Some(record.sha256), headers: record.headers.clone() }
    }

    #[must_use]
    pub fn of_head(head: &Head) -> Self {
        Self { length: head.length, sha256: None, headers: head.headers.clone() }
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
    Problem(&'static str),
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
            Self::Problem(word) => write!(f, "detail={word}"),
        }
    }
}
