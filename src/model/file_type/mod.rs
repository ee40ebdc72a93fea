//! File types by name: their first bytes, and their content codings.
//!
//! A name may promise a format. `table` has the formats, `markup` recognizes pages and errors in
//! place of a file, and `companion` recognizes signatures, checksum lists and patches. `coding`
//! recognizes content codings. `name` reads paths. The module decides nothing about requests. The
//! main type is [`FileType`].

mod archive;
mod coding;
mod companion;
mod gzip_content;
mod markup;
mod name;
mod table;
mod wrong_file;

use gzip_content::first_content_bytes;
use markup::Markup;
use name::{file_name, forge_archive_suffix, has_suffix, is_checksum_list, is_raw_file};
use table::{HeadCheck, TABLE};

pub use coding::ContentCoding;
pub use markup::FILE_TYPE_SNIFF_BYTES;
pub use wrong_file::WrongFile;

/// Suffixes of gzip files that hold a tar archive, although the name does not end with `.tar.gz`.
const TAR_GZ_SUFFIXES: [&str; 2] = [".tgz", ".crate"];

/// Suffixes of source files that servers take for those of recordings.
const RECORDING_SUFFIXES: [&str; 12] = [
    ".cts", ".def", ".dts", ".dtsi", ".dtso", ".m3u", ".mod", ".mpl", ".mts", ".qm", ".ts", ".tsx",
];

/// Expected file type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileType {
    kind: Kind,
    /// Kind of the content of a gzip file.
    content: Kind,
}

/// Promise of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A row of the table, by its index.
    Listed(usize),
    /// A file that is no web page.
    File,
    /// Nothing. Any body is accepted.
    Anything,
}

impl Kind {
    /// Returns the kind of a file name in lower case.
    fn of_name(name: &str) -> Self {
        match Self::listed(name) {
            Some(listed) => listed,
            None if has_suffix(name) => Self::File,
            None => Self::Anything,
        }
    }

    fn listed(name: &str) -> Option<Self> {
        let name = if is_checksum_list(name) {
            ".sha256"
        } else {
            name
        };
        TABLE
            .iter()
            .position(|row| row.suffixes.iter().any(|suffix| name.ends_with(suffix)))
            .map(Self::Listed)
    }

    fn markup(self) -> Markup {
        match self {
            Self::Listed(row) => TABLE[row].markup,
            Self::File => Markup::NoPage,
            Self::Anything => Markup::Any,
        }
    }

    fn accepts(self, head: &[u8]) -> bool {
        let Self::Listed(row) = self else {
            return self.markup().accepts(head);
        };
        let has_form = match &TABLE[row].check {
            HeadCheck::Magic(magics) => magics.iter().any(|magic| head.starts_with(magic)),
            HeadCheck::Other(is_accepted) => is_accepted(head),
            HeadCheck::NotEmpty => !head.is_empty(),
            HeadCheck::Anything => true,
        };
        has_form && self.markup().accepts(head)
    }
}

impl FileType {
    /// Any body is accepted.
    pub const UNCHECKED: Self = Self {
        kind: Kind::Anything,
        content: Kind::Anything,
    };

    /// Any body but a web page is accepted.
    pub const NO_PAGE: Self = Self {
        kind: Kind::File,
        content: Kind::Anything,
    };

    /// Returns the file type of the last segment of a path, or of a file name.
    ///
    /// A trailing `/download` is ignored. If the segment is a ref of a forge archive, the path
    /// segment with the archive format decides.
    #[must_use]
    pub fn from_path(path: &str) -> Self {
        let name = file_name(path);
        match Kind::listed(&name) {
            Some(_) => Self::from_name(&name),
            None => match forge_archive_suffix(path) {
                Some(suffix) => Self::from_name(suffix),
                None if is_raw_file(path) => Self {
                    kind: Kind::File,
                    ..Self::UNCHECKED
                },
                None => Self::from_name(&name),
            },
        }
    }

    fn from_name(name: &str) -> Self {
        let content = if TAR_GZ_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            Kind::of_name(".tar")
        } else {
            name.strip_suffix(".gz")
                .map_or(Kind::Anything, Kind::of_name)
        };
        Self {
            kind: Kind::of_name(name),
            content,
        }
    }

    /// Returns whether a path names a source file, an archive or a companion of one, so that the
    /// media type of a recording is a mistake of the server.
    #[must_use]
    pub fn names_source(path: &str) -> bool {
        let name = file_name(path);
        let is_source = match Self::from_path(path).kind {
            Kind::Listed(row) => !TABLE[row].may_be_recording,
            Kind::File | Kind::Anything => false,
        };
        is_source
            || RECORDING_SUFFIXES
                .iter()
                .any(|suffix| name.ends_with(suffix))
    }

    /// Returns how many of the first bytes [`FileType::matches`] needs.
    #[must_use]
    pub fn sniff_bytes(self) -> usize {
        if self == Self::UNCHECKED {
            0
        } else {
            FILE_TYPE_SNIFF_BYTES
        }
    }

    /// Returns whether `head`, the first bytes of a body or a whole short body, may be of this file
    /// type.
    ///
    /// A web page or an error in place of the file is no match, also as the content of a gzip file.
    #[must_use]
    pub fn matches(self, head: &[u8]) -> bool {
        self.kind.accepts(head)
            && (self.content == Kind::Anything
                || self.content.markup().accepts(&first_content_bytes(head)))
    }

    /// Returns whether `head` may be of this file type, where `label` is the `Content-Encoding`.
    ///
    /// A coding that the first bytes have is decoded. If Millpond cannot decode it, a page is not
    /// distinguishable from the file, so that the body is no match.
    #[must_use]
    pub fn matches_labelled(self, label: &str, head: &[u8]) -> bool {
        let coding = ContentCoding::parse(label);
        match coding.filter(|coding| coding.is_applied(self, head)) {
            _ if self == Self::UNCHECKED => true,
            None => self.matches(head),
            Some(coding) if coding.is_gzip() => self.matches(&first_content_bytes(head)),
            Some(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// Returns `content` in gzip.
    pub fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    }

    #[test]
    fn every_known_suffix_is_checked() {
        for suffix in TABLE.iter().flat_map(|row| row.suffixes) {
            let path = format!("/x-1.0{suffix}");
            assert_ne!(FileType::from_path(&path), FileType::UNCHECKED, "{suffix}");
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
            assert_eq!(FileType::NO_PAGE.matches(body), fits, "{body:?}");
        }
    }

    #[test]
    fn recordings_are_no_sources() {
        for (path, is_source) in [
            ("/po/x_de.ts", true),
            ("/dts/board.DTS", true),
            ("/x/go.mod", true),
            ("/x-1.0.tar.gz", true),
            ("/x-1.0.rpm/download", true),
            ("/x.tar.gz.sig", true),
            ("/src/x.c", true),
            ("/owner/repo/tar.gz/v1.0", true),
            ("/x.mp3", false),
            ("/x.webm", false),
            ("/x.bin", false),
            ("/x.avi", false),
            ("/x", false),
        ] {
            assert_eq!(FileType::names_source(path), is_source, "{path}");
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
        for path in ["/x-1.0.tar.gz.asc", "/x-1.0.patch", "/x-1.0.sha256"] {
            for page in [
                "",
                "<html><body>",
                "\n <!DOCTYPE html>",
                "\u{feff}<!doctype HTML>",
                "{\"message\": \"API rate limit exceeded\"}",
                "404: Not Found",
            ] {
                let file_type = FileType::from_path(path);
                assert!(!file_type.matches(page.as_bytes()), "{path}: {page}");
            }
        }
        for (path, file) in [
            ("/x-1.0.tar.gz.asc", "-----BEGIN PGP SIGNATURE-----"),
            ("/x-1.0.patch", "diff --git a/x.html b/x.html\n+<html>"),
        ] {
            assert!(FileType::from_path(path).matches(file.as_bytes()), "{file}");
        }
    }

    #[test]
    fn name_decides_which_bodies_match() {
        let (page, json) = ("<!DOCTYPE html><html>", "{\"message\": \"Not Found\"}");
        let (xml, line) = ("<?xml version=\"1.0\"?><a>", "404: Not Found");
        for (path, accepted) in [
            ("/x-1.0.bin", ""),
            ("/x-1.0.py", "e"),
            ("/x.json", "j"),
            ("/x.svg", "x"),
            ("/x.txt", "jxe"),
            ("/x.unknown", "jxe"),
            ("/owner/x/raw/v1.0/LICENSE", "jxe"),
            ("/owner/x/raw/v1.0/index.html", "pjxle"),
            ("/x.html", "pjxle"),
            ("/x.md", "pjxle"),
            ("/x-1.0", "pjxle"),
            ("/x/", "pjxle"),
            ("/", "pjxle"),
            ("/sha256sums", ""),
            ("/SHA512SUMS.txt", ""),
        ] {
            let file_type = FileType::from_path(path);
            for (mark, body) in [('p', page), ('j', json), ('x', xml), ('l', line), ('e', "")] {
                let is_match = file_type.matches(body.as_bytes());
                assert_eq!(is_match, accepted.contains(mark), "{path}: {body}");
            }
        }
    }

    #[test]
    fn coded_page_does_not_match_archive() {
        let page = format!("<!DOCTYPE html>{}", " text".repeat(500));
        for (path, content, is_match) in [
            ("/x.tar.gz", &page[..], false),
            ("/x.tgz", &page, false),
            ("/x.crate", "{\"errors\": []}", false),
            ("/owner/repo/tar.gz/v1.0", &page, false),
            ("/x.tar.gz", "404: Not Found", false),
            ("/x.patch.gz", &page, false),
            ("/x.html.gz", &page, true),
            ("/x.json.gz", "{\"a\": 1}", true),
            ("/Packages.gz", &page, true),
            ("/x.tar.gz", "x.txt", true),
            ("/x.tar.gz", "", true),
        ] {
            let coded = gzip(content.as_bytes());
            let head = &coded[..coded.len().min(FILE_TYPE_SNIFF_BYTES)];
            assert_eq!(FileType::from_path(path).matches(head), is_match, "{path}");
        }
    }

    #[test]
    fn content_coding_hides_no_page() {
        let (page, json) = (gzip(b"<!DOCTYPE html><html>"), gzip(b"{\"a\": 1}"));
        let zstd = b"\x28\xb5\x2f\xfd\x04\x00\x11\x00".to_vec();
        for (path, label, head, is_match) in [
            ("/x.json", "gzip", &page, false),
            ("/x.json", "gzip", &json, true),
            ("/x.json", "zstd", &zstd, false),
            ("/x.json", "br", &page, false),
            ("/x.tar.gz", "gzip", &page, false),
            ("/x.html", "gzip", &page, true),
            ("/x", "zstd", &page, true),
            ("/x.json", "", &b"{}".to_vec(), true),
        ] {
            let file_type = FileType::from_path(path);
            let found = file_type.matches_labelled(label, head);
            assert_eq!(found, is_match, "{path} {label:?}");
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
