//! First bytes of archive formats that have more than one form.

/// Magic bytes of an `ar` archive.
pub const AR_MAGIC: &[u8] = b"!<arch>\n";

/// Returns whether `head` begins with a zstd frame. A skippable frame may come before it (RFC 8878,
/// section 3.1.2).
pub fn is_zstd(head: &[u8]) -> bool {
    let is_skippable = matches!(head, [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50);
    head.starts_with(b"\x28\xb5\x2f\xfd") || is_skippable
}

/// Returns whether `head` is a tar header. POSIX and GNU tar have magic bytes. The tar of 1979 has
/// only a checksum.
pub fn is_tar(head: &[u8]) -> bool {
    const MAGIC_OFFSET: usize = 257;
    let at_magic = head.get(MAGIC_OFFSET..).unwrap_or_default();
    at_magic.starts_with(b"ustar") || has_tar_checksum(head)
}

/// Returns whether `head` is a tar header with a valid checksum.
///
/// The checksum is the sum of the 512 bytes, in octal at byte 148. Its own bytes count as spaces.
fn has_tar_checksum(head: &[u8]) -> bool {
    const FIELD: std::ops::Range<usize> = 148..156;
    let Some(header) = head.get(..512) else {
        return false;
    };
    let checksum = std::str::from_utf8(&header[FIELD])
        .ok()
        .map(|text| text.trim_matches([' ', '\0']))
        .and_then(|text| u32::from_str_radix(text, 8).ok());
    let value =
        |(index, byte): (usize, &u8)| u32::from(if FIELD.contains(&index) { b' ' } else { *byte });
    checksum == Some(header.iter().enumerate().map(value).sum())
}
