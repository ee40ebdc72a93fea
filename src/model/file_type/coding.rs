//! Content codings (RFC 9110, section 8.4.1), and whether the first bytes of a body are coded.
//!
//! A shared request accepts no coding. Servers that label files by their suffixes still send
//! `Content-Encoding` for bytes that are the file itself, so the first bytes decide. This file
//! must not know responses. The main type is [`ContentCoding`].

use super::archive::is_zstd;
use super::gzip_content::first_content_bytes;
use super::table::{HeadCheck, TABLE};
use super::{FileType, Kind};

/// Values of `Content-Encoding` that some servers send for a body without any coding.
const NO_CODINGS: [&str; 7] = [
    "",
    "identity",
    "none",
    "binary",
    "7bit",
    "8bit",
    "aws-chunked",
];

/// Beginnings of the names of character encodings, which some servers send by mistake.
const CHARSET_PREFIXES: [&str; 12] = [
    "ascii", "big5", "cp125", "euc-", "gb18030", "gb2312", "gbk", "iso-8859", "latin", "shift",
    "us-ascii", "utf",
];

const GZIP_MAGIC: &[u8] = b"\x1f\x8b";

/// Content codings of a response. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentCoding {
    /// Names in lower case, without `x-`.
    names: Vec<String>,
}

/// Signs of a coding in the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CodingSigns {
    /// The bytes begin as the coding does.
    Coded,
    /// The coding has magic bytes, and they are missing.
    NotCoded,
    /// The coding has no magic bytes. Its result is no text.
    BinaryIfCoded,
    /// Nothing is known about the coding.
    Unknown,
}

impl ContentCoding {
    /// Parses a value of `Content-Encoding`. Returns `None` if it names no coding.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let names: Vec<_> = value
            .split(',')
            .map(|name| name.trim().trim_matches('"').to_ascii_lowercase())
            .filter(|name| names_coding(name))
            .map(|name| name.strip_prefix("x-").unwrap_or(&name).to_owned())
            .collect();
        (!names.is_empty()).then_some(Self { names })
    }

    /// Returns whether gzip is the only coding.
    #[must_use]
    pub fn is_gzip(&self) -> bool {
        matches!(self.names.as_slice(), [name] if name == "gzip")
    }

    /// Returns whether a body of this file type is coded, by its first bytes or a whole short body.
    ///
    /// If nothing shows that the bytes are the file itself, they count as coded.
    #[must_use]
    pub fn is_applied(&self, file_type: FileType, head: &[u8]) -> bool {
        !head.is_empty()
            && self
                .names
                .iter()
                .any(|name| is_coding_applied(name, file_type, head))
    }
}

fn names_coding(name: &str) -> bool {
    let is_charset = CHARSET_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix));
    // A media type is no coding.
    !NO_CODINGS.contains(&name) && !is_charset && !name.contains('/')
}

fn is_coding_applied(name: &str, file_type: FileType, head: &[u8]) -> bool {
    match coding_signs(name, head) {
        CodingSigns::NotCoded => false,
        CodingSigns::Coded => !has_own_format(name, file_type, head),
        CodingSigns::BinaryIfCoded => !file_type.is_recognized(head) && !is_text(head),
        CodingSigns::Unknown => !file_type.is_recognized(head),
    }
}

fn coding_signs(name: &str, head: &[u8]) -> CodingSigns {
    let is_coded = match name {
        "gzip" | "gz" => head.starts_with(GZIP_MAGIC),
        "compress" => head.starts_with(b"\x1f\x9d"),
        "bzip2" | "bzip" | "bz2" => head.starts_with(b"BZh"),
        "xz" => head.starts_with(b"\xfd7zXZ\0"),
        "lzma" => head.starts_with(b"\x5d\0\0"),
        "lzip" => head.starts_with(b"LZIP"),
        "zip" => head.starts_with(b"PK"),
        "zstd" | "zst" => is_zstd(head),
        "tar" => FileType::from_path("/x.tar").matches(head),
        "deflate" | "br" | "brotli" => return CodingSigns::BinaryIfCoded,
        _ => return CodingSigns::Unknown,
    };
    if is_coded {
        CodingSigns::Coded
    } else {
        CodingSigns::NotCoded
    }
}

/// Returns whether a file of this type has the format of the coding, and was not coded once more.
fn has_own_format(name: &str, file_type: FileType, head: &[u8]) -> bool {
    let Kind::Listed(row) = file_type.kind else {
        return false;
    };
    if !TABLE[row].codings.contains(&name) {
        return false;
    }
    let is_twice_coded =
        head.starts_with(GZIP_MAGIC) && first_content_bytes(head).starts_with(GZIP_MAGIC);
    !is_twice_coded || file_type.content == file_type.kind
}

/// Returns whether the bytes are text in an encoding that extends ASCII.
fn is_text(head: &[u8]) -> bool {
    let is_control =
        |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c);
    !head.iter().any(is_control)
        && String::from_utf8_lossy(head)
            .chars()
            .any(char::is_alphabetic)
}

impl FileType {
    /// Returns whether the first bytes show that a body is of this type.
    fn is_recognized(self, head: &[u8]) -> bool {
        let Kind::Listed(row) = self.kind else {
            return false;
        };
        match TABLE[row].check {
            HeadCheck::Magic(_) | HeadCheck::Other(_) => self.kind.accepts(head),
            HeadCheck::NotEmpty | HeadCheck::Anything => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;
    use crate::model::file_type::tests::gzip;

    fn deflate(content: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    }

    fn is_coded(path: &str, value: &str, head: &[u8]) -> bool {
        let coding = ContentCoding::parse(value);
        coding.is_some_and(|coding| coding.is_applied(FileType::from_path(path), head))
    }

    #[test]
    fn label_without_coding_is_ignored() {
        for value in [
            "",
            " ",
            "identity",
            "none",
            "Binary",
            "utf-8",
            "UTF8",
            "iso-8859-1",
            "8bit",
            "text/plain",
            "aws-chunked",
            "identity, utf-8",
            "\"identity\"",
            "GBK",
        ] {
            assert_eq!(ContentCoding::parse(value), None, "{value}");
        }
    }

    #[test]
    fn own_format_is_no_coding() {
        let (tar, twice) = (gzip(b"x.txt"), gzip(&gzip(b"x.txt")));
        for (path, value, head) in [
            ("/x.tar.gz", "gzip", &tar[..]),
            ("/x.TGZ/download", "x-gzip", &tar),
            ("/x.svgz", "gzip", &tar),
            ("/x.apk", "gzip", &tar),
            ("/x.gz.gz", "gzip", &twice),
            ("/x.tbz", "bzip2", b"BZh9"),
            ("/x.tar.bz2", "x-bzip2, identity", b"BZh9"),
            ("/x.tar.xz", "x-xz", b"\xfd7zXZ\0"),
            ("/x.tar.zst", "zstd", b"\x28\xb5\x2f\xfd"),
            ("/x.tar.Z", "x-compress", b"\x1f\x9d\x90"),
            ("/x.tar.lzma", "lzma", b"\x5d\0\0\x80"),
            ("/owner/repo/tar.gz/v1.0", "gzip", &tar),
        ] {
            assert!(!is_coded(path, value, head), "{path} {value}");
        }
    }

    #[test]
    fn first_bytes_contradict_label() {
        let signature = b"-----BEGIN PGP SIGNATURE-----\n\niQ";
        for (path, value, head) in [
            ("/x.tar.gz.asc", "x-gzip", &signature[..]),
            ("/x.tar.gz.sig", "x-gzip", b"\x88\x5d\x04"),
            ("/x.tar.xz", "gzip", b"\xfd7zXZ\0"),
            ("/x.tar.gz", "br", b"\x1f\x8b\x08"),
            ("/x.tar.gz", "x-unknown", b"\x1f\x8b\x08"),
            ("/x.zip", "deflate", b"PK\x03\x04"),
            ("/x.txt", "gzip", b"text"),
            ("/x.txt", "br", b"a text\n"),
            ("/x.patch", "deflate", b"--- a/x\n+++ b/x\n"),
            ("/x-1.0", "tar", b"text"),
            ("/x.empty", "gzip", b""),
        ] {
            assert!(!is_coded(path, value, head), "{path} {value}");
        }
    }

    #[test]
    fn coded_bytes_are_recognized() {
        let text = b"some text, and some more text\n".repeat(9);
        let (coded, twice) = (gzip(&text), gzip(&gzip(b"x.txt")));
        for (path, value, head) in [
            ("/x.txt", "gzip", &coded[..]),
            ("/x.patch", "x-gzip", &coded),
            ("/x-1.0.sha256", "gzip", &coded),
            ("/x-1.0", "gzip", &coded),
            ("/x.bin", "gzip", &coded),
            ("/x.tar", "gzip", &coded),
            ("/x.tar.xz", "gzip", &coded),
            ("/x.tar.gz", "gzip", &twice),
            ("/x.txt", "identity, gzip", &coded),
            ("/x.txt", "deflate", &deflate(&text)),
            ("/x.txt", "br", b"\x0b\x02\x80text\x03"),
            ("/x.txt", "base64", b"c29tZSB0ZXh0Cg=="),
            ("/x.txt", "zstd", b"\x28\xb5\x2f\xfd\x04"),
        ] {
            assert!(is_coded(path, value, head), "{path} {value}");
        }
    }
}
