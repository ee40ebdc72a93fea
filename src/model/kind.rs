//! What a name says that a body is, and whether the first bytes agree.

/// How many bytes are looked at before an archive's head is sent.
pub const KIND_SNIFF_BYTES: usize = 512;

/// Where the mark of an archive lies in its first bytes.
struct Mark {
    suffixes: &'static [&'static str],
    offset: usize,
    bytes: &'static [&'static [u8]],
    /// What else the format may begin with.
    also: fn(&[u8]) -> bool,
}

/// Suffixes whose bodies begin with a known mark. Names that are not here are not judged.
const MARKS: [Mark; 12] = [
    Mark { suffixes: &[".gz", ".tgz", ".crate"], offset: 0, bytes: &[b"\x1f\x8b"], also: nothing_else },
    Mark { suffixes: &[".xz", ".txz"], offset: 0, bytes: &[b"\xfd7zXZ\x00"], also: nothing_else },
    Mark { suffixes: &[".bz2", ".tbz", ".tbz2"], offset: 0, bytes: &[b"BZh"], also: nothing_else },
    // A skippable frame may come before the first zstd frame (RFC 8878, section 3.1.2).
    Mark { suffixes: &[".zst", ".tzst"], offset: 0, bytes: &[b"\x28\xb5\x2f\xfd"], also: is_skippable_frame },
    Mark { suffixes: &[".lz"], offset: 0, bytes: &[b"LZIP"], also: nothing_else },
    Mark { suffixes: &[".zip", ".jar", ".whl"], offset: 0, bytes: &[b"PK\x03\x04", b"PK\x05\x06"], also: nothing_else },
    Mark { suffixes: &[".7z"], offset: 0, bytes: &[b"7z\xbc\xaf\x27\x1c"], also: nothing_else },
    Mark { suffixes: &[".rpm"], offset: 0, bytes: &[b"\xed\xab\xee\xdb"], also: nothing_else },
    Mark { suffixes: &[".deb", ".udeb", ".a"], offset: 0, bytes: &[b"!<arch>\n"], also: nothing_else },
    // POSIX and GNU tar have a mark; the tar of 1979 has only its checksum.
    Mark { suffixes: &[".tar", ".gem"], offset: 257, bytes: &[b"ustar"], also: has_tar_checksum },
    Mark { suffixes: &[".lzma"], offset: 0, bytes: &[b"\x5d\x00\x00"], also: nothing_else },
    Mark { suffixes: &UNMARKED, offset: 0, bytes: &[], also: is_no_page },
];

/// Suffixes of files that begin in many ways, but never as a web page does.
const UNMARKED: [&str; 20] = [
    ".apk",
    ".asc",
    ".cab",
    ".diff",
    ".dsc",
    ".egg",
    ".iso",
    ".md5",
    ".md5sum",
    ".minisig",
    ".nupkg",
    ".patch",
    ".sha1",
    ".sha256",
    ".sha256sum",
    ".sha512",
    ".sha512sum",
    ".sig",
    ".sign",
    ".z",
];

/// The forges' archives of a ref, by the third segment of their path: what their suffix would be.
const GENERATED: [(&str, &str); 4] =
    [("tar.gz", ".gz"), ("legacy.tar.gz", ".gz"), ("zip", ".zip"), ("legacy.zip", ".zip")];

/// What the body of a name has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An archive whose mark is known: the index of its row in the table.
    Marked(usize),
    /// Anything goes.
    Unjudged,
}

impl Kind {
    /// What the last segment of a path promises. A `/download` behind an archive name is not part of it. The name of a ref
    /// promises nothing, but the form before it does.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let path = path.strip_suffix("/download").unwrap_or(path);
        let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let form = path.split('/').nth(3).unwrap_or_default();
        let generated = GENERATED.iter().find(|(known, _)| *known == form).map(|(_, suffix)| *suffix);
        Self::of_name(&name).or_else(|| Self::of_name(generated?)).unwrap_or(Self::Unjudged)
    }

    fn of_name(name: &str) -> Option<Self> {
        let row = MARKS.iter().position(|mark| mark.suffixes.iter().any(|suffix| name.ends_with(suffix)));
        row.map(Self::Marked)
    }

    /// How many of the first bytes [`Kind::fits`] needs to see.
    #[must_use]
    pub fn sniff_bytes(self) -> usize {
        match self {
            Self::Marked(_) => KIND_SNIFF_BYTES,
            Self::Unjudged => 0,
        }
    }

    /// Whether `head`, the first bytes of a body or all of a shorter one, can be what the name says.
    #[must_use]
    pub fn fits(self, head: &[u8]) -> bool {
        match self {
            Self::Unjudged => true,
            Self::Marked(row) => {
                let mark = &MARKS[row];
                let at_mark = head.get(mark.offset..).unwrap_or_default();
                mark.bytes.iter().any(|bytes| at_mark.starts_with(bytes)) || (mark.also)(head)
            }
        }
    }
}

fn nothing_else(_: &[u8]) -> bool {
    false
}

/// A page of HTML may begin with a mark of its encoding, space, and a declaration.
fn is_no_page(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins = |text: &[u8]| head.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    !begins(b"<!doctype html") && !begins(b"<html")
}

/// RFC 8878, section 3.1.2: one of sixteen magic numbers.
fn is_skippable_frame(head: &[u8]) -> bool {
    matches!(head, [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50)
}

/// The sum of a header's 512 bytes stands in octal at its byte 148, where it counts itself as eight spaces.
fn has_tar_checksum(head: &[u8]) -> bool {
    const FIELD: std::ops::Range<usize> = 148..156;
    let Some(header) = head.get(..512) else { return false };
    let stated = std::str::from_utf8(&header[FIELD]).ok().map(|text| text.trim_matches([' ', '\0']));
    let stated = stated.and_then(|text| u32::from_str_radix(text, 8).ok());
    let byte = |(at, byte): (usize, &u8)| u32::from(if FIELD.contains(&at) { b' ' } else { *byte });
    stated == Some(header.iter().enumerate().map(byte).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_without_a_mark_is_known_by_its_checksum() {
        let kind = Kind::of_path("/x-1.0.tar");
        let mut header = [0; 512];
        header[..5].copy_from_slice(b"x.txt");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(kind.fits(&header));
        header[0] = b'y';
        assert!(!kind.fits(&header));
        assert!(!kind.fits(b"<html>"));
    }

    #[test]
    fn a_page_is_no_signature_and_no_patch() {
        let kind = Kind::of_path("/x-1.0.tar.gz.asc");
        for page in ["<html><body>", "\n <!DOCTYPE html>", "\u{feff}<!doctype HTML>"] {
            assert!(!kind.fits(page.as_bytes()), "{page}");
        }
        for file in ["", "-----BEGIN PGP SIGNATURE-----", "<htm", "diff --git a/x.html b/x.html\n+<html>"] {
            assert!(kind.fits(file.as_bytes()), "{file}");
        }
    }

    #[test]
    fn the_archive_of_a_ref_is_judged_by_its_form() {
        for (path, head, fits) in [
            ("/owner/repo/tar.gz/v1.0", &b"\x1f\x8b"[..], true),
            ("/owner/repo/tar.gz/refs/tags/v1.0", b"<html>", false),
            ("/owner/repo/legacy.zip/v1.0", b"PK\x03\x04", true),
            ("/owner/repo/zip/v1.0", b"\x1f\x8b", false),
            ("/owner/repo/tar.gz/x.zip", b"PK\x03\x04", true),
            ("/tar.gz/v1.0", b"<html>", true),
        ] {
            assert_eq!(Kind::of_path(path).fits(head), fits, "{path}");
        }
    }

    #[test]
    fn a_zstd_file_may_begin_with_any_skippable_frame() {
        let kind = Kind::of_path("/x.tar.zst");
        assert!(
            kind.fits(b"\x28\xb5\x2f\xfd...") && kind.fits(b"\x5f\x2a\x4d\x18...") && !kind.fits(b"\x60\x2a\x4d\x18")
        );
    }
}
