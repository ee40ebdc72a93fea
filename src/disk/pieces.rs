//! SHA-256 and SHA-1 of the pieces of objects, in `pieces/ab/<sha256>`.
//!
//! They follow from the bytes, so a lost or damaged file costs one more computation. A file is
//! renamed into place without a sync, and is removed with its object. The main functions are
//! [`read`] and [`write`].

use std::io::Read as _;

use fs_err as fs;

use super::metadata_ledger::MetadataKind;
use super::{DiskError, DiskStore, Layout, digests, durable_dirs};
use crate::model::{ExpectedDigests, Hasher, MAX_PIECES, PieceList, PieceSha1, Sha256};

/// First bytes of a file. A reader rejects other ones, and so later versions.
const MAGIC: &[u8; 8] = b"pieces2\n";

/// First bytes of a file without SHA-1. It is valid until it is replaced.
const MAGIC_WITHOUT_SHA1: &[u8; 8] = b"pieces1\n";

const DIGEST_BYTES: usize = 32;

const SHA1_BYTES: usize = size_of::<PieceSha1>();

/// Bytes of a file without its lists: the first bytes, the size of the object, and the digest over
/// all that and the name of the object.
const FRAME_BYTES: usize = MAGIC.len() + size_of::<u64>() + DIGEST_BYTES;

/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = FRAME_BYTES as u64 + MAX_PIECES * (DIGEST_BYTES + SHA1_BYTES) as u64;

/// Returns the stored pieces of an object. `None` if there are none, or the file is damaged.
pub fn read(layout: &Layout, sha256: Sha256) -> Option<PieceList> {
    let mut bytes = Vec::new();
    let file = fs::File::open(layout.pieces(sha256)).ok()?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    decode(sha256, &bytes)
}

/// Stores the pieces of an object. A file that exists is replaced. Of a body that is not published,
/// nothing is stored.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn write(disk: &DiskStore, sha256: Sha256, pieces: &PieceList) -> Result<(), DiskError> {
    let path = disk.layout.pieces(sha256);
    disk.dirs
        .create(path.parent().expect("a file of pieces lies in a folder"))?;
    let counted = disk.metadata.watch(MetadataKind::Others, path.clone());
    let (_, draft) = disk.slot.next_file();
    fs::write(&draft, encode(sha256, pieces))?;
    fs::rename(&draft, &path)?;
    drop(counted);
    // Nothing would remove the file of an object that does not exist, or was evicted meanwhile.
    if !disk.layout.object(sha256).exists() {
        remove(disk, sha256)?;
    }
    Ok(())
}

/// Removes all that was stored about the bytes of an object: its pieces and its other digests.
///
/// # Errors
/// [`DiskError`] if the disk fails.
pub fn remove_with_digests(disk: &DiskStore, sha256: Sha256) -> Result<(), DiskError> {
    digests::remove(disk, sha256)?;
    remove(disk, sha256)
}

/// Removes the stored pieces of an object.
///
/// # Errors
/// [`DiskError`] if the disk fails.
fn remove(disk: &DiskStore, sha256: Sha256) -> Result<(), DiskError> {
    let path = disk.layout.pieces(sha256);
    let _counted = disk.metadata.watch(MetadataKind::Others, path.clone());
    durable_dirs::remove_if_exists(&path)?;
    Ok(())
}

fn encode(sha256: Sha256, pieces: &PieceList) -> Vec<u8> {
    let magic = if pieces.sha1().is_some() {
        MAGIC
    } else {
        MAGIC_WITHOUT_SHA1
    };
    let mut bytes = magic.to_vec();
    bytes.extend(pieces.size_bytes().to_le_bytes());
    for digest in pieces.digests() {
        bytes.extend(digest.as_bytes());
    }
    for sha1 in pieces.sha1().into_iter().flatten() {
        bytes.extend(sha1);
    }
    let check = check_of(sha256, &bytes);
    bytes.extend(check.as_bytes());
    bytes
}

fn decode(sha256: Sha256, bytes: &[u8]) -> Option<PieceList> {
    let (content, check) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
    let (rest, sha1_bytes) = match content.strip_prefix(MAGIC) {
        Some(rest) => (rest, SHA1_BYTES),
        None => (content.strip_prefix(MAGIC_WITHOUT_SHA1)?, 0),
    };
    if check_of(sha256, content).as_bytes() != check {
        return None;
    }
    let (size_bytes, lists) = rest.split_first_chunk()?;
    let count = lists.len() / (DIGEST_BYTES + sha1_bytes);
    let (digests, sha1) = lists.split_at(count * DIGEST_BYTES);
    let digests = digests.chunks(DIGEST_BYTES);
    let digests = digests.map(|digest| Some(Sha256::from_bytes(digest.try_into().ok()?)));
    let list = PieceList::new(
        u64::from_le_bytes(*size_bytes),
        digests.collect::<Option<_>>()?,
    )?;
    if sha1_bytes == 0 {
        return sha1.is_empty().then_some(list);
    }
    let sha1 = sha1.chunks(SHA1_BYTES).map(|sha1| sha1.try_into().ok());
    list.with_sha1(sha1.collect::<Option<_>>()?)
}

/// Returns the digest by which a damaged file is found, or one that belongs to another object.
fn check_of(sha256: Sha256, content: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    hasher.update(sha256.as_bytes());
    hasher.update(content);
    hasher.finish().sha256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_file_has_no_pieces() {
        let (own, other) = (Sha256::from_bytes([1; 32]), Sha256::from_bytes([2; 32]));
        let digests = vec![Sha256::from_bytes([3; 32]), Sha256::from_bytes([4; 32])];
        let old = PieceList::new((1 << 20) + 1, digests).unwrap();
        let sha1 = vec![[5; 20], [6; 20]];
        for pieces in [old.clone(), old.with_sha1(sha1).unwrap()] {
            let bytes = encode(own, &pieces);
            assert_eq!(decode(own, &bytes), Some(pieces));
            assert_eq!(decode(other, &bytes), None);
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                assert_eq!(decode(own, &damaged), None, "byte {at}");
                assert_eq!(decode(own, &bytes[..at]), None, "{at} bytes");
            }
        }
    }
}
