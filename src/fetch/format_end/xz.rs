//! End of an xz file: streams with a footer, one after another (The .xz File Format 1.2.1).
//!
//! The footer locates the index, and the index has the sizes of all blocks. Their sum leads to the
//! header, so a stream is checked without decompression.

use std::io;

use flate2::Crc;

use super::FormatEnd;
use super::reader::FileReader;

/// First bytes of a stream.
pub const MAGIC: [u8; 6] = *b"\xfd7zXZ\0";

/// Last bytes of a stream.
const FOOTER_MAGIC: [u8; 2] = *b"YZ";

/// Length of a stream header and of a stream footer, in bytes.
const HEADER_BYTES: u64 = 12;

/// Streams, blocks and indexes are multiples of this length, in bytes.
const ALIGNMENT_BYTES: u64 = 4;

/// Largest index that is read, in bytes. An index has a few bytes for each block.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// Maximum number of bytes of a number in an index.
const MAX_NUMBER_BYTES: usize = 9;

/// Finds the streams from the last to the first.
pub fn find_end(file: &FileReader) -> io::Result<FormatEnd> {
    let mut end = file.size_bytes;
    loop {
        // Stream padding is a multiple of four zero bytes.
        let padding_bytes = end - file.trim_zeros(end)?;
        end -= padding_bytes - padding_bytes % ALIGNMENT_BYTES;
        match find_stream_start(file, end)? {
            Some(0) => return Ok(FormatEnd::Complete),
            Some(start) => end = start,
            None => return Ok(FormatEnd::Missing),
        }
    }
}

/// Returns the start of the stream that ends at `end`, or `None` if no complete stream ends there.
fn find_stream_start(file: &FileReader, end: u64) -> io::Result<Option<u64>> {
    let Some(footer_start) = end.checked_sub(HEADER_BYTES) else {
        return Ok(None);
    };
    let Some(footer) = file.read_array(footer_start)?.and_then(Footer::parse) else {
        return Ok(None);
    };
    let Some(index_start) = footer_start.checked_sub(footer.index_bytes) else {
        return Ok(None);
    };
    if footer.index_bytes > MAX_INDEX_BYTES {
        return Ok(None);
    }
    let index_bytes = usize::try_from(footer.index_bytes).unwrap_or(usize::MAX);
    let index = file.read_up_to(index_start, index_bytes)?;
    let start = sum_blocks(&index)
        .and_then(|blocks_bytes| index_start.checked_sub(blocks_bytes))
        .and_then(|blocks_start| blocks_start.checked_sub(HEADER_BYTES));
    let Some(start) = start else { return Ok(None) };
    let header = file.read_array(start)?;
    Ok(header
        .filter(|header| is_header(header, footer.flags))
        .map(|_| start))
}

struct Footer {
    index_bytes: u64,
    flags: [u8; 2],
}

impl Footer {
    /// A footer has CRC32, size of the index, flags, and magic bytes.
    fn parse(bytes: [u8; 12]) -> Option<Self> {
        let [c0, c1, c2, c3, s0, s1, s2, s3, f0, f1, magic @ ..] = bytes;
        let is_valid =
            magic == FOOTER_MAGIC && u32::from_le_bytes([c0, c1, c2, c3]) == crc32(&bytes[4..10]);
        let stored_size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        is_valid.then_some(Self {
            index_bytes: (stored_size + 1) * ALIGNMENT_BYTES,
            flags: [f0, f1],
        })
    }
}

fn is_header(header: &[u8; 12], flags: [u8; 2]) -> bool {
    header.starts_with(&MAGIC)
        && header[6..8] == flags
        && header[8..] == crc32(&header[6..8]).to_le_bytes()
}

/// Returns the length of all blocks of a stream in bytes, or `None` if the index is damaged.
fn sum_blocks(index: &[u8]) -> Option<u64> {
    let (body, stored_crc) = index.split_last_chunk::<4>()?;
    if crc32(body).to_le_bytes() != *stored_crc {
        return None;
    }
    let mut rest = body.strip_prefix(&[0])?;
    let records = read_number(&mut rest)?;
    let mut total_bytes = 0_u64;
    for _ in 0..records {
        let unpadded_bytes = read_number(&mut rest)?;
        let _uncompressed_bytes = read_number(&mut rest)?;
        let block_bytes = unpadded_bytes.checked_next_multiple_of(ALIGNMENT_BYTES)?;
        total_bytes = total_bytes.checked_add(block_bytes)?;
    }
    Some(total_bytes)
}

/// Reads a number of seven bits a byte, the lowest first.
fn read_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for position in 0..MAX_NUMBER_BYTES {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
