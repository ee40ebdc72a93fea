//! File types by name: their first bytes, and their content codings.
//!
//! The main type is [`FileType`]. The module decides nothing about requests.

/// Number of bytes that are checked before the response head of an archive is sent.
pub const FILE_TYPE_SNIFF_BYTES: usize = 512;

/// Magic bytes of an `ar` archive.
const AR_MAGIC: &[u8] = b"!<arch>\n";

/// Check of the first bytes of a file.
enum HeadCheck {
    /// The file begins with one of these.
    Magic(&'static [&'static [u8]]),
    /// Returns whether the first bytes are accepted.
    Other(fn(&[u8]) -> bool),
}

/// Properties of the files with some suffixes.
struct Row {
    /// In lower case.
    suffixes: &'static [&'static str],
    check: HeadCheck,
    /// Content codings that are the file's own format. Some servers send such a `Content-Encoding`
    /// although they do not encode the file again.
    codings: &'static [&'static str],
}

/// All known file types. Files with other suffixes are not checked.
const TABLE: [Row; 13] = [
    Row {
        suffixes: &[".gz", ".tgz", ".crate"],
        check: HeadCheck::Magic(&[b"\x1f\x8b"]),
        codings: &["gzip", "x-gzip"],
    },
    Row {
        suffixes: &[".xz", ".txz"],
        check: HeadCheck::Magic(&[b"\xfd7zXZ\x00"]),
        codings: &["xz", "x-xz"],
    },
    Row {
        suffixes: &[".bz2", ".tbz", ".tbz2"],
        check: HeadCheck::Magic(&[b"BZh"]),
        codings: &["bzip2", "x-bzip2"],
    },
    Row {
        suffixes: &[".zst", ".tzst"],
        check: HeadCheck::Other(is_zstd),
        codings: &["zstd"],
    },
    Row {
        suffixes: &[".lz"],
        check: HeadCheck::Magic(&[b"LZIP"]),
        codings: &[],
    },
    Row {
        suffixes: &[".zip", ".jar", ".whl"],
        check: HeadCheck::Magic(&[b"PK\x03\x04", b"PK\x05\x06"]),
        codings: &[],
    },
    Row {
        suffixes: &[".7z"],
        check: HeadCheck::Magic(&[b"7z\xbc\xaf\x27\x1c"]),
        codings: &[],
    },
    Row {
        suffixes: &[".rpm"],
        check: HeadCheck::Magic(&[b"\xed\xab\xee\xdb"]),
        codings: &[],
    },
    Row {
        suffixes: &[".deb", ".udeb"],
        check: HeadCheck::Magic(&[AR_MAGIC]),
        codings: &[],
    },
    Row {
        suffixes: &[".a"],
        check: HeadCheck::Magic(&[AR_MAGIC]),
        codings: &[],
    },
    Row {
        suffixes: &[".tar", ".gem"],
        check: HeadCheck::Other(is_tar),
        codings: &[],
    },
    Row {
        suffixes: &[".lzma"],
        check: HeadCheck::Magic(&[b"\x5d\x00\x00"]),
        codings: &[],
    },
    // These files have no magic bytes, but they are never HTML pages.
    Row {
        suffixes: &[
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
        ],
        check: HeadCheck::Other(is_not_html),
        codings: &[],
    },
];

/// Formats of forge archives, by the third segment of their path, with the suffix of such a file.
const FORGE_FORMATS: [(&str, &str); 4] = [
    ("tar.gz", ".gz"),
    ("legacy.tar.gz", ".gz"),
    ("zip", ".zip"),
    ("legacy.zip", ".zip"),
];

/// Expected file type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// Known file type: the index of its row in the table.
    Known(usize),
    /// File of another type. Any body but an HTML page is accepted.
    NotHtml,
    /// Any body is accepted.
    Unchecked,
}

impl FileType {
    /// Returns the file type of the last segment of a path.
    ///
    /// A trailing `/download` is ignored. If the segment is a ref of a forge archive, the path
    /// segment with the archive format decides.
    #[must_use]
    pub fn from_path(path: &str) -> Self {
        Self::from_file_name(path)
            .or_else(|| Self::from_suffix(forge_archive_suffix(path)?))
            .unwrap_or(Self::Unchecked)
    }

    /// Returns the file type of the last segment of a path, if its suffix is known.
    fn from_file_name(path: &str) -> Option<Self> {
        Self::from_suffix(&file_name(path))
    }

    fn from_suffix(name: &str) -> Option<Self> {
        let row = TABLE
            .iter()
            .position(|row| row.suffixes.iter().any(|suffix| name.ends_with(suffix)));
        row.map(Self::Known)
    }

    /// Returns whether a content coding is the own format of the file that the last segment of a
    /// path names.
    #[must_use]
    pub fn is_own_coding(path: &str, coding: &str) -> bool {
        match Self::from_file_name(path) {
            Some(Self::Known(row)) => TABLE[row].codings.contains(&coding),
            Some(Self::NotHtml | Self::Unchecked) | None => false,
        }
    }

    /// Returns how many of the first bytes [`FileType::matches`] needs.
    #[must_use]
    pub fn sniff_bytes(self) -> usize {
        match self {
            Self::Known(_) | Self::NotHtml => FILE_TYPE_SNIFF_BYTES,
            Self::Unchecked => 0,
        }
    }

    /// Returns whether `head`, the first bytes of a body or a whole short body, has this file type.
    #[must_use]
    pub fn matches(self, head: &[u8]) -> bool {
        match self {
            Self::Unchecked => true,
            Self::NotHtml => is_not_html(head),
            Self::Known(row) => match &TABLE[row].check {
                HeadCheck::Magic(magics) => magics.iter().any(|magic| head.starts_with(magic)),
                HeadCheck::Other(is_accepted) => is_accepted(head),
            },
        }
    }
}

/// Returns the last segment of a path in lower case, without a trailing `/download`.
fn file_name(path: &str) -> String {
    let name = without_download(path).rsplit('/').next();
    name.unwrap_or_default().to_ascii_lowercase()
}

/// Removes the last segment `/download`, which some sites append to the URL of a file.
fn without_download(path: &str) -> &str {
    const DOWNLOAD: &str = "/download";
    match path.len().checked_sub(DOWNLOAD.len()) {
        Some(end)
            if path
                .get(end..)
                .is_some_and(|tail| tail.eq_ignore_ascii_case(DOWNLOAD)) =>
        {
            &path[..end]
        }
        _ => path,
    }
}

/// Returns the suffix that an archive of a forge would have:
/// `/<owner>/<repository>/tar.gz/<ref>`, `/legacy.tar.gz/`, `/zip/`, `/legacy.zip/`.
fn forge_archive_suffix(path: &str) -> Option<&'static str> {
    let mut segments = without_download(path).split('/').skip(3);
    let format = segments.next()?;
    segments.next().filter(|reference| !reference.is_empty())?;
    FORGE_FORMATS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(format))
        .map(|(_, suffix)| *suffix)
}

/// Returns whether `head` is not HTML. HTML may begin with a byte order mark and white space.
fn is_not_html(head: &[u8]) -> bool {
    let head = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    let begins_with = |text: &[u8]| {
        head.get(..text.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(text))
    };
    !begins_with(b"<!doctype html") && !begins_with(b"<html")
}

/// Returns whether `head` begins with a zstd frame. A skippable frame may come before it (RFC 8878,
/// section 3.1.2).
fn is_zstd(head: &[u8]) -> bool {
    let is_skippable = matches!(head, [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50);
    head.starts_with(b"\x28\xb5\x2f\xfd") || is_skippable
}

/// Returns whether `head` is a tar header. POSIX and GNU tar have magic bytes. The tar of 1979 has
/// only a checksum.
fn is_tar(head: &[u8]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_suffix_is_checked() {
        for suffix in TABLE.iter().flat_map(|row| row.suffixes) {
            let path = format!("/x-1.0{suffix}");
            assert!(
                matches!(FileType::from_path(&path), FileType::Known(_)),
                "{suffix}"
            );
        }
    }

    #[test]
    fn other_file_is_any_body_but_page() {
        for (body, fits) in [
            (&b""[..], true),
            (b"#!/bin/sh", true),
            (b"{}", true),
            (b"\n<!DOCTYPE html>", false),
            (b"<HTML>", false),
        ] {
            assert_eq!(FileType::NotHtml.matches(body), fits, "{body:?}");
        }
    }

    #[test]
    fn content_coding_may_repeat_own_format() {
        for (path, coding, is_own) in [
            ("/x.tar.gz", "gzip", true),
            ("/x.TGZ/download", "x-gzip", true),
            ("/x.tbz", "bzip2", true),
            ("/x.tar.xz", "gzip", false),
            ("/x.deb", "gzip", false),
            ("/x", "gzip", false),
        ] {
            assert_eq!(FileType::is_own_coding(path, coding), is_own, "{path}");
        }
    }

    #[test]
    fn tar_without_magic_is_detected_by_checksum() {
        let file_type = FileType::from_path("/x-1.0.tar");
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
        let file_type = FileType::from_path("/x-1.0.tar.gz.asc");
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
            assert_eq!(FileType::from_path(path).matches(head), fits, "{path}");
        }
    }

    #[test]
    fn zstd_may_begin_with_skippable_frame() {
        let file_type = FileType::from_path("/x.tar.zst");
        assert!(
            file_type.matches(b"\x28\xb5\x2f\xfd...")
                && file_type.matches(b"\x5f\x2a\x4d\x18...")
                && !file_type.matches(b"\x60\x2a\x4d\x18")
        );
    }
}
