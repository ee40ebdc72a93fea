//! File types by name, and checks of the first bytes against them.

/// Number of bytes that are checked before the response head of an archive is sent.
pub const FILE_TYPE_SNIFF_BYTES: usize = 512;

/// Magic bytes of a file type, and their offset.
struct Magic {
    suffixes: &'static [&'static str],
    offset: usize,
    bytes: &'static [&'static [u8]],
    /// Accepts other beginnings of the format.
    also: fn(&[u8]) -> bool,
}

/// Suffixes of files that begin with known magic bytes. Other names are not checked.
const MAGICS: [Magic; 12] = [
    Magic {
        suffixes: &[".gz", ".tgz", ".crate"],
        offset: 0,
        bytes: &[b"\x1f\x8b"],
        also: nothing_else,
    },
    Magic {
        suffixes: &[".xz", ".txz"],
        offset: 0,
        bytes: &[b"\xfd7zXZ\x00"],
        also: nothing_else,
    },
    Magic {
        suffixes: &[".bz2", ".tbz", ".tbz2"],
        offset: 0,
        bytes: &[b"BZh"],
        also: nothing_else,
    },
    // A skippable frame may come before the first zstd frame (RFC 8878, section 3.1.2).
    Magic {
        suffixes: &[".zst", ".tzst"],
        offset: 0,
        bytes: &[b"\x28\xb5\x2f\xfd"],
        also: is_skippable_frame,
    },
    Magic {
        suffixes: &[".lz"],
        offset: 0,
        bytes: &[b"LZIP"],
        also: nothing_else,
    },
    Magic {
        suffixes: &[".zip", ".jar", ".whl"],
        offset: 0,
        bytes: &[b"PK\x03\x04", b"PK\x05\x06"],
        also: nothing_else,
    },
    Magic {
        suffixes: &[".7z"],
        offset: 0,
        bytes: &[b"7z\xbc\xaf\x27\x1c"],
        also: nothing_else,
    },
    Magic {
        suffixes: &[".rpm"],
        offset: 0,
        bytes: &[b"\xed\xab\xee\xdb"],
        also: nothing_else,
    },
    Magic {
        suffixes: &[".deb", ".udeb", ".a"],
        offset: 0,
        bytes: &[b"!<arch>\n"],
        also: nothing_else,
    },
    // POSIX and GNU tar have magic bytes. The tar of 1979 has only a checksum.
    Magic {
        suffixes: &[".tar", ".gem"],
        offset: 257,
        bytes: &[b"ustar"],
        also: has_tar_checksum,
    },
    Magic {
        suffixes: &[".lzma"],
        offset: 0,
        bytes: &[b"\x5d\x00\x00"],
        also: nothing_else,
    },
    Magic {
        suffixes: &UNMARKED,
        offset: 0,
        bytes: &[],
        also: is_not_html,
    },
];

/// Suffixes of files without magic bytes, which are still never HTML pages.
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

/// Suffixes of forge archives of a ref, by the third segment of their path.
const GENERATED: [(&str, &str); 4] = [
    ("tar.gz", ".gz"),
    ("legacy.tar.gz", ".gz"),
    ("zip", ".zip"),
    ("legacy.zip", ".zip"),
];

/// Expected file type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// File type with known magic bytes: the index of its row in the table.
    Marked(usize),
    /// Any body is accepted.
    Unchecked,
}

impl FileType {
    /// Returns the file type of the last segment of a path.
    ///
    /// A trailing `/download` is ignored. If the segment is a ref of a forge archive, the path
    /// segment with the archive format decides.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let path = path.strip_suffix("/download").unwrap_or(path);
        let name = path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let form = path.split('/').nth(3).unwrap_or_default();
        let generated = GENERATED
            .iter()
            .find(|(known, _)| *known == form)
            .map(|(_, suffix)| *suffix);
        Self::of_name(&name)
            .or_else(|| Self::of_name(generated?))
            .unwrap_or(Self::Unchecked)
    }

    fn of_name(name: &str) -> Option<Self> {
        let row = MAGICS
            .iter()
            .position(|magic| magic.suffixes.iter().any(|suffix| name.ends_with(suffix)));
        row.map(Self::Marked)
    }

    /// Returns how many of the first bytes [`Kind::matches`] needs.
    #[must_use]
    pub fn sniff_bytes(self) -> usize {
        match self {
            Self::Marked(_) => FILE_TYPE_SNIFF_BYTES,
            Self::Unchecked => 0,
        }
    }

    /// Returns whether `head`, the first bytes of a body or a whole short body, has this file type.
    #[must_use]
    pub fn matches(self, head: &[u8]) -> bool {
        match self {
            Self::Unchecked => true,
            Self::Marked(row) => {
                let magic = &MAGICS[row];
                let at_magic = head.get(magic.offset..).unwrap_or_default();
                magic.bytes.iter().any(|bytes| at_magic.starts_with(bytes)) || (magic.also)(head)
            }
        }
    }
}

fn nothing_else(_: &[u8]) -> bool {
    false
}

/// Returns whether `head` is not HTML. HTML may begin with a byte order mark and white space.
fn is_not_html(head: &[u8]) -> bool {
    let head = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    let begins = |text: &[u8]| {
        head.get(..text.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(text))
    };
    !begins(b"<!doctype html") && !begins(b"<html")
}

/// Returns whether `head` has one of the sixteen magic numbers of RFC 8878, section 3.1.2.
fn is_skippable_frame(head: &[u8]) -> bool {
    matches!(head, [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50)
}

/// Returns whether `head` is a tar header with a valid checksum.
///
/// The checksum is the sum of the 512 bytes, in octal at byte 148. Its own bytes count as spaces.
fn has_tar_checksum(head: &[u8]) -> bool {
    const FIELD: std::ops::Range<usize> = 148..156;
    let Some(header) = head.get(..512) else {
        return false;
    };
    let stated = std::str::from_utf8(&header[FIELD])
        .ok()
        .map(|text| text.trim_matches([' ', '\0']));
    let stated = stated.and_then(|text| u32::from_str_radix(text, 8).ok());
    let byte = |(at, byte): (usize, &u8)| u32::from(if FIELD.contains(&at) { b' ' } else { *byte });
    stated == Some(header.iter().enumerate().map(byte).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_without_magic_is_detected_by_checksum() {
        let file_type = FileType::of_path("/x-1.0.tar");
        let mut header = [0; 512];
        header[..5].copy_from_slice(b"x.txt");
        let sum: u32 =
            header.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(file_type.matches(&header));
        header[0] = b'y';
        assert!(!file_type.matches(&header));
        assert!(!file_type.matches(b"<html>"));
    }

    #[test]
    fn html_page_does_not_match_signature_or_patch() {
        let file_type = FileType::of_path("/x-1.0.tar.gz.asc");
        for page in [
            "<html><body>",
            "\n <!DOCTYPE html>",
            "\u{feff}<!doctype HTML>",
        ] {
            assert!(!file_type.matches(page.as_bytes()), "{page}");
        }
        for file in [
            "",
            "-----BEGIN PGP SIGNATURE-----",
            "<htm",
            "diff --git a/x.html b/x.html\n+<html>",
        ] {
            assert!(file_type.matches(file.as_bytes()), "{file}");
        }
    }

    #[test]
    fn forge_archive_type_comes_from_path_format() {
        for (path, head, fits) in [
            ("/owner/repo/tar.gz/v1.0", &b"\x1f\x8b"[..], true),
            ("/owner/repo/tar.gz/refs/tags/v1.0", b"<html>", false),
            ("/owner/repo/legacy.zip/v1.0", b"PK\x03\x04", true),
            ("/owner/repo/zip/v1.0", b"\x1f\x8b", false),
            ("/owner/repo/tar.gz/x.zip", b"PK\x03\x04", true),
            ("/tar.gz/v1.0", b"<html>", true),
        ] {
            assert_eq!(FileType::of_path(path).matches(head), fits, "{path}");
        }
    }

    #[test]
    fn zstd_may_begin_with_skippable_frame() {
        let file_type = FileType::of_path("/x.tar.zst");
        assert!(
            file_type.matches(b"\x28\xb5\x2f\xfd...")
                && file_type.matches(b"\x5f\x2a\x4d\x18...")
                && !file_type.matches(b"\x60\x2a\x4d\x18")
        );
    }
}
