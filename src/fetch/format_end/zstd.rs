//! End of a zstd file (RFC 8878): frames of blocks whose headers have their lengths.

use std::io;

use super::FormatEnd;
use super::reader::FileReader;

const FRAME_MAGIC: u32 = 0xfd2f_b528;

/// Magic number of skippable frames, without its lowest four bits.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
const SKIPPABLE_MASK: u32 = 0xffff_fff0;

const MAGIC_BYTES: u64 = 4;
const BLOCK_HEADER_BYTES: u64 = 3;
const CHECKSUM_BYTES: u64 = 4;

/// Flag of the frame header: the frame has one segment, and the header has no window descriptor.
const SINGLE_SEGMENT: u8 = 0x20;
const HAS_CHECKSUM: u8 = 0x04;

/// Type of a block that repeats one byte.
const BLOCK_RLE: u32 = 1;
const BLOCK_RESERVED: u32 = 3;

/// Returns whether a frame begins with these bytes.
pub fn is_frame_start(bytes: &[u8]) -> bool {
    let magic = bytes.first_chunk().map(|magic| u32::from_le_bytes(*magic));
    magic.is_some_and(|magic| magic == FRAME_MAGIC || is_skippable(magic))
}

fn is_skippable(magic: u32) -> bool {
    magic & SKIPPABLE_MASK == SKIPPABLE_MAGIC
}

/// Skips frame after frame. A frame that ends behind the file is truncated.
pub fn find_end(file: &FileReader) -> io::Result<FormatEnd> {
    let zeros_start = file.trim_zeros(file.size_bytes)?;
    let mut offset = 0;
    while offset < file.size_bytes {
        match skip_frame(file, offset)? {
            Skipped::To(next) => offset = next,
            Skipped::Truncated => return Ok(FormatEnd::Missing),
            Skipped::NoFrame if offset >= zeros_start => return Ok(FormatEnd::Complete),
            Skipped::NoFrame => return Ok(FormatEnd::Unknown),
        }
    }
    Ok(if offset == file.size_bytes {
        FormatEnd::Complete
    } else {
        FormatEnd::Missing
    })
}

enum Skipped {
    /// Offset behind the frame, which may lie behind the file.
    To(u64),
    Truncated,
    NoFrame,
}

fn skip_frame(file: &FileReader, start: u64) -> io::Result<Skipped> {
    let Some(magic) = file.read_array(start)?.map(u32::from_le_bytes) else {
        let rest = file.read_up_to(start, 3)?;
        let is_zero = rest.iter().all(|byte| *byte == 0);
        return Ok(if is_zero {
            Skipped::NoFrame
        } else {
            Skipped::Truncated
        });
    };
    let offset = start + MAGIC_BYTES;
    if is_skippable(magic) {
        return Ok(match file.read_array(offset)?.map(u32::from_le_bytes) {
            Some(size_bytes) => Skipped::To(offset + 4 + u64::from(size_bytes)),
            None => Skipped::Truncated,
        });
    }
    if magic != FRAME_MAGIC {
        return Ok(Skipped::NoFrame);
    }
    let Some([descriptor]) = file.read_array(offset)? else {
        return Ok(Skipped::Truncated);
    };
    let mut offset = offset + 1 + header_fields_bytes(descriptor);
    loop {
        let Some([low, middle, high]) = file.read_array(offset)? else {
            return Ok(Skipped::Truncated);
        };
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let (is_last, kind, size_bytes) = (header & 1 == 1, header >> 1 & 3, header >> 3);
        let stored_bytes = match kind {
            BLOCK_RESERVED => return Ok(Skipped::NoFrame),
            BLOCK_RLE => 1,
            _ => size_bytes,
        };
        offset += BLOCK_HEADER_BYTES + u64::from(stored_bytes);
        if is_last {
            let has_checksum = descriptor & HAS_CHECKSUM != 0;
            return Ok(Skipped::To(if has_checksum {
                offset + CHECKSUM_BYTES
            } else {
                offset
            }));
        }
    }
}

/// Returns the length of the frame header behind its descriptor in bytes (RFC 8878, section
/// 3.1.1.1).
fn header_fields_bytes(descriptor: u8) -> u64 {
    let is_single_segment = descriptor & SINGLE_SEGMENT != 0;
    let window_bytes = u64::from(!is_single_segment);
    let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size_bytes = match descriptor >> 6 {
        0 => u64::from(is_single_segment),
        code => 1 << code,
    };
    window_bytes + dictionary_bytes + content_size_bytes
}
