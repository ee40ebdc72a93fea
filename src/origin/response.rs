//! Response of an origin, in the terms of HTTP for every scheme.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, LOCATION, TRANSFER_ENCODING,
    WWW_AUTHENTICATE,
};

use super::body::Body;
use super::error::OriginError;
use super::validator::{Validator, Validity};
use crate::metrics::HostCounts;
use crate::model::{Attachment, HttpVersion, StoredHeaders, Target};

/// Maximum wait that `Retry-After` can ask for. A longer one is shortened to it.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// Bound on the challenges of a 401. Errors are kept for later requests.
const MAX_CHALLENGE_BYTES: usize = 4 << 10;

#[derive(Debug)]
pub struct Response {
    head: ResponseHead,
    /// Scheme and host of the last hop.
    source: String,
    /// Target of the last redirect that led to this response.
    redirected_to: Option<Target>,
    body: Body,
}

/// Status and header fields of a response.
#[derive(Debug)]
pub struct ResponseHead {
    pub status: u16,
    pub version: HttpVersion,
    pub headers: HeaderMap,
    /// See [`Response::validator`]. `None` if the header fields have the validator.
    pub validator: Option<Validator>,
    /// See [`Response::overlap_bytes`].
    pub overlap_bytes: u64,
}

/// A response of which the first chunks of the body were received.
#[derive(Debug)]
pub struct ReceivedResponse {
    pub response: Response,
    /// The chunks that came first, in order.
    pub first: Vec<Bytes>,
}

impl From<Response> for ReceivedResponse {
    fn from(response: Response) -> Self {
        let first = Vec::new();
        Self { response, first }
    }
}

impl Response {
    pub(super) fn new(head: ResponseHead, body: Body, hop: &Target) -> Self {
        Self {
            head,
            source: hop.site(),
            redirected_to: None,
            body,
        }
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status
    }

    #[must_use]
    pub fn version(&self) -> HttpVersion {
        self.head.version
    }

    /// Records the target of the last redirect that led to this response.
    pub(super) fn with_redirect(self, redirected_to: Option<Target>) -> Self {
        Self {
            redirected_to,
            ..self
        }
    }

    /// Counts the bytes of the body that arrive.
    pub(super) fn counting_body(self, counts: Arc<HostCounts>) -> Self {
        Self {
            body: self.body.counting(counts),
            ..self
        }
    }

    /// Turns a 206 with the whole body into a 200. Only a request without `Range` gets that.
    ///
    /// Some servers answer every request with 206, and clients accept it.
    pub(super) fn into_complete(mut self) -> Self {
        let Some((0, complete)) = self.content_range(None).filter(|_| self.status() == 206) else {
            return self;
        };
        if self.length().is_some_and(|length| length != complete) {
            return self;
        }
        self.head.status = 200;
        let headers = &mut self.head.headers;
        headers.remove(CONTENT_RANGE);
        // The body must have the length that the range stated.
        headers.remove(TRANSFER_ENCODING);
        headers.insert(CONTENT_LENGTH, complete.into());
        self
    }

    /// Returns the `Location` of a redirect (RFC 9110, section 15.4), or `None` if this is none.
    ///
    /// Old servers send names in the encoding of their disk. Bytes that are no UTF-8 are
    /// percent-encoded, and the next request has the same bytes. A backslash behind such a byte is
    /// the second byte of a character in GBK, Big5 or Shift JIS.
    pub(super) fn location(&self) -> Option<String> {
        if !matches!(self.head.status, 300 | 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let location = self.head.headers.get(LOCATION)?.as_bytes();
        Some(match std::str::from_utf8(location) {
            Ok(text) => text.to_owned(),
            Err(_) => encode_non_ascii(location),
        })
    }

    /// Returns the validator of the body, if there is one.
    ///
    /// A [`super::Resume`] with this validator requests the rest of the same body (RFC 9110,
    /// section 8.8.1).
    #[must_use]
    pub fn validator(&self) -> Option<Validator> {
        let stated = self.head.validator.clone();
        stated.or_else(|| Validator::from_fields(self.stored_headers(), self.header("date")))
    }

    /// Returns the validator of the body with another entity tag than the stated one.
    #[must_use]
    pub fn validator_with_tag(&self, tag: Option<&str>) -> Option<Validator> {
        let headers = StoredHeaders {
            etag: tag.map(str::to_owned),
            ..self.stored_headers()
        };
        Validator::from_fields(headers, self.header("date"))
    }

    /// Compares the validator of received bytes with this later response.
    #[must_use]
    pub fn compare_validator(&self, received: &Validator) -> Validity {
        match &self.head.validator {
            Some(own) if own == received => Validity::Same,
            Some(_) => Validity::Other,
            None => received.compare_fields(&self.stored_headers()),
        }
    }

    /// Returns how many bytes before the offset of the [`super::Resume`] the body begins.
    #[must_use]
    pub fn overlap_bytes(&self) -> u64 {
        self.head.overlap_bytes
    }

    /// Returns scheme and host of the origin that sent this response, as `scheme://host`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns whether the response came after a redirect.
    #[must_use]
    pub fn is_redirected(&self) -> bool {
        self.redirected_to.is_some()
    }

    /// Returns the target of the last redirect that led to this response.
    #[must_use]
    pub fn redirected_to(&self) -> Option<&Target> {
        self.redirected_to.as_ref()
    }

    /// Returns whether the media type is that of a web page.
    #[must_use]
    pub fn is_page(&self) -> bool {
        self.header("content-type").is_some_and(is_page_type)
    }

    pub(super) fn all_headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Returns the first header field with this name, if it is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// Returns all values of a list header field, joined by commas. Empty if there is none.
    #[must_use]
    pub fn list_header(&self, name: &str) -> String {
        let values = self.head.headers.get_all(name).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Returns all header fields as received.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// Returns the fields that are stored with the body.
    #[must_use]
    pub fn stored_headers(&self) -> StoredHeaders {
        StoredHeaders::collect(|name| self.header(name)).with_attachment(self.attachment())
    }

    /// Returns the file name that the origin states, or else that of the last redirect.
    #[must_use]
    pub fn attachment(&self) -> Option<Attachment> {
        let stated = self.head.headers.get(CONTENT_DISPOSITION);
        let stated = stated.and_then(|value| Attachment::from_header(value.as_bytes()));
        stated.or_else(|| {
            let last = Attachment::from_path(self.redirected_to.as_ref()?.path());
            last.filter(Attachment::has_suffix)
        })
    }

    /// Returns `Content-Length` in bytes. A transfer coding overrides it (RFC 9112, section 6.3).
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        if self.header("transfer-encoding").is_some() {
            return None;
        }
        self.header("content-length")?.parse().ok()
    }

    /// Returns whether only the end of the connection marks the end of the body (RFC 9112, section
    /// 6.3). An ftp server marks the end with its final reply.
    #[must_use]
    pub fn ends_with_connection(&self) -> bool {
        self.body.is_http()
            && self.header("transfer-encoding").is_none()
            && self.header("content-length").is_none()
    }

    /// Returns the offset of the first byte of a 206 and the complete length (RFC 9110, section
    /// 14.4). `known_bytes` stands for an unstated complete length.
    ///
    /// `None` if either is unknown, or if the range does not extend to the end of the body.
    #[must_use]
    pub fn content_range(&self, known_bytes: Option<u64>) -> Option<(u64, u64)> {
        let (range, complete) = self.parse_content_range()?;
        let complete = complete.or(known_bytes)?;
        (range.end == complete).then_some((range.start, complete))
    }

    /// Returns the range of a 206 and the complete length, both in bytes (RFC 9110, section 14.4).
    /// `None` if either is not stated.
    #[must_use]
    pub fn stated_range(&self) -> Option<(Range<u64>, u64)> {
        let (range, complete) = self.parse_content_range()?;
        Some((range, complete?))
    }

    /// Returns the range, and the complete length unless it is `*`.
    fn parse_content_range(&self) -> Option<(Range<u64>, Option<u64>)> {
        let (unit, range) = self.header("content-range")?.trim().split_once(' ')?;
        let (range, complete) = range.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let range = first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?;
        let complete = match complete {
            "*" => None,
            complete => Some(complete.parse().ok()?),
        };
        unit.eq_ignore_ascii_case("bytes")
            .then_some((range, complete))
    }

    /// Returns the status as an error, for a caller that needs a body.
    #[must_use]
    pub fn as_error(&self) -> OriginError {
        OriginError::Status {
            status: self.status(),
            retry_after: self.retry_after(),
            challenge: self.challenge(),
        }
    }

    /// Returns the challenges of a 401, one a line. A challenge after a redirect is not that of the
    /// target.
    fn challenge(&self) -> Option<Arc<str>> {
        if self.status() != 401 || self.is_redirected() {
            return None;
        }
        let values = self.head.headers.get_all(WWW_AUTHENTICATE);
        let lines: Vec<_> = values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let lines = lines.join("\n");
        (1..=MAX_CHALLENGE_BYTES)
            .contains(&lines.len())
            .then(|| lines.into())
    }

    /// Returns `Retry-After` (RFC 9110, section 10.2.3), at most [`MAX_RETRY_AFTER`].
    fn retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?;
        let wait = match value.trim().parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => httpdate::parse_http_date(value)
                .ok()?
                .duration_since(SystemTime::now())
                .ok()?,
        };
        Some(wait.min(MAX_RETRY_AFTER))
    }

    /// Receives the next chunk of the body, or `None` at its end.
    ///
    /// # Errors
    /// [`OriginError`] if the body ends early.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, OriginError> {
        self.body.next().await
    }

    #[must_use]
    pub fn into_body(self) -> Body {
        self.body
    }
}

/// Returns whether a media type is that of a web page.
#[must_use]
pub fn is_page_type(content_type: &str) -> bool {
    let content_type = content_type.trim_start().to_ascii_lowercase();
    content_type.starts_with("text/html") || content_type.starts_with("application/xhtml")
}

/// Percent-encodes all bytes that are not ASCII.
fn encode_non_ascii(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut previous = 0;
    for byte in bytes {
        let is_second_byte = *byte == b'\\' && !u8::is_ascii(&previous);
        previous = *byte;
        if byte.is_ascii() && !is_second_byte {
            text.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
