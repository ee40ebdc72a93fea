//! Parses a document. It may come from anywhere, so that all its parts are bounded and checked.

use std::borrow::Cow;

use quick_xml::escape::{resolve_xml_entity, unescape};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use super::{MAX_URLS, Metalink, MetalinkUrl, is_file_name};
use crate::model::{MAX_PIECES, PIECE_BYTES, PieceList, Sha256};

/// Longest document, in bytes. One with all pieces of the largest list takes half of it.
pub const MAX_METALINK_BYTES: usize = 16 << 20;

/// Deepest element that is read. A document has four levels.
const MAX_DEPTH: usize = 16;

/// Longest text of an element that is read, in bytes. The longest is a URL.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// Priority of a source that states none (RFC 5854, section 4.2.16.2).
const LOWEST_PRIORITY: u32 = 999_999;

/// Error returned for a document that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetalinkError {
    #[error("no XML document: {0}")]
    Xml(String),
    #[error("the document is too long or too deep")]
    TooLarge,
    #[error("the document has no file with a name, a size and a SHA-256")]
    NoFile,
}

impl From<quick_xml::Error> for MetalinkError {
    fn from(error: quick_xml::Error) -> Self {
        Self::Xml(error.to_string())
    }
}

impl Metalink {
    /// Parses the first file of a document. Pieces of another length or algorithm are left out, as
    /// are sources that are not http or https.
    ///
    /// # Errors
    /// [`MetalinkError`].
    pub fn parse(document: &str) -> Result<Self, MetalinkError> {
        if document.len() > MAX_METALINK_BYTES {
            return Err(MetalinkError::TooLarge);
        }
        let mut reader = Reader::from_str(document);
        let (mut path, mut text, mut found) = (Vec::new(), String::new(), FoundParts::default());
        loop {
            match reader.read_event()? {
                Event::Start(start) => {
                    let name = start.local_name().as_ref().to_vec();
                    if path.len() >= MAX_DEPTH {
                        return Err(MetalinkError::TooLarge);
                    }
                    path.push(name);
                    found.begin(&names_of(&path), &start)?;
                    text.clear();
                }
                Event::End(_) => {
                    found.end(&names_of(&path), text.trim_ascii())?;
                    text.clear();
                    let is_end_of_file = names_of(&path) == [METALINK, FILE];
                    path.pop();
                    if is_end_of_file {
                        return found.finish();
                    }
                }
                Event::Text(part) => text += &part.decode().map_err(quick_xml::Error::from)?,
                Event::CData(part) => text += &part.decode().map_err(quick_xml::Error::from)?,
                Event::GeneralRef(part) => text += &resolve(&part)?,
                Event::Eof => return Err(MetalinkError::NoFile),
                _ => {}
            }
            if text.len() > MAX_TEXT_BYTES {
                return Err(MetalinkError::TooLarge);
            }
        }
    }
}

const METALINK: &[u8] = b"metalink";
const FILE: &[u8] = b"file";

fn names_of(path: &[Vec<u8>]) -> Vec<&[u8]> {
    path.iter().map(Vec::as_slice).collect()
}

/// Returns the text of a reference. Only those that need no declaration are known.
fn resolve(reference: &BytesRef<'_>) -> Result<Cow<'static, str>, MetalinkError> {
    if let Some(found) = reference.resolve_char_ref()? {
        return Ok(Cow::Owned(found.to_string()));
    }
    let name = reference.decode().map_err(quick_xml::Error::from)?;
    let unknown = || MetalinkError::Xml(format!("unknown entity {name:?}"));
    resolve_xml_entity(&name)
        .map(Cow::Borrowed)
        .ok_or_else(unknown)
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, MetalinkError> {
    let found = element.try_get_attribute(name);
    let Some(found) = found.map_err(quick_xml::Error::from)? else {
        return Ok(None);
    };
    let raw =
        str::from_utf8(&found.value).map_err(|error| MetalinkError::Xml(error.to_string()))?;
    let value = unescape(raw).map_err(|error| MetalinkError::Xml(error.to_string()))?;
    Ok(Some(value.into_owned()))
}

/// Parts of a file that were read.
#[derive(Default)]
struct FoundParts {
    name: Option<String>,
    size_bytes: Option<u64>,
    sha256: Option<Sha256>,
    /// Attribute of the element that was begun last.
    hash_type: Option<String>,
    priority: u32,
    pieces: FoundPieces,
    urls: Vec<MetalinkUrl>,
}

/// Pieces that were read.
#[derive(Default)]
enum FoundPieces {
    #[default]
    Nothing,
    /// Those of the first usable element.
    Some(Vec<Sha256>),
    /// Those of another length or algorithm.
    Other(Box<FoundPieces>),
}

impl FoundParts {
    fn begin(&mut self, path: &[&[u8]], element: &BytesStart<'_>) -> Result<(), MetalinkError> {
        match path {
            [METALINK, FILE] => self.name = attribute(element, "name")?,
            [METALINK, FILE, b"hash"] => self.hash_type = attribute(element, "type")?,
            [METALINK, FILE, b"url"] => {
                let priority = attribute(element, "priority")?;
                let priority = priority.and_then(|text| text.parse().ok());
                self.priority = priority.unwrap_or(LOWEST_PRIORITY);
            }
            [METALINK, FILE, b"pieces"] => {
                let is_sha256 = attribute(element, "type")?.as_deref() == Some("sha-256");
                let length = attribute(element, "length")?;
                let is_length = length.is_some_and(|text| text.parse() == Ok(PIECE_BYTES));
                let before = std::mem::take(&mut self.pieces);
                self.pieces = match before {
                    FoundPieces::Nothing if is_sha256 && is_length => FoundPieces::Some(Vec::new()),
                    before => FoundPieces::Other(Box::new(before)),
                };
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, path: &[&[u8]], text: &str) -> Result<(), MetalinkError> {
        match path {
            [METALINK, FILE, b"size"] => self.size_bytes = text.parse().ok(),
            [METALINK, FILE, b"hash"] if self.hash_type.as_deref() == Some("sha-256") => {
                self.sha256 = text.parse().ok();
            }
            [METALINK, FILE, b"url"] => {
                let is_web = text.starts_with("https://") || text.starts_with("http://");
                if is_web && self.urls.len() < MAX_URLS {
                    self.urls.push(MetalinkUrl {
                        url: text.to_owned(),
                        priority: self.priority,
                    });
                }
            }
            [METALINK, FILE, b"pieces", b"hash"] => {
                if let FoundPieces::Some(digests) = &mut self.pieces {
                    let digest = text.parse();
                    digests
                        .push(digest.map_err(|_| {
                            MetalinkError::Xml("a piece has no SHA-256".to_owned())
                        })?);
                    if digests.len() as u64 > MAX_PIECES {
                        return Err(MetalinkError::TooLarge);
                    }
                }
            }
            [METALINK, FILE, b"pieces"] => {
                if let FoundPieces::Other(before) = &mut self.pieces {
                    self.pieces = std::mem::take(before);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Metalink, MetalinkError> {
        let (Some(size_bytes), Some(sha256)) = (self.size_bytes, self.sha256) else {
            return Err(MetalinkError::NoFile);
        };
        let name = self.name.filter(|name| is_file_name(name));
        Ok(Metalink {
            name: name.ok_or(MetalinkError::NoFile)?,
            size_bytes,
            sha256,
            pieces: match self.pieces {
                FoundPieces::Some(digests) => PieceList::new(size_bytes, digests),
                FoundPieces::Nothing | FoundPieces::Other(_) => None,
            },
            urls: self.urls,
        })
    }
}
