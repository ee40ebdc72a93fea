//! The content of a record in little memory, for the many targets that are remembered. The main
//! type is [`PackedRecord`].
//!
//! This file must not know files or look-ups.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::SystemTime;

use super::{Algorithm, Digests, Record, RecordSource, Sha256, Standing, StoredHeaders, Target};

/// Parts of [`PackedRecord::texts`]. Each has one letter.
const SOURCE: char = 'o';
const LAST_MODIFIED: char = 'l';
const CONTENT_TYPE: char = 't';
const DISPOSITION: char = 'd';
const ETAG: char = 'e';
const MD5: char = '5';
const SHA1: char = '1';
const SHA256: char = '2';
const SHA512: char = 'x';

/// Content of a record without its target, in two allocations of about 250 bytes.
#[derive(Debug)]
pub struct PackedRecord {
    sha256: Sha256,
    size_bytes: u64,
    generation: Option<NonZeroU64>,
    first_seen: SystemTime,
    standing: Standing,
    /// Lines, each of a letter and the text.
    texts: Box<str>,
}

impl PackedRecord {
    /// Packs a record. Returns `None` if a text has a line break.
    #[must_use]
    pub fn new(record: &Record) -> Option<Self> {
        let Record {
            version: _,
            target: _,
            sha256,
            size_bytes,
            generation,
            standing,
            first_seen,
            source,
            headers,
            digests,
        } = record;
        Some(Self {
            sha256: *sha256,
            size_bytes: *size_bytes,
            generation: *generation,
            first_seen: *first_seen,
            standing: *standing,
            texts: pack_texts(source, headers, digests)?,
        })
    }

    /// Returns the record again. `target` must be the target of the packed one.
    #[must_use]
    pub fn unpack(&self, target: &Target) -> Record {
        let mut source = RecordSource::default();
        let mut others = BTreeMap::new();
        for line in self.texts.split_terminator('\n') {
            let mut characters = line.chars();
            let letter = characters.next();
            let text = characters.as_str().to_owned();
            let RecordSource { source, headers } = &mut source;
            match letter {
                Some(SOURCE) => *source = text,
                Some(LAST_MODIFIED) => headers.last_modified = Some(text),
                Some(CONTENT_TYPE) => headers.content_type = Some(text),
                Some(DISPOSITION) => headers.content_disposition = Some(text),
                Some(ETAG) => headers.etag = Some(text),
                _ => others.extend(letter.and_then(algorithm).map(|name| (name, text))),
            }
        }
        let digests = Digests {
            sha256: self.sha256,
            others,
        };
        let mut record = Record::new(target, digests, self.size_bytes, self.first_seen, source);
        record.generation = self.generation;
        record.standing = self.standing;
        record
    }
}

fn pack_texts(
    source: &String,
    headers: &StoredHeaders,
    digests: &BTreeMap<Algorithm, String>,
) -> Option<Box<str>> {
    let StoredHeaders {
        last_modified,
        content_type,
        content_disposition,
        etag,
    } = headers;
    let fields = [
        (SOURCE, Some(source)),
        (LAST_MODIFIED, last_modified.as_ref()),
        (CONTENT_TYPE, content_type.as_ref()),
        (DISPOSITION, content_disposition.as_ref()),
        (ETAG, etag.as_ref()),
    ];
    let digests = digests
        .iter()
        .map(|(algorithm, text)| (letter(*algorithm), Some(text)));
    let mut texts = String::new();
    for (letter, text) in fields.into_iter().chain(digests) {
        let Some(text) = text else { continue };
        if text.contains('\n') {
            return None;
        }
        texts.push(letter);
        texts.push_str(text);
        texts.push('\n');
    }
    Some(texts.into_boxed_str())
}

fn letter(algorithm: Algorithm) -> char {
    match algorithm {
        Algorithm::Md5 => MD5,
        Algorithm::Sha1 => SHA1,
        Algorithm::Sha256 => SHA256,
        Algorithm::Sha512 => SHA512,
    }
}

fn algorithm(letter: char) -> Option<Algorithm> {
    match letter {
        MD5 => Some(Algorithm::Md5),
        SHA1 => Some(Algorithm::Sha1),
        SHA256 => Some(Algorithm::Sha256),
        SHA512 => Some(Algorithm::Sha512),
        _ => None,
    }
}
