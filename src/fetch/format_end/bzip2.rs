//! End of a bzip2 file: a mark and a checksum, behind which at most seven bits fill the last byte.

use std::io;

use super::FormatEnd;
use super::reader::FileReader;

/// First bytes of a file.
pub const MAGIC: &[u8] = b"BZh";

/// Mark of the end of a stream: the square root of pi, in 48 bits.
const END_MARK: u128 = 0x1772_4538_5090;
const END_MARK_BITS: u32 = 48;

/// Length of the checksum behind the mark, in bits.
const CHECKSUM_BITS: u32 = 32;

/// Bytes that the mark, the checksum and the filling take.
const TRAILER_BYTES: u64 = 11;

/// A checksum may end with this number of zero bytes, which look like padding.
const MAX_ZERO_BYTES: u64 = 5;

pub fn find_end(file: &FileReader) -> io::Result<FormatEnd> {
    let trimmed = file.trim_zeros(file.size_bytes)?;
    let last = file.size_bytes.min(trimmed + MAX_ZERO_BYTES);
    for end in trimmed..=last {
        if is_stream_end(file, end)? {
            return Ok(FormatEnd::Complete);
        }
    }
    Ok(FormatEnd::Missing)
}

fn is_stream_end(file: &FileReader, end: u64) -> io::Result<bool> {
    let Some(start) = end.checked_sub(TRAILER_BYTES) else {
        return Ok(false);
    };
    let trailer = file.read_up_to(start, usize::try_from(end - start).unwrap_or(0))?;
    let bits = trailer
        .iter()
        .fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let is_at = |filling_bits: u32| {
        let is_filled_with_zeros = bits & ((1 << filling_bits) - 1) == 0;
        let mark = bits >> (filling_bits + CHECKSUM_BITS) & ((1 << END_MARK_BITS) - 1);
        is_filled_with_zeros && mark == END_MARK
    };
    Ok((0..8).any(is_at))
}
