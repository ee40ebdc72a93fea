//! One range of a body: its request, the check of its response, and its bytes until those before
//! them have arrived. The main type is [`RangePiece`].

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tokio::sync::SemaphorePermit;

use crate::origin::{Method, OriginRequest, Response, Validator, Validity};

/// Number of bytes before a range that are requested with it. They are compared with those of the
/// piece before, because some origins count ranges wrongly.
pub const SEAM_BYTES: usize = 4 * 1024;

/// Error returned when a response has more bytes than the range that it states.
#[derive(Debug)]
pub struct PieceTooLong;

/// Range of a body, and its bytes that were received and not taken yet.
pub struct RangePiece<'a> {
    pub range: Range<u64>,
    /// Last bytes of the piece before, as this range has them. `None` once they are compared.
    seam: Option<BytesMut>,
    chunks: VecDeque<Bytes>,
    received: u64,
    is_answered: bool,
    /// Place in the memory of all pieces. A piece that is read at once needs none.
    _place: Option<SemaphorePermit<'a>>,
}

impl<'a> RangePiece<'a> {
    /// Returns an empty piece, with its place in the memory of all pieces.
    pub fn new(range: Range<u64>, place: Option<SemaphorePermit<'a>>) -> Self {
        Self {
            range,
            seam: Some(BytesMut::new()),
            chunks: VecDeque::new(),
            received: 0,
            is_answered: false,
            _place: place,
        }
    }

    /// Notes that the origin has answered with this range.
    pub fn mark_answered(&mut self) {
        self.is_answered = true;
    }

    /// Returns whether the origin has answered with this range.
    pub fn is_answered(&self) -> bool {
        self.is_answered
    }

    fn size_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub fn is_complete(&self) -> bool {
        self.received == self.size_bytes()
    }

    /// Adds received bytes.
    ///
    /// # Errors
    /// [`PieceTooLong`] if there are more than the range has.
    pub fn push(&mut self, mut bytes: Bytes) -> Result<(), PieceTooLong> {
        if let Some(seam) = &mut self.seam {
            let missing = seam_bytes(self.range.start) - seam.len();
            seam.extend_from_slice(&bytes.split_to(missing.min(bytes.len())));
        }
        self.received += bytes.len() as u64;
        if self.received > self.size_bytes() {
            return Err(PieceTooLong);
        }
        if !bytes.is_empty() {
            self.chunks.push_back(bytes);
        }
        Ok(())
    }

    /// Takes the next bytes.
    pub fn pop(&mut self) -> Option<Bytes> {
        self.chunks.pop_front()
    }

    /// Returns whether this piece continues a body that ends in `tail`. Called before its first
    /// bytes are taken.
    pub fn continues(&mut self, tail: &[u8]) -> bool {
        self.seam.take().is_none_or(|seam| seam == tail)
    }

    /// Returns the request for the range and its seam.
    pub fn request(&self, validator: &Validator, digest_expected: bool) -> OriginRequest {
        let (first, last) = (first_requested(&self.range), self.range.end - 1);
        let mut headers = vec![("range".to_owned(), format!("bytes={first}-{last}").into())];
        if let Some(validator) = validator.if_range() {
            headers.push(("if-range".to_owned(), validator.into()));
        }
        OriginRequest {
            headers,
            digest_expected,
            ..OriginRequest::new(Method::Get)
        }
    }
}

/// Returns whether a response is exactly the requested range of the same body.
pub fn is_answered_by(
    range: &Range<u64>,
    complete_bytes: u64,
    validator: &Validator,
    response: &Response,
) -> bool {
    let requested = first_requested(range)..range.end;
    let size_bytes = requested.end - requested.start;
    response.status() == 206
        && response.stated_range() == Some((requested, complete_bytes))
        && response.length().is_none_or(|length| length == size_bytes)
        && response.header("content-encoding").is_none()
        && response.compare_validator(validator) == Validity::Same
}

fn first_requested(range: &Range<u64>) -> u64 {
    range.start.saturating_sub(SEAM_BYTES as u64)
}

fn seam_bytes(start: u64) -> usize {
    usize::try_from(start).map_or(SEAM_BYTES, |start| start.min(SEAM_BYTES))
}
