//! Validators of received bytes: what shows that the rest of a body belongs to the same version.
//!
//! This file must not know requests or connections. The main type is [`Validator`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::StoredHeaders;

/// Minimum age of a `Last-Modified` at its `Date`. A younger file may still change without a new
/// date (RFC 9110, section 8.8.2.2).
const MIN_AGE: Duration = Duration::from_mins(1);

/// Validator of the bytes of one response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Validator {
    /// Strong entity tag (RFC 9110, section 8.8.3).
    Tag(String),
    /// Date of a file that was at least a minute old.
    Dated {
        /// `Last-Modified` as received.
        modified: String,
        /// `ETag` as received. It is weak or invalid.
        tag: Option<String>,
    },
}

/// Result of comparing a later response with a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// The response states the same validator.
    Same,
    /// The response states nothing that differs, and omits the date.
    Unstated,
    Other,
}

impl Validator {
    /// Returns the validator of a response from its fields. `date` is its `Date`.
    pub(super) fn from_fields(headers: StoredHeaders, date: Option<&str>) -> Option<Self> {
        if let Some(tag) = headers.etag.as_ref().filter(|tag| tag.starts_with('"')) {
            return Some(Self::Tag(tag.clone()));
        }
        let sent_at = httpdate::parse_http_date(date?).ok()?;
        let age = sent_at.duration_since(headers.modified_at()?).ok()?;
        (age >= MIN_AGE).then_some(Self::Dated {
            modified: headers.last_modified?,
            tag: headers.etag,
        })
    }

    /// Returns the value of `If-Range`. A client that has a weak entity tag must not send the date
    /// (RFC 9110, section 13.1.5).
    #[must_use]
    pub fn if_range(&self) -> Option<&str> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Dated { tag: Some(tag), .. } if tag.starts_with("W/") => None,
            Self::Dated { modified, .. } => Some(modified),
        }
    }

    /// Compares this validator with the fields of a later response.
    pub(super) fn compare_fields(&self, headers: &StoredHeaders) -> Validity {
        let (stated_date, stated_tag) = (&headers.last_modified, &headers.etag);
        match self {
            Self::Tag(own) if stated_tag.as_ref() == Some(own) => Validity::Same,
            Self::Tag(_) => Validity::Other,
            Self::Dated { tag, .. } if stated_tag.is_some() && stated_tag != tag => Validity::Other,
            Self::Dated { modified, .. } => match stated_date {
                None => Validity::Unstated,
                Some(stated) if stated == modified => Validity::Same,
                Some(_) => Validity::Other,
            },
        }
    }
}
