//! The table of file types: what the first bytes of a file with some suffix may be.

use super::archive::{AR_MAGIC, is_tar, is_zstd};
use super::companion::{is_armor_or_asciidoc, is_checksum_list, is_patch, is_signature};
use super::markup::Markup;

/// Check of the first bytes of a file.
pub enum HeadCheck {
    /// The file begins with one of these.
    Magic(&'static [&'static [u8]]),
    /// Returns whether the first bytes are accepted.
    Other(fn(&[u8]) -> bool),
    NotEmpty,
    /// Every file is accepted, also an empty one.
    Anything,
}

/// Properties of the files with some suffixes.
pub struct Row {
    /// In lower case.
    pub suffixes: &'static [&'static str],
    /// Markup with which such a file may begin. It is checked before `check`.
    pub markup: Markup,
    pub check: HeadCheck,
    /// Content codings that are the file's own format, without `x-`. Some servers send such a
    /// `Content-Encoding` although they do not encode the file again.
    pub codings: &'static [&'static str],
    /// Whether some of these files are audio or video.
    pub may_be_recording: bool,
}

impl Row {
    const fn new(suffixes: &'static [&'static str], check: HeadCheck) -> Self {
        Self {
            suffixes,
            markup: Markup::Nothing,
            check,
            codings: &[],
            may_be_recording: false,
        }
    }

    const fn with_recordings(self) -> Self {
        Self {
            may_be_recording: true,
            ..self
        }
    }

    const fn coded(self, codings: &'static [&'static str]) -> Self {
        Self { codings, ..self }
    }

    const fn with_markup(
        suffixes: &'static [&'static str],
        markup: Markup,
        check: HeadCheck,
    ) -> Self {
        Self {
            suffixes,
            markup,
            check,
            codings: &[],
            may_be_recording: false,
        }
    }
}

/// All known file types. The first row with a suffix of the name counts.
pub const TABLE: [Row; 25] = [
    Row::new(&[".gz", ".tgz", ".crate"], HeadCheck::Magic(&[b"\x1f\x8b"])).coded(&["gzip", "gz"]),
    Row::new(&[".xz", ".txz"], HeadCheck::Magic(&[b"\xfd7zXZ\x00"])).coded(&["xz"]),
    Row::new(&[".bz2", ".tbz", ".tbz2"], HeadCheck::Magic(&[b"BZh"]))
        .coded(&["bzip2", "bzip", "bz2"]),
    Row::new(&[".zst", ".tzst"], HeadCheck::Other(is_zstd)).coded(&["zstd", "zst"]),
    Row::new(&[".lz"], HeadCheck::Magic(&[b"LZIP"])).coded(&["lzip"]),
    Row::new(
        &[".zip", ".jar", ".whl"],
        HeadCheck::Magic(&[b"PK\x03\x04", b"PK\x05\x06"]),
    )
    .coded(&["zip"]),
    Row::new(&[".7z"], HeadCheck::Magic(&[b"7z\xbc\xaf\x27\x1c"])),
    Row::new(&[".rpm"], HeadCheck::Magic(&[b"\xed\xab\xee\xdb"])),
    Row::new(&[".deb", ".udeb"], HeadCheck::Magic(&[AR_MAGIC])),
    Row::with_markup(&[".a"], Markup::Nothing, HeadCheck::Magic(&[AR_MAGIC])),
    Row::new(&[".tar", ".gem"], HeadCheck::Other(is_tar)).coded(&["tar"]),
    Row::new(&[".lzma"], HeadCheck::Magic(&[b"\x5d\x00\x00"])).coded(&["lzma"]),
    Row::new(&[".patch", ".diff"], HeadCheck::Other(is_patch)),
    Row::new(&[".asc"], HeadCheck::Other(is_armor_or_asciidoc)),
    Row::new(
        &[".sig", ".sign", ".minisig"],
        HeadCheck::Other(is_signature),
    ),
    Row::new(
        &[
            ".md5",
            ".md5sum",
            ".sha1",
            ".sha256",
            ".sha256sum",
            ".sha512",
            ".sha512sum",
        ],
        HeadCheck::Other(is_checksum_list),
    ),
    Row::with_markup(
        CHECKSUM_SUFFIXES,
        Markup::Nothing,
        HeadCheck::Other(is_checksum_list),
    ),
    // These files have no magic bytes, or several. They are neither empty nor markup.
    Row::new(
        &[".apk", ".ipk", ".rda", ".rds", ".svgz"],
        HeadCheck::NotEmpty,
    )
    .coded(&["gzip", "gz"]),
    Row::new(&[".z"], HeadCheck::NotEmpty).coded(&["compress", "gzip", "gz"]),
    Row::new(
        &[".cab", ".dsc", ".egg", ".iso", ".nupkg"],
        HeadCheck::NotEmpty,
    ),
    Row::with_markup(BINARY_SUFFIXES, Markup::Nothing, HeadCheck::NotEmpty).with_recordings(),
    Row::with_markup(SOURCE_SUFFIXES, Markup::Nothing, HeadCheck::Anything),
    Row::with_markup(JSON_SUFFIXES, Markup::Json, HeadCheck::NotEmpty),
    Row::with_markup(XML_SUFFIXES, Markup::Xml, HeadCheck::NotEmpty),
    Row::with_markup(PAGE_SUFFIXES, Markup::Any, HeadCheck::Anything),
];

/// Checksum lists whose suffix says nothing about their class.
const CHECKSUM_SUFFIXES: &[&str] = &[
    ".b2",
    ".b2sum",
    ".b3",
    ".b3sum",
    ".blake2b",
    ".rmd160",
    ".sha",
    ".sha1sum",
    ".sha224",
    ".sha224sum",
    ".sha3",
    ".sha384",
    ".sha384sum",
];

const BINARY_SUFFIXES: &[&str] = &[
    ".aar",
    ".appimage",
    ".bin",
    ".br",
    ".class",
    ".conda",
    ".cpio",
    ".dll",
    ".dmg",
    ".dylib",
    ".ear",
    ".efi",
    ".elf",
    ".exe",
    ".flatpak",
    ".gif",
    ".gpg",
    ".ico",
    ".img",
    ".jpeg",
    ".jpg",
    ".lz4",
    ".lzo",
    ".mo",
    ".mp3",
    ".mp4",
    ".msi",
    ".o",
    ".ogg",
    ".otf",
    ".ova",
    ".pdf",
    ".pkg",
    ".png",
    ".pyc",
    ".qcow2",
    ".rar",
    ".rom",
    ".run",
    ".snap",
    ".so",
    ".squashfs",
    ".ttf",
    ".vmdk",
    ".vsix",
    ".war",
    ".wav",
    ".webm",
    ".webp",
    ".woff",
    ".woff2",
    ".xpi",
    ".zck",
];

/// Sources and scripts, which begin neither like a JSON object nor like XML.
const SOURCE_SUFFIXES: &[&str] = &[
    ".ac", ".am", ".awk", ".bash", ".c", ".cc", ".cmake", ".cpp", ".cxx", ".ebuild", ".el", ".f",
    ".f90", ".go", ".h", ".hh", ".hpp", ".hs", ".hxx", ".java", ".kt", ".m4", ".mk", ".ml", ".py",
    ".rb", ".rs", ".s", ".scala", ".sed", ".sh", ".spec", ".sty", ".tcl", ".tex", ".toml", ".vim",
];

const JSON_SUFFIXES: &[&str] = &[
    ".geojson",
    ".har",
    ".ipynb",
    ".json",
    ".jsonld",
    ".map",
    ".sigstore",
    ".webmanifest",
];

const XML_SUFFIXES: &[&str] = &[
    ".atom", ".csproj", ".gpx", ".kml", ".nuspec", ".plist", ".pom", ".rng", ".rss", ".svg", ".ui",
    ".wsdl", ".xlf", ".xml", ".xsd", ".xsl", ".xslt",
];

/// Pages, programs that write pages, templates of pages, and texts that may contain HTML.
const PAGE_SUFFIXES: &[&str] = &[
    ".asp",
    ".aspx",
    ".cgi",
    ".ejs",
    ".erb",
    ".hbs",
    ".hta",
    ".htc",
    ".htm",
    ".html",
    ".in",
    ".j2",
    ".jinja",
    ".jinja2",
    ".jsp",
    ".liquid",
    ".lua",
    ".markdown",
    ".md",
    ".mht",
    ".mhtml",
    ".mustache",
    ".njk",
    ".php",
    ".phtml",
    ".pl",
    ".shtml",
    ".svelte",
    ".tmpl",
    ".tpl",
    ".tt",
    ".twig",
    ".vue",
    ".xht",
    ".xhtml",
];
