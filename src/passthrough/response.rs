//! Response that passes through, with its checks.

use std::collections::VecDeque;

use crate::limits::PassThroughPermit;
use crate::model::{
    ExpectedDigests, FileType, Hasher, HttpVersion, Size, Target, WrongFile, is_end_to_end_header,
};
use crate::origin::{Body, OriginError, ProtocolFault, ReceivedResponse};
use crate::policy::PolicyDenied;
use bytes::Bytes;

/// Response of an origin that passes through, within the size limit of policy.
#[derive(Debug)]
pub struct PassThroughResponse {
    pub status: u16,
    /// Version of the origin's response.
    pub version: HttpVersion,
    /// End-to-end header fields of the origin, without `Content-Length`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// In bytes. `None` if the origin did not state it.
    pub length: Option<u64>,
    /// Target of the last redirect, if the response is a web page from there that a client may
    /// request. The links of the page are relative to it.
    pub page_target: Option<Target>,
    error: OriginError,
    body: Body,
    /// Number of bytes that the body may still have.
    remaining_bytes: u64,
    limit: Size,
    check: Option<DigestCheck>,
    /// Chunks that were received to inspect them, and were not returned yet.
    buffered: VecDeque<Bytes>,
    /// Permits that this response holds until it is dropped.
    pub permit: Option<PassThroughPermit>,
}

/// Digest check of a body.
///
/// Each chunk is withheld until the next one is received. The last chunk is withheld until the
/// digest has matched, so a client never gets all of a wrong body.
#[derive(Debug)]
struct DigestCheck {
    expected: ExpectedDigests,
    hasher: Hasher,
    withheld: Bytes,
}

impl PassThroughResponse {
    /// Creates the response from that of the origin, of which the first chunks may have been
    /// received.
    pub(super) fn new(received: ReceivedResponse, limit: Size, expected: ExpectedDigests) -> Self {
        let ReceivedResponse { response, first } = received;
        let connection = response.list_header("connection");
        let headers = response
            .headers()
            .filter(|(name, _)| is_end_to_end_header(name, &connection))
            .map(|(name, value)| (name.to_owned(), value.to_vec()))
            .collect();
        Self {
            status: response.status(),
            version: response.version(),
            headers,
            length: response.length(),
            page_target: None,
            error: response.as_error(),
            body: response.into_body(),
            remaining_bytes: limit
                .bytes
                .saturating_sub(first.iter().map(size_bytes).sum()),
            limit,
            check: (!expected.is_empty()).then(|| DigestCheck {
                hasher: Hasher::new(&expected),
                expected,
                withheld: Bytes::new(),
            }),
            buffered: first.into(),
            permit: None,
        }
    }

    /// Returns the status as an error, for a caller that needs a body.
    #[must_use]
    pub fn as_error(&self) -> OriginError {
        self.error.clone()
    }

    /// Reads the first bytes and returns whether they match a file type. [`Self::next`] still
    /// returns them.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn check_file_type(
        &mut self,
        file_type: FileType,
    ) -> Result<Result<(), WrongFile>, OriginError> {
        let mut first = Vec::new();
        while first.len() < file_type.sniff_bytes() {
            let Some(bytes) = self.receive().await? else {
                break;
            };
            first.extend_from_slice(&bytes);
            self.buffered.push_back(bytes);
        }
        Ok(file_type.check(&first))
    }

    /// Buffers a body of unknown length to its end, and sets its length.
    ///
    /// Returns false if the body is longer than `limit_bytes`. It is unusable then.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn buffer_to_end(&mut self, limit_bytes: u64) -> Result<bool, OriginError> {
        let mut chunks = VecDeque::new();
        let mut size_bytes = 0;
        while let Some(bytes) = self.next().await? {
            size_bytes += bytes.len() as u64;
            if size_bytes > limit_bytes {
                return Ok(false);
            }
            chunks.push_back(bytes);
        }
        self.buffered = chunks;
        self.length = Some(size_bytes);
        Ok(true)
    }

    /// Receives the next bytes from the origin, and checks the size limit.
    async fn receive(&mut self) -> Result<Option<Bytes>, OriginError> {
        let chunk = self.body.next().await?;
        let size_bytes = chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.remaining_bytes = self
            .remaining_bytes
            .checked_sub(size_bytes)
            .ok_or(PolicyDenied::TooLarge(self.limit))?;
        Ok(chunk)
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    /// [`OriginError`] if the origin ends the body early or sends more bytes than policy allows.
    /// Also if the body does not match the expected digests.
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
            let previous = std::mem::replace(&mut check.withheld, bytes);
            if !previous.is_empty() {
                return Ok(Some(previous));
            }
        }
    }
}

fn size_bytes(chunk: &Bytes) -> u64 {
    chunk.len() as u64
}
