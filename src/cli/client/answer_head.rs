//! The head of a response for a file: which bytes follow, and what they are said to be.
//!
//! This file must not know what was asked for. Its main type is [`AnswerHead`].

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderName};
use reqwest::{Response, StatusCode};

use crate::model::Sha256;

/// RFC 9530, section 3.
const REPR_DIGEST: &str = "repr-digest";

/// RFC 9211, section 2.
const CACHE_STATUS: &str = "cache-status";

/// Statements of a response about the whole file.
#[derive(Debug, Clone)]
pub struct AnswerHead {
    pub repr_sha256: Option<Sha256>,
    /// The entity tag with its quotes, if it is strong (RFC 9110, section 8.8.1).
    pub etag: Option<String>,
    pub route: Route,
}

/// Way of a response to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The bytes are stored, or will be.
    Cache,
    /// Nothing of the response is stored (RFC 9211, section 2.2).
    PastCache,
}

impl AnswerHead {
    #[must_use]
    pub fn of(response: &Response) -> Self {
        let etag = text_of(response, &ETAG);
        let etag = etag.filter(|etag| etag.starts_with('"') && etag.ends_with('"'));
        let mut statuses = values(response, CACHE_STATUS).flat_map(|value| value.split([';', ',']));
        Self {
            repr_sha256: values(response, REPR_DIGEST).find_map(Sha256::from_repr_digest),
            etag: etag.map(str::to_owned),
            route: if statuses.any(|parameter| parameter.trim() == "fwd=bypass") {
                Route::PastCache
            } else {
                Route::Cache
            },
        }
    }
}

/// Part of the file that a response carries (RFC 9110, sections 14.4 and 15.3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarriedPart {
    Whole,
    /// The bytes from `first` to before `end`.
    Range {
        first: u64,
        end: u64,
        size_bytes: u64,
    },
    /// No byte, since the file ends before the first requested one.
    Nothing {
        size_bytes: u64,
    },
    /// Bytes whose place in the file is not stated.
    Unknown,
}

impl CarriedPart {
    #[must_use]
    pub fn of(response: &Response) -> Self {
        let range = text_of(response, &CONTENT_RANGE);
        let stated = match response.status() {
            StatusCode::PARTIAL_CONTENT => range.and_then(Self::from_range),
            StatusCode::RANGE_NOT_SATISFIABLE => range.and_then(Self::from_unsatisfied),
            _ => Some(Self::Whole),
        };
        stated.unwrap_or(Self::Unknown)
    }

    fn from_range(text: &str) -> Option<Self> {
        let (range, size_bytes) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let size_bytes = size_bytes.parse().ok()?;
        let is_valid = first <= last && last < size_bytes;
        is_valid.then_some(Self::Range {
            first,
            end: last + 1,
            size_bytes,
        })
    }

    fn from_unsatisfied(text: &str) -> Option<Self> {
        let size_bytes = text.strip_prefix("bytes */")?.parse().ok()?;
        Some(Self::Nothing { size_bytes })
    }

    /// Whether the part begins at byte `offset`, or the file ends there.
    #[must_use]
    pub fn begins_at(self, offset: u64) -> bool {
        match self {
            Self::Whole => offset == 0,
            Self::Range { first, .. } => first == offset,
            Self::Nothing { size_bytes } => size_bytes == offset,
            Self::Unknown => false,
        }
    }
}

fn text_of<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn values<'a>(response: &'a Response, name: &'static str) -> impl Iterator<Item = &'a str> {
    let values = response.headers().get_all(name).into_iter();
    values.filter_map(|value| value.to_str().ok())
}
