//! What a name says that a body is, and whether the first bytes agree.

/// How many bytes are looked at before an archive's head is sent.
pub const KIND_SNIFF_BYTES: usize = 512;

/// Where the mark of an archive lies in its first bytes.
struct Mark {
    suffixes: &'static [&'static str],
    offset: usize,
    bytes: &'static [&'static [u8]],
}

/// Suffixes whose bodies begin with a known mark. Names that are not here are not judged.
const MARKS: [Mark; 11] = [
    Mark { suffixes: &[".gz", ".tgz", ".crate", ".apk"], offset: 0, bytes: &[b"\x1f\x8b"] },
    Mark { suffixes: &[".xz", ".txz"], offset: 0, bytes: &[b"\xfd7zXZ\x00"] },
    Mark { suffixes: &[".bz2", ".tbz", ".tbz2"], offset: 0, bytes: &[b"BZh"] },
    // A skippable frame may come before the first zstd frame (RFC 8878, section 3.1.2).
    Mark { suffixes: &[".zst", ".tzst"], offset: 0, bytes: &[b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"] },
    Mark { suffixes: &[".lz"], offset: 0, bytes: &[b"LZIP"] },
    Mark { suffixes: &[".zip", ".jar", ".whl"], offset: 0, bytes: &[b"PK\x03\x04", b"PK\x05\x06"] },
    Mark { suffixes: &[".7z"], offset: 0, bytes: &[b"7z\xbc\xaf\x27\x1c"] },
    Mark { suffixes: &[".rpm"], offset: 0, bytes: &[b"\xed\xab\xee\xdb"] },
    Mark { suffixes: &[".deb", ".a"], offset: 0, bytes: &[b"!<arch>\n"] },
    // POSIX and GNU tar alike. The tar of 1979 has no mark, and no upstream has been seen to use it.
    Mark { suffixes: &[".tar", ".gem"], offset: 257, bytes: &[b"ustar"] },
    Mark { suffixes: &[".lzma"], offset: 0, bytes: &[b"\x5d\x00\x00"] },
];

/// What the body of a name has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An archive whose mark is known: the index of its row in the table.
    Marked(usize),
    /// Anything goes.
    Unjudged,
}

impl Kind {
    /// What the last segment of a path promises. A `/download` behind an archive name is not part of it.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let path = path.strip_suffix("/download").unwrap_or(path);
        let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        MARKS
            .iter()
            .position(|mark| mark.suffixes.iter().any(|suffix| name.ends_with(suffix)))
            .map_or(Self::Unjudged, Self::Marked)
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
                mark.bytes.iter().any(|bytes| at_mark.starts_with(bytes))
            }
        }
    }
}
