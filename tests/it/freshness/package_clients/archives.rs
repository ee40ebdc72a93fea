//! Archives of the test packages: tar, gzip and zip without compression, written in memory. Equal
//! contents give equal bytes. This file knows no package system.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha512};

use crate::harness::Body;

/// Mon, 01 Jan 2024 00:00:00 GMT, in seconds since 1970.
const DATE_SECS: u64 = 1_704_067_200;

const TAR_BLOCK_BYTES: usize = 512;

/// The same day as a date of the MS-DOS format that zip uses.
const DOS_DATE: u16 = (2024 - 1980) << 9 | 1 << 5 | 1;

/// A file of an archive: its path and its content.
pub type Entry<'a> = (&'a str, &'a [u8]);

/// Returns a gzip-compressed tar archive. Paths have at most 100 bytes.
pub fn tar_gz(entries: &[Entry]) -> Body {
    gzip(&tar(entries))
}

/// Returns a tar archive. Paths have at most 100 bytes.
pub fn tar(entries: &[Entry]) -> Body {
    let mut archive = Vec::new();
    for (path, content) in entries {
        archive.extend_from_slice(&tar_header(path, content.len()));
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(TAR_BLOCK_BYTES), 0);
    }
    archive.resize(archive.len() + 2 * TAR_BLOCK_BYTES, 0);
    archive.into()
}

/// Returns the header of a regular file in the `ustar` format of POSIX.
fn tar_header(path: &str, size: usize) -> [u8; TAR_BLOCK_BYTES] {
    let mut header = [0; TAR_BLOCK_BYTES];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    assert!(path.len() <= 100, "the path fits into the header");
    put(0, path);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, &format!("{DATE_SECS:011o}\0"));
    put(148, "        0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Returns a gzip file (RFC 1952) of stored blocks (RFC 1951, section 3.2.4).
pub fn gzip(content: &[u8]) -> Body {
    let mut file = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    let mut blocks = content.chunks(usize::from(u16::MAX)).peekable();
    if blocks.peek().is_none() {
        file.extend_from_slice(b"\x01\0\0\xff\xff");
    }
    while let Some(block) = blocks.next() {
        let size = u16::try_from(block.len()).expect("a chunk has at most 65535 bytes");
        file.push(u8::from(blocks.peek().is_none()));
        file.extend_from_slice(&size.to_le_bytes());
        file.extend_from_slice(&(!size).to_le_bytes());
        file.extend_from_slice(block);
    }
    file.extend_from_slice(&crc32(content).to_le_bytes());
    file.extend_from_slice(&size32(content).to_le_bytes());
    file.into()
}

/// Returns a zip archive of stored files.
pub fn zip(entries: &[Entry]) -> Body {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (path, content) in entries {
        let offset = size32(&archive);
        let fields = zip_fields(path, content);
        archive.extend_from_slice(b"PK\x03\x04");
        archive.extend_from_slice(&fields);
        archive.extend_from_slice(path.as_bytes());
        archive.extend_from_slice(content);
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&fields);
        // Comment, disk and attributes: none.
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(path.as_bytes());
    }
    let (start, size) = (size32(&archive), size32(&directory));
    let count = u16::try_from(entries.len()).expect("an archive has few files");
    archive.extend_from_slice(&directory);
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&count.to_le_bytes());
    archive.extend_from_slice(&size.to_le_bytes());
    archive.extend_from_slice(&start.to_le_bytes());
    archive.extend_from_slice(&[0; 2]);
    archive.into()
}

/// Returns the SHA-512 of bytes in the form of Subresource Integrity.
pub fn integrity(content: &[u8]) -> String {
    format!("sha512-{}", BASE64_STANDARD.encode(Sha512::digest(content)))
}

/// Returns the fields that the two headers of a zip entry share.
fn zip_fields(path: &str, content: &[u8]) -> Vec<u8> {
    let name_bytes = u16::try_from(path.len()).expect("a path is short");
    let mut fields = b"\x14\0\0\0\0\0\0\0".to_vec();
    fields.extend_from_slice(&DOS_DATE.to_le_bytes());
    fields.extend_from_slice(&crc32(content).to_le_bytes());
    fields.extend_from_slice(&size32(content).to_le_bytes());
    fields.extend_from_slice(&size32(content).to_le_bytes());
    fields.extend_from_slice(&name_bytes.to_le_bytes());
    fields.extend_from_slice(&[0; 2]);
    fields
}

fn size32(content: &[u8]) -> u32 {
    u32::try_from(content.len()).expect("the test packages are small")
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
