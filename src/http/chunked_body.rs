//! Finds where a chunked body ends (RFC 9112, section 7.1).
//!
//! This file must not know the head of the request. The main type is [`ChunkedBody`].

use super::framing_error::FramingError;

/// The longest line with the size of a chunk, including chunk extensions. Millpond ignores these.
const MAX_CHUNK_LINE_BYTES: usize = 4096;

/// The longest trailer section. Millpond ignores trailers.
const MAX_TRAILER_BYTES: usize = 8192;

/// Whether a byte may be part of a line.
pub fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// Position in a chunked body (RFC 9112, section 7.1).
#[derive(Debug, Clone, Copy, Default)]
pub struct ChunkedBody {
    state: ChunkState,
    /// Bytes of the chunk that have not arrived yet.
    left_bytes: u64,
    /// Bytes of the current size line or of the trailer section so far.
    line_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ChunkState {
    #[default]
    SizeStart,
    Size,
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

impl ChunkedBody {
    /// Returns how many of `bytes` belong to the body, and whether it has ended.
    ///
    /// # Errors
    /// [`FramingError`] if the framing is invalid.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), FramingError> {
        let mut taken = 0;
        while taken < bytes.len() && self.state != ChunkState::End {
            if self.state == ChunkState::Data {
                let rest = bytes.len() - taken;
                let count = usize::try_from(self.left_bytes).map_or(rest, |left| left.min(rest));
                self.left_bytes -= count as u64;
                taken += count;
                if self.left_bytes == 0 {
                    self.state = ChunkState::DataCr;
                }
                continue;
            }
            self.state = self.step(bytes[taken])?;
            taken += 1;
        }
        Ok((taken, self.state == ChunkState::End))
    }

    fn step(&mut self, byte: u8) -> Result<ChunkState, FramingError> {
        use ChunkState::{
            Data, DataCr, DataLf, End, EndLf, Extension, Size, SizeLf, SizeSpace, SizeStart,
            Trailer, TrailerLf, TrailerStart,
        };
        self.line_bytes += 1;
        let is_trailer = matches!(self.state, TrailerStart | Trailer | TrailerLf | EndLf);
        let max_bytes = if is_trailer {
            MAX_TRAILER_BYTES
        } else {
            MAX_CHUNK_LINE_BYTES
        };
        if self.line_bytes > max_bytes {
            return Err(FramingError::Malformed(
                "a chunk size line or the trailer section is too long",
            ));
        }
        let is_text = is_text(byte);
        match (self.state, byte) {
            (SizeStart | Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.add_digit(byte),
            (Size | SizeSpace | Extension, b'\r') => Ok(SizeLf),
            (Size | SizeSpace, b' ' | b'\t') => Ok(SizeSpace),
            (Size | SizeSpace, b';') => Ok(Extension),
            (Extension, _) if is_text => Ok(Extension),
            (SizeLf, b'\n') => {
                self.line_bytes = 0;
                Ok(if self.left_bytes > 0 {
                    Data
                } else {
                    TrailerStart
                })
            }
            (DataCr, b'\r') => Ok(DataLf),
            (DataLf, b'\n') => {
                self.line_bytes = 0;
                Ok(SizeStart)
            }
            (TrailerStart, b'\r') => Ok(EndLf),
            (Trailer, b'\r') => Ok(TrailerLf),
            (TrailerStart | Trailer, _) if is_text => Ok(Trailer),
            (TrailerLf, b'\n') => Ok(TrailerStart),
            (EndLf, b'\n') => Ok(End),
            _ => Err(FramingError::Malformed(
                "the framing of the chunked body is invalid",
            )),
        }
    }

    fn add_digit(&mut self, byte: u8) -> Result<ChunkState, FramingError> {
        let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
        let size = self
            .left_bytes
            .checked_mul(16)
            .and_then(|size| size.checked_add(digit));
        self.left_bytes =
            size.ok_or(FramingError::Malformed("the size of a chunk is too large"))?;
        Ok(ChunkState::Size)
    }
}
