//! Facts about a response that the access log and the metrics record.
//!
//! This file must not know how a response is rendered. The main type is [`ResponseFacts`].

use crate::gateway::{CacheStatus, OriginError, RequestError, Selection};
use crate::metrics::{ByteSource, Delivery, Outcome, TargetClass};
use crate::model::ByteRange;
use crate::policy::Class;

/// Facts about a response.
#[derive(Debug, Clone, Copy)]
pub struct ResponseFacts {
    /// `None` for the built-in pages and the API, which use no cache.
    pub cache_status: Option<CacheStatus>,
    pub outcome: Outcome,
    pub class: TargetClass,
    pub sender: BodySender,
    pub extent: BodyExtent,
    source: ByteSource,
}

/// The process that sends the body to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySender {
    Millpond,
    /// nginx sends the file that `X-Accel-Redirect` names, or this part of it.
    Nginx {
        body_bytes: u64,
    },
}

/// Part of the file that a response has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyExtent {
    Whole,
    /// A range, or nothing.
    Part,
}

impl BodyExtent {
    /// Returns the extent of a selection from a file of `length` bytes.
    pub fn of(selection: Selection, length: Option<u64>) -> Self {
        match selection {
            Selection::Whole => Self::Whole,
            // Some clients ask for all bytes by a range.
            Selection::Part(ByteRange { first: 0, last }) if length == Some(last + 1) => {
                Self::Whole
            }
            Selection::Part(_)
            | Selection::NotModified
            | Selection::PreconditionFailed
            | Selection::Unsatisfiable => Self::Part,
        }
    }
}

impl ResponseFacts {
    /// Facts about a response of the cache. Millpond sends its body.
    pub fn of(cache_status: CacheStatus) -> Self {
        let (outcome, source) = match cache_status {
            CacheStatus::BucketHit => (Outcome::Hit, ByteSource::Bucket),
            CacheStatus::Reused { ttl_seconds: ..=0 } => (Outcome::Stale, ByteSource::Disk),
            CacheStatus::Hit | CacheStatus::Reused { .. } => (Outcome::Hit, ByteSource::Disk),
            CacheStatus::Validated => (Outcome::Revalidated, ByteSource::Disk),
            CacheStatus::Miss { collapsed: true }
            | CacheStatus::Stored {
                collapsed: true, ..
            } => (Outcome::Collapsed, ByteSource::SharedFetch),
            CacheStatus::Miss { .. } | CacheStatus::Stored { .. } => {
                (Outcome::Miss, ByteSource::OwnFetch)
            }
            CacheStatus::Bypass => (Outcome::Passed, ByteSource::Origin),
            CacheStatus::Redirect => (Outcome::Redirect, ByteSource::Own),
            CacheStatus::Error(_) => (Outcome::Error, ByteSource::Own),
        };
        Self {
            cache_status: Some(cache_status),
            outcome,
            class: TargetClass::None,
            sender: BodySender::Millpond,
            extent: BodyExtent::Whole,
            source,
        }
    }

    /// Facts about a response that Millpond makes itself.
    pub fn own() -> Self {
        Self {
            cache_status: None,
            outcome: Outcome::Own,
            class: TargetClass::None,
            sender: BodySender::Millpond,
            extent: BodyExtent::Whole,
            source: ByteSource::Own,
        }
    }

    /// Facts about a `CONNECT` whose bytes are carried unread.
    pub fn tunnel() -> Self {
        Self {
            source: ByteSource::Tunnel,
            ..Self::of(CacheStatus::Bypass)
        }
    }

    /// Facts about a request without a response that Millpond knows of.
    pub fn without_response(outcome: Outcome) -> Self {
        Self {
            outcome,
            ..Self::own()
        }
    }

    pub fn with_class(self, class: Class) -> Self {
        let class = match class {
            Class::Immutable => TargetClass::Immutable,
            Class::Revalidate => TargetClass::Revalidate,
            Class::PassThrough => TargetClass::Pass,
        };
        Self { class, ..self }
    }

    pub fn with_extent(self, extent: BodyExtent) -> Self {
        Self { extent, ..self }
    }

    pub fn with_sender(self, sender: BodySender) -> Self {
        Self { sender, ..self }
    }

    /// Returns the source of the bytes that the client gets.
    pub fn source(&self) -> ByteSource {
        match self.sender {
            BodySender::Nginx { .. } => ByteSource::Nginx,
            BodySender::Millpond => self.source,
        }
    }

    /// Returns what a response to GET with this status counts as.
    pub fn delivery(&self, status: u16) -> Delivery {
        let is_file = match self.outcome {
            // A 302 leads to the bucket, which sends the bytes.
            Outcome::Hit if self.cache_status == Some(CacheStatus::BucketHit) => {
                matches!(status, 200 | 206 | 302)
            }
            Outcome::Hit
            | Outcome::Stale
            | Outcome::Revalidated
            | Outcome::Collapsed
            | Outcome::Miss
            | Outcome::Passed => matches!(status, 200 | 203 | 206 | 226),
            Outcome::Redirect => true,
            Outcome::Own
            | Outcome::Refused
            | Outcome::Limited
            | Outcome::Error
            | Outcome::Abandoned => false,
        };
        if is_file && self.extent == BodyExtent::Whole {
            Delivery::Download
        } else {
            Delivery::Other
        }
    }
}

/// Returns the outcome of a request that ends with an error.
pub fn outcome_of_error(error: &RequestError) -> Outcome {
    match error {
        RequestError::OverLimit(_) | RequestError::TooManyWrongLogins | RequestError::Busy => {
            Outcome::Limited
        }
        RequestError::PrefixedUrl(_)
        | RequestError::Denied(_)
        | RequestError::UnlistedClient(_)
        | RequestError::LoginRequired
        | RequestError::WrongLogin
        | RequestError::UnaskedLoginRequired
        | RequestError::PeerRefused(_)
        | RequestError::Origin(OriginError::Denied(_))
        | RequestError::BadRequest(_)
        | RequestError::HeadTooLarge(_)
        | RequestError::TargetTooLong(_)
        | RequestError::ExpectationFailed
        | RequestError::MethodNotSupported(_)
        | RequestError::ReadOnlyRegistry
        | RequestError::UnknownMethod(_)
        | RequestError::OtherProtocol
        | RequestError::Misdirected(_)
        | RequestError::NotFound(_)
        | RequestError::PrivateImage
        | RequestError::LoopDetected(_)
        | RequestError::PiecesPending
        | RequestError::OnlyIfCachedMiss => Outcome::Refused,
        RequestError::Origin(_)
        | RequestError::Mismatch { .. }
        | RequestError::WrongFileType(_)
        | RequestError::UnreadableIndex(_)
        | RequestError::RegistryLimit(_)
        | RequestError::RegistryFault(_)
        | RequestError::SilentRegistry
        | RequestError::DeadlineExceeded
        | RequestError::Stopping
        | RequestError::Unavailable => Outcome::Error,
    }
}
