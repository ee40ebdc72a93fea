//! End of a gzip file (RFC 1952): members with a checksum, one after another.
//!
//! Only decompression shows where a member ends.

use std::io::{self, BufRead, BufReader, Read as _};

use flate2::bufread::GzDecoder;

use super::FormatEnd;
use super::reader::FileReader;

/// First bytes of a member: the identification and the only compression method.
pub const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// Size of the pieces in which the file is read, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Maximum number of bytes after decompression. A small file can expand without end.
const MAX_EXPANDED_BYTES: u64 = 16 << 30;

pub fn find_end(file: &FileReader) -> io::Result<FormatEnd> {
    let mut input = BufReader::with_capacity(PIECE_BYTES, file.sequential(0));
    let mut left_bytes = MAX_EXPANDED_BYTES;
    loop {
        match skip_member(&mut input, left_bytes)? {
            Member::Skipped { expanded_bytes } => left_bytes -= expanded_bytes,
            Member::Truncated => return Ok(FormatEnd::Missing),
            Member::Invalid => return Ok(FormatEnd::Unknown),
        }
        match input.fill_buf()?.first().copied() {
            None => return Ok(FormatEnd::Complete),
            Some(byte) if byte == MAGIC[0] => {}
            Some(_) if is_rest_zero(&mut input)? => return Ok(FormatEnd::Complete),
            Some(_) => return Ok(FormatEnd::Unknown),
        }
    }
}

enum Member {
    Skipped {
        expanded_bytes: u64,
    },
    Truncated,
    /// The member is damaged, or expands to more than the limit.
    Invalid,
}

fn skip_member(input: &mut impl BufRead, limit_bytes: u64) -> io::Result<Member> {
    let mut member = GzDecoder::new(input).take(limit_bytes);
    match io::copy(&mut member, &mut io::sink()) {
        Ok(expanded_bytes) if expanded_bytes < limit_bytes => {
            Ok(Member::Skipped { expanded_bytes })
        }
        Ok(_) => Ok(Member::Invalid),
        Err(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof => Ok(Member::Truncated),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Ok(Member::Invalid),
            _ => Err(error),
        },
    }
}

fn is_rest_zero(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        let count = bytes.len();
        input.consume(count);
    }
}
