//! Passes the bytes of one request at a time from the client to the HTTP library.
//!
//! The main type is [`RequestGate`]. It reads no socket and knows no deadlines.

use bytes::BytesMut;
use tokio::io::ReadBuf;

use crate::http::framing_error::FramingError;
use crate::http::request_head::HeadNotes;
use crate::http::request_scanner::RequestScanner;

/// Bound on buffered bytes of later requests; the rest waits in the kernel. Millpond reads ahead
/// because it shows that a client has disconnected.
const READ_AHEAD_BYTES: usize = 8 * 1024;

/// The request that the HTTP library gets in place of a malformed one. Its response is always an
/// error.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// Bytes that are invalid in a chunked body everywhere outside the data of a chunk.
const CHUNK_ERROR: &[u8] = b"\r\0";

/// Bytes from the client, of which the HTTP library gets those of the current request only.
#[derive(Debug, Default)]
pub struct RequestGate {
    scanner: RequestScanner,
    /// Bytes that were read and not handed over: the beginning of a head, or bytes behind the
    /// current request.
    buffered: BytesMut,
    /// How many of the first bytes of `buffered` belong to the current request.
    cleared_bytes: usize,
    is_request_replaced: bool,
    notes: HeadNotes,
}

impl RequestGate {
    /// Returns a gate with bytes that were read before.
    pub fn with_buffered(bytes: &[u8]) -> Self {
        Self {
            buffered: BytesMut::from(bytes),
            ..Self::default()
        }
    }

    /// Takes the bytes of `buffer` behind the first `before` ones, and leaves those there that may
    /// be handed over. Bodies are not copied.
    pub fn accept(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let fresh = &buffer.filled()[before..];
        // Malformed bytes are buffered, and `release` returns their error.
        let count = if self.buffered.is_empty() {
            self.scanner.advance(fresh).unwrap_or(0)
        } else {
            0
        };
        if let Some((head, removed_bytes)) = self.rewrite_ended_head(fresh) {
            self.cleared_bytes = head.len() + count - removed_bytes;
            self.buffered.extend_from_slice(&head);
            self.buffered.extend_from_slice(&fresh[removed_bytes..]);
            buffer.set_filled(before);
        } else {
            self.buffered.extend_from_slice(&fresh[count..]);
            buffer.set_filled(before + count);
        }
    }

    /// Returns the new head and the length of the old one, if `bytes` begin with a head that has
    /// just ended and is to be rewritten.
    fn rewrite_ended_head(&mut self, bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
        let ended = self.scanner.take_ended_head()?;
        self.notes = ended.notes;
        Some((ended.rewritten(bytes)?, ended.length_bytes))
    }

    /// Moves buffered bytes of the current request into `out`, and returns whether there were any.
    ///
    /// # Errors
    /// [`FramingError`] if the buffered bytes are malformed.
    pub fn release(&mut self, out: &mut ReadBuf<'_>) -> Result<bool, FramingError> {
        if self.buffered.is_empty() {
            return Ok(false);
        }
        if self.cleared_bytes == 0 {
            self.cleared_bytes = self.scanner.advance(&self.buffered)?;
            let buffered = std::mem::take(&mut self.buffered);
            self.buffered = match self.rewrite_ended_head(&buffered) {
                Some((head, removed_bytes)) => {
                    self.cleared_bytes += head.len();
                    self.cleared_bytes -= removed_bytes;
                    BytesMut::from(&[&head, &buffered[removed_bytes..]].concat()[..])
                }
                None => buffered,
            };
        }
        let count = self.cleared_bytes.min(out.remaining());
        out.put_slice(&self.buffered.split_to(count));
        self.cleared_bytes -= count;
        if self.buffered.is_empty() {
            // Frees the allocation: an idle connection keeps no buffer.
            self.buffered = BytesMut::new();
        }
        Ok(count > 0)
    }

    /// Replaces the buffered bytes by an error, or by a stand-in if no byte of the request was
    /// handed over. Returns whether the replacement is a stand-in.
    pub fn replace_malformed(&mut self) -> bool {
        let is_in_head = self.scanner.is_in_head();
        self.buffered = BytesMut::from(if is_in_head { STAND_IN } else { CHUNK_ERROR });
        self.cleared_bytes = self.buffered.len();
        self.is_request_replaced = true;
        is_in_head
    }

    /// Starts with the next request.
    pub fn begin_next(&mut self) {
        self.scanner.restart();
        self.notes = HeadNotes::default();
    }

    /// Returns facts about the head of the current request that the HTTP library does not see.
    pub fn notes(&self) -> HeadNotes {
        self.notes
    }

    /// Whether the head of the current request was not read to its end yet.
    pub fn is_in_head(&self) -> bool {
        self.scanner.is_in_head()
    }

    /// Whether the current request was handed over to its end.
    pub fn is_request_complete(&self) -> bool {
        self.scanner.is_complete() && self.cleared_bytes == 0
    }

    /// Whether a malformed request was replaced. No later request follows then.
    pub fn is_request_replaced(&self) -> bool {
        self.is_request_replaced
    }

    pub fn has_buffered(&self) -> bool {
        !self.buffered.is_empty()
    }

    /// Whether the next bytes have to wait in the kernel.
    pub fn is_full(&self) -> bool {
        self.is_request_replaced
            || (self.scanner.is_complete() && self.buffered.len() >= READ_AHEAD_BYTES)
    }

    pub fn into_buffered(self) -> BytesMut {
        self.buffered
    }
}
