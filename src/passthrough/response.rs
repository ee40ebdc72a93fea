//! One answer on its way through.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::model::{ExpectedDigests, FileType, Hasher, Size};
use crate::origin::{Body, OriginError, ProtocolFault, Response};
use crate::policy::PolicyDenied;

/// Header fields that concern one connection only (RFC 9110, section 7.6.1), and those that an
/// intermediary sets itself.
const NOT_FORWARDED: [&str; 15] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-real-ip",
];

/// Whether a header field goes on to the next hop. `connection` is the value of the message's own
/// `Connection` field, which may name more fields that end here.
#[must_use]
pub fn is_end_to_end_header(name: &str, connection: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !NOT_FORWARDED.contains(&name.as_str())
        // Marks that front servers obey: an origin must not set them through us, nor a client
        // behind our back.
        && !name.starts_with("x-accel-")
        && !name.starts_with("x-millpond-")
        && !connection.split(',').any(|named| named.trim().eq_ignore_ascii_case(&name))
}

#[derive(Debug)]
pub struct PassThroughResponse {
    pub status: u16,
    /// End-to-end header fields of the origin, without `Content-Length`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// In bytes, if the origin said so.
    pub length: Option<u64>,
    error: OriginError,
    body: Body,
    left_bytes: u64,
    limit: Size,
    check: Option<Check>,
    /// Pieces that were looked at already.
    buffered: VecDeque<Bytes>,
    /// What counts it as long as it is under way.
    pub permits: Option<[OwnedSemaphorePermit; 2]>,
}

/// Holds what passes against what is expected of it: nothing passes before the piece behind it has
/// come, so that a body that is wrong is never whole.
#[derive(Debug)]
struct Check {
    expected: ExpectedDigests,
    hasher: Hasher,
    withheld: Bytes,
}

impl PassThroughResponse {
    pub(super) fn new(response: Response, limit: Size, expected: ExpectedDigests) -> Self {
        let connection = response.list_header("connection");
        let headers = response
            .headers()
            .filter(|(name, _)| is_end_to_end_header(name, &connection))
            .map(|(name, value)| (name.to_owned(), value.to_vec()))
            .collect();
        Self {
            status: response.status(),
            headers,
            length: response.length(),
            error: response.as_error(),
            body: response.into_body(),
            left_bytes: limit.bytes,
            limit,
            check: (!expected.is_empty()).then(|| Check {
                hasher: Hasher::new(&expected),
                expected,
                withheld: Bytes::new(),
            }),
            buffered: VecDeque::new(),
            permits: None,
        }
    }

    /// This answer's status as an error, for those who wanted a body.
    #[must_use]
    pub fn as_error(&self) -> OriginError {
        self.error.clone()
    }

    /// Whether the first bytes can be what a name promises. They are looked at and stay.
    ///
    /// # Errors
    /// As [`Passed::next`].
    pub async fn matches_file_type(&mut self, kind: FileType) -> Result<bool, OriginError> {
        let mut first = Vec::new();
        while first.len() < kind.sniff_bytes() {
            let Some(bytes) = self.receive().await? else {
                break;
            };
            first.extend_from_slice(&bytes);
            self.buffered.push_back(bytes);
        }
        Ok(kind.matches(&first))
    }

    /// Holds a body of unknown length until its end, so that its length is known. False if it is
    /// longer than `limit_bytes`.
    ///
    /// # Errors
    /// As [`Passed::next`].
    pub async fn buffer_to_end(&mut self, limit_bytes: u64) -> Result<bool, OriginError> {
        let mut held = VecDeque::new();
        let mut size_bytes = 0;
        while let Some(bytes) = self.next().await? {
            size_bytes += bytes.len() as u64;
            if size_bytes > limit_bytes {
                return Ok(false);
            }
            held.push_back(bytes);
        }
        self.buffered = held;
        self.length = Some(size_bytes);
        Ok(true)
    }

    /// The next bytes from the origin.
    async fn receive(&mut self) -> Result<Option<Bytes>, OriginError> {
        let chunk = self.body.next().await?;
        let size_bytes = chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.left_bytes = self
            .left_bytes
            .checked_sub(size_bytes)
            .ok_or(PolicyDenied::TooLarge(self.limit))?;
        Ok(chunk)
    }

    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// [`OriginError`] where the origin breaks off, sends more than policy allows, or other bytes
    /// than expected.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        loop {
            let chunk = match self.buffered.pop_front() {
                Some(bytes) => Some(bytes),
                None => self.receive().await?,
            };
            let Some(check) = &mut self.check else {
                return Ok(chunk);
            };
            let Some(bytes) = chunk else {
                let Some(check) = self.check.take() else {
                    return Ok(None);
                };
                if check
                    .hasher
                    .finish()
                    .first_mismatch(&check.expected)
                    .is_some()
                {
                    return Err(ProtocolFault::DigestMismatch.into());
                }
                return Ok((!check.withheld.is_empty()).then_some(check.withheld));
            };
            check.hasher.update(&bytes);
            let passing = std::mem::replace(&mut check.withheld, bytes);
            if !passing.is_empty() {
                return Ok(Some(passing));
            }
        }
    }
}
