//! Requested range of a file, and the head of the response to it.

use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue,
    LAST_MODIFIED,
};

use super::control::FileMetadata;
use crate::model::{ByteRange, HttpVersion, RangeSpec, Selected};
use crate::origin::request::{Method, OVERLAP_BYTES, OriginRequest};
use crate::origin::response::ResponseHead;
use crate::origin::validator::Validator;

/// Minimum age of a file whose size and date are its validator. FTP dates have whole seconds, so a
/// younger file may still change without a new date.
const MIN_AGE: Duration = Duration::from_mins(1);

/// Range of a file to transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedRange {
    Whole,
    /// The rest from this offset, which is [`OVERLAP_BYTES`] before the end of the received bytes.
    Rest(u64),
    Part(ByteRange),
    /// The range is behind the end of the file.
    Unsatisfiable,
}

impl RequestedRange {
    /// Selects the range of a request. If a resume is not possible, it is the whole file.
    pub fn select(
        request: &OriginRequest,
        metadata: &FileMetadata,
        validator: Option<&Validator>,
    ) -> Self {
        let Some(size_bytes) = metadata.size_bytes else {
            return Self::Whole;
        };
        if let Some(resume) = &request.resume {
            let offset = resume.offset.saturating_sub(OVERLAP_BYTES);
            let is_same = validator == Some(&resume.validator) && resume.offset < size_bytes;
            return if is_same && offset > 0 {
                Self::Rest(offset)
            } else {
                Self::Whole
            };
        }
        // The validator in a client's If-Range cannot match, because clients never get one for ftp.
        let range = request
            .header("range")
            .filter(|_| request.method == Method::Get && request.header("if-range").is_none());
        match range
            .and_then(RangeSpec::parse)
            .map(|range| range.select(size_bytes))
        {
            None => Self::Whole,
            Some(Selected::Part(part)) => Self::Part(part),
            Some(Selected::Unsatisfiable) => Self::Unsatisfiable,
        }
    }

    pub fn offset(self) -> u64 {
        match self {
            Self::Whole | Self::Unsatisfiable => 0,
            Self::Rest(offset) => offset,
            Self::Part(part) => part.first,
        }
    }

    /// Returns the number of bytes in this range of a file of `size_bytes`.
    pub fn length_bytes(self, size_bytes: u64) -> u64 {
        match self {
            Self::Whole => size_bytes,
            Self::Rest(offset) => size_bytes - offset,
            Self::Part(part) => part.size_bytes(),
            Self::Unsatisfiable => 0,
        }
    }

    /// Returns the value of `Content-Range` for a file of `size_bytes` (RFC 9110, section 14.4).
    fn content_range(self, size_bytes: u64) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Rest(offset) => Some(format!("bytes {offset}-{}/{size_bytes}", size_bytes - 1)),
            Self::Part(part) => Some(format!("bytes {}-{}/{size_bytes}", part.first, part.last)),
            Self::Unsatisfiable => Some(format!("bytes */{size_bytes}")),
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::Whole => 200,
            Self::Rest(_) | Self::Part(_) => 206,
            Self::Unsatisfiable => 416,
        }
    }
}

/// Returns a validator made of size and date.
///
/// `None` if the file is so young that it may change without a new date. `Last-Modified` has the
/// same limit (RFC 9110, section 8.8.2.2).
pub fn validator(host: &str, metadata: &FileMetadata) -> Option<Validator> {
    let (size_bytes, modified) = (metadata.size_bytes?, metadata.modified?);
    let age = SystemTime::now().duration_since(modified).ok()?;
    let date = httpdate::fmt_http_date(modified);
    (age >= MIN_AGE).then(|| Validator::Tag(format!("\"ftp {host} {size_bytes} {date}\"")))
}

/// Builds the head of the response. Without a size, `range` is [`RequestedRange::Whole`].
pub fn response_head(
    range: RequestedRange,
    metadata: &FileMetadata,
    validator: Option<Validator>,
) -> ResponseHead {
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    if let Some(modified) = metadata.modified {
        let date = HeaderValue::try_from(httpdate::fmt_http_date(modified))
            .expect("a date is visible ASCII");
        headers.insert(LAST_MODIFIED, date);
    }
    if let Some(size_bytes) = metadata.size_bytes {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_LENGTH, range.length_bytes(size_bytes).into());
        if let Some(content_range) = range.content_range(size_bytes) {
            headers.insert(
                CONTENT_RANGE,
                HeaderValue::try_from(content_range).expect("numbers are visible ASCII"),
            );
        }
    }
    ResponseHead {
        status: range.status(),
        version: HttpVersion::Http11,
        headers,
        validator,
        overlap_bytes: match range {
            RequestedRange::Rest(_) => OVERLAP_BYTES,
            _ => 0,
        },
    }
}
