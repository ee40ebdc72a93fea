//! Entries of a tar archive (POSIX ustar, with the extensions of pax and GNU that names and sizes
//! need).
//!
//! Only headers are read. Nothing is written to a name of the archive, and no link is followed. The
//! main type is [`TarEntries`].

use std::io::{self, Read, Seek, SeekFrom};

/// Size of headers, and unit of the lengths of contents.
const BLOCK_BYTES: u64 = 512;

/// Bound on the entries of an archive. Images have some hundred.
const MAX_ENTRIES: usize = 100_000;

/// Bound on the content of an extended header, in bytes: a long name or some fields.
const MAX_EXTENSION_BYTES: u64 = 64 << 10;

/// First bytes of compressed files: gzip, zstd, xz and bzip2.
const COMPRESSED: [&[u8]; 4] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh"];

/// Error returned for an archive that cannot be read. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    #[error("it is compressed; decompress it first, for example with gunzip")]
    Compressed,
    #[error("it is no tar archive, or damaged")]
    NoArchive,
    #[error("it ends before the end that its entries state, so it is incomplete")]
    Truncated,
    #[error("an entry has a name that leads out of the archive: {0}")]
    OutsideName(String),
    #[error("it has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    #[error("a header has more than {MAX_EXTENSION_BYTES} bytes")]
    LongHeader,
}

/// Kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TarEntryKind {
    File,
    /// A folder, a link or a device, which has no content here.
    Other,
}

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    /// Name without a leading `./`. It has no dot segments.
    pub name: String,
    pub kind: TarEntryKind,
    /// Place of the content in the archive.
    pub offset: u64,
    pub size_bytes: u64,
}

/// Reads the entries of an archive, one after the other.
pub struct TarEntries<R> {
    archive: R,
    archive_bytes: u64,
    /// Place of the next header.
    offset: u64,
    count: usize,
}

/// Values of extended headers for the next entry.
#[derive(Default)]
struct ExtendedHeader {
    name: Option<String>,
    size_bytes: Option<u64>,
}

impl<R: Read + Seek> TarEntries<R> {
    /// Begins at the first entry.
    ///
    /// # Errors
    /// [`ArchiveError::Unreadable`], or [`ArchiveError::Compressed`].
    pub fn new(mut archive: R) -> Result<Self, ArchiveError> {
        let archive_bytes = archive.seek(SeekFrom::End(0))?;
        let mut head = Vec::new();
        archive.seek(SeekFrom::Start(0))?;
        archive.by_ref().take(8).read_to_end(&mut head)?;
        if COMPRESSED.iter().any(|magic| head.starts_with(magic)) {
            return Err(ArchiveError::Compressed);
        }
        if archive_bytes < BLOCK_BYTES {
            return Err(ArchiveError::NoArchive);
        }
        Ok(Self {
            archive,
            archive_bytes,
            offset: 0,
            count: 0,
        })
    }

    /// Returns the next entry, or `None` at the end.
    ///
    /// # Errors
    /// [`ArchiveError`], after which nothing else can be read.
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>, ArchiveError> {
        let mut extension = ExtendedHeader::default();
        loop {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            self.count += 1;
            if self.count > MAX_ENTRIES {
                return Err(ArchiveError::TooManyEntries);
            }
            let own_size = number(&header[124..136]).ok_or(ArchiveError::NoArchive)?;
            match header[156] {
                kind @ (b'x' | b'g' | b'L' | b'K') => {
                    let content = self.extension(own_size)?;
                    match kind {
                        b'x' => extension.read_pax(&content)?,
                        b'L' => extension.name = Some(text_of(&content)),
                        // Fields for all entries have no name or size, and links are not followed.
                        _ => {}
                    }
                }
                kind => return self.entry(&header, kind, own_size, extension).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        header: &[u8],
        kind: u8,
        own_size: u64,
        extension: ExtendedHeader,
    ) -> Result<TarEntry, ArchiveError> {
        let name = extension.name.unwrap_or_else(|| name_in(header));
        let kind = match kind {
            0 | b'0' | b'7' => TarEntryKind::File,
            _ => TarEntryKind::Other,
        };
        let size_bytes = match kind {
            TarEntryKind::File => extension.size_bytes.unwrap_or(own_size),
            TarEntryKind::Other => 0,
        };
        let entry = TarEntry {
            name: checked_name(&name)?,
            kind,
            offset: self.offset,
            size_bytes,
        };
        self.skip(size_bytes)?;
        Ok(entry)
    }

    /// Reads the header at the present place. Returns `None` at the mark of the end.
    fn header(&mut self) -> Result<Option<Vec<u8>>, ArchiveError> {
        if self.archive_bytes.saturating_sub(self.offset) < BLOCK_BYTES {
            return Err(ArchiveError::Truncated);
        }
        let header = self.read(BLOCK_BYTES)?;
        self.offset += BLOCK_BYTES;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let stated = number(&header[148..156]).ok_or(ArchiveError::NoArchive)?;
        // The sum counts its own field as spaces.
        let sum = header.iter().enumerate().map(|(at, byte)| match at {
            148..156 => u64::from(b' '),
            _ => u64::from(*byte),
        });
        if sum.sum::<u64>() != stated {
            return Err(ArchiveError::NoArchive);
        }
        Ok(Some(header))
    }

    fn extension(&mut self, size_bytes: u64) -> Result<Vec<u8>, ArchiveError> {
        if size_bytes > MAX_EXTENSION_BYTES {
            return Err(ArchiveError::LongHeader);
        }
        let start = self.offset;
        self.skip(size_bytes)?;
        let next = std::mem::replace(&mut self.offset, start);
        let content = self.read(size_bytes);
        self.offset = next;
        content
    }

    /// Goes on behind a content of this length.
    fn skip(&mut self, size_bytes: u64) -> Result<(), ArchiveError> {
        let left_bytes = self.archive_bytes - self.offset;
        if size_bytes > left_bytes {
            return Err(ArchiveError::Truncated);
        }
        let padded = size_bytes.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES);
        self.offset += padded.min(left_bytes);
        Ok(())
    }

    fn read(&mut self, size_bytes: u64) -> Result<Vec<u8>, ArchiveError> {
        self.archive.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        let read_bytes = self
            .archive
            .by_ref()
            .take(size_bytes)
            .read_to_end(&mut bytes)?;
        if read_bytes as u64 != size_bytes {
            return Err(ArchiveError::Truncated);
        }
        Ok(bytes)
    }
}

impl ExtendedHeader {
    /// Reads lines like `17 path=some/name`, whose number is the length of the line.
    fn read_pax(&mut self, content: &[u8]) -> Result<(), ArchiveError> {
        let mut rest = content;
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ');
            let space = space.ok_or(ArchiveError::NoArchive)?;
            let length = std::str::from_utf8(&rest[..space]).ok();
            let length: Option<usize> = length.and_then(|length| length.parse().ok());
            let length = length.filter(|length| (space + 1..=rest.len()).contains(length));
            let (line, after) = rest.split_at(length.ok_or(ArchiveError::NoArchive)?);
            let field = text_of(&line[space + 1..]);
            match field.trim_end_matches('\n').split_once('=') {
                Some(("path", value)) => self.name = Some(value.to_owned()),
                Some(("size", value)) => {
                    let size_bytes = value.parse().map_err(|_| ArchiveError::NoArchive)?;
                    self.size_bytes = Some(size_bytes);
                }
                _ => {}
            }
            rest = after;
        }
        Ok(())
    }
}

/// Returns the name in a header, with its prefix.
fn name_in(header: &[u8]) -> String {
    let name = text_of(&header[..100]);
    let prefix = if header[257..].starts_with(b"ustar\0") {
        text_of(&header[345..500])
    } else {
        String::new()
    };
    if prefix.is_empty() {
        name
    } else {
        format!("{prefix}/{name}")
    }
}

/// Returns the text before the first zero. Bytes that are no text never are a known name.
fn text_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

/// Removes a leading `./`, and rejects names that lead out of the archive.
fn checked_name(name: &str) -> Result<String, ArchiveError> {
    if name.starts_with('/') || name.split('/').any(|segment| segment == "..") {
        return Err(ArchiveError::OutsideName(name.to_owned()));
    }
    Ok(name.trim_start_matches("./").to_owned())
}

/// Parses a number: octal digits, or big-endian bytes behind a first byte of 128.
fn number(field: &[u8]) -> Option<u64> {
    if let [128, bytes @ ..] = field {
        let (high, low) = bytes.split_at(bytes.len().saturating_sub(8));
        let bytes: [u8; 8] = low.try_into().ok()?;
        return high
            .iter()
            .all(|byte| *byte == 0)
            .then(|| u64::from_be_bytes(bytes));
    }
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches(['\0', ' ']);
    if text.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn header(name: &str, kind: u8, size: &str) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..124 + size.len()].copy_from_slice(size.as_bytes());
        header[156] = kind;
        header[148..156].copy_from_slice(b"        ");
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }

    fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut entry = header(name, kind, &format!("{:o}", content.len()));
        entry.extend(content);
        entry.resize(entry.len().div_ceil(512) * 512, 0);
        entry
    }

    fn read(parts: &[Vec<u8>]) -> Result<Vec<TarEntry>, ArchiveError> {
        let mut entries = TarEntries::new(Cursor::new(parts.concat()))?;
        let mut found = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            found.push(entry);
        }
        Ok(found)
    }

    #[test]
    fn entries_have_names_places_and_sizes() {
        let end = vec![0; 1024];
        let long = "d/".repeat(90) + "name";
        let pax = format!("{} path={long}\n", long.len() + 10);
        assert_eq!(pax.len(), long.len() + 10);
        let parts = [
            entry("./manifest.json", b'0', b"[]"),
            entry("folder/", b'5', b""),
            entry("link", b'2', b""),
            entry("x", b'x', pax.as_bytes()),
            entry("short", b'0', &[1; 600]),
            entry("x", b'L', format!("{long}\0").as_bytes()),
            entry("short", 0, b""),
            end,
        ];
        let found = read(&parts).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|entry| {
                (
                    entry.name.as_str(),
                    entry.kind,
                    entry.offset,
                    entry.size_bytes,
                )
            })
            .collect();
        let (file, other) = (TarEntryKind::File, TarEntryKind::Other);
        assert_eq!(
            found[..3],
            [
                ("manifest.json", file, 512, 2),
                ("folder/", other, 1536, 0),
                ("link", other, 2048, 0),
            ]
        );
        assert_eq!(found[3], (long.as_str(), file, 3584, 600));
        assert_eq!((found[4].0, found[4].3), (long.as_str(), 0));
    }

    #[test]
    fn hostile_archives_are_refused() {
        let end = vec![0; 512];
        let refused = |parts: &[Vec<u8>]| read(parts).unwrap_err();
        for name in ["/etc/passwd", "../x", "a/../../x", "a/.."] {
            let parts = [entry(name, b'0', b"x"), end.clone()];
            assert!(
                matches!(refused(&parts), ArchiveError::OutsideName(_)),
                "{name}"
            );
        }
        let whole = entry("a", b'0', &[7; 1000]);
        for length in [513, 1000, 1024, 1536] {
            let cut = [whole[..length].to_vec()];
            assert!(matches!(refused(&cut), ArchiveError::Truncated), "{length}");
        }
        let huge = [header("a", b'0', "77777777777"), end.clone()];
        assert!(matches!(refused(&huge), ArchiveError::Truncated));
        let long = [header("a", b'L', "7777777"), end.clone()];
        assert!(matches!(refused(&long), ArchiveError::LongHeader));
        for content in [
            &b"9999 path=x\n"[..],
            b"path=x",
            b"0 path=x\n",
            b"18446744073709551616 a",
        ] {
            let parts = [entry("x", b'x', content), end.clone()];
            assert!(matches!(refused(&parts), ArchiveError::NoArchive));
        }
        let mut wrong = whole;
        wrong[0] = b'b';
        assert!(matches!(refused(&[wrong]), ArchiveError::NoArchive));
        assert!(matches!(
            refused(&[b"\x1f\x8b\x08".to_vec()]),
            ArchiveError::Compressed
        ));
        assert!(matches!(refused(&[Vec::new()]), ArchiveError::NoArchive));
    }
}
