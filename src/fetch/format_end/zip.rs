//! End of a zip file: the end of central directory record, and a comment (APPNOTE 6.3.10).

use std::io;

use super::FormatEnd;
use super::reader::FileReader;

/// First bytes of a file with members, and those of an empty one.
pub const MAGIC: &[u8] = b"PK";

const END_MAGIC: &[u8] = b"PK\x05\x06";
const ZIP64_LOCATOR_MAGIC: &[u8] = b"PK\x06\x07";

/// Length of the end record without its comment, in bytes.
const END_BYTES: usize = 22;

/// Length of the locator of a zip64 end record, in bytes.
const LOCATOR_BYTES: u64 = 20;

const MAX_COMMENT_BYTES: usize = u16::MAX as usize;

/// Value of a field whose real value is in the zip64 end record.
const IN_ZIP64: u32 = u32::MAX;

pub fn find_end(file: &FileReader) -> io::Result<FormatEnd> {
    let tail_bytes = END_BYTES + MAX_COMMENT_BYTES;
    let tail_start = file.size_bytes.saturating_sub(tail_bytes as u64);
    let tail = file.read_up_to(tail_start, tail_bytes)?;
    // The shortest comment is the most likely one.
    for at in (0..tail.len().saturating_sub(END_BYTES - 1)).rev() {
        if is_end_record(file, &tail[at..], tail_start + at as u64)? {
            return Ok(FormatEnd::Complete);
        }
    }
    Ok(FormatEnd::Missing)
}

/// Returns whether `record` at `offset` extends to the end of the file, and the central directory
/// ends where the record begins.
///
/// A member may be a zip file itself. The place of the directory distinguishes its end record.
fn is_end_record(file: &FileReader, record: &[u8], offset: u64) -> io::Result<bool> {
    let Some(comment_bytes) = read_u16(record, 20) else {
        return Ok(false);
    };
    if !record.starts_with(END_MAGIC) || END_BYTES + usize::from(comment_bytes) != record.len() {
        return Ok(false);
    }
    let (Some(size_bytes), Some(start)) = (read_u32(record, 12), read_u32(record, 16)) else {
        return Ok(false);
    };
    if size_bytes == IN_ZIP64 || start == IN_ZIP64 {
        let locator = match offset.checked_sub(LOCATOR_BYTES) {
            Some(at) => file.read_up_to(at, ZIP64_LOCATOR_MAGIC.len())?,
            None => Vec::new(),
        };
        return Ok(locator == ZIP64_LOCATOR_MAGIC);
    }
    let directory_end = u64::from(start) + u64::from(size_bytes);
    Ok(directory_end == offset || is_zip64_before(file, directory_end, offset)?)
}

/// Returns whether a zip64 end record lies between the directory and the end record. Some writers
/// add one although all values fit into the end record.
fn is_zip64_before(file: &FileReader, directory_end: u64, offset: u64) -> io::Result<bool> {
    const ZIP64_END_MAGIC: &[u8] = b"PK\x06\x06";
    Ok(directory_end < offset
        && file.read_up_to(directory_end, ZIP64_END_MAGIC.len())? == ZIP64_END_MAGIC)
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*field))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field))
}
