//! Why the bytes of a target change under its name.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

use super::index_names::{System, system_of};
use super::mutable_words::word_of;
use crate::model::Target;

/// Suffixes of files that say something about another file. A companion changes with that file.
const COMPANION_SUFFIXES: [&str; 30] = [
    ".asc",
    ".b2",
    ".b2sum",
    ".b3",
    ".b3sum",
    ".blake2b",
    ".gpg",
    ".md5",
    ".md5sum",
    ".metadata",
    ".minisig",
    ".rmd160",
    ".sha",
    ".sha1",
    ".sha1sum",
    ".sha224",
    ".sha224sum",
    ".sha256",
    ".sha256sum",
    ".sha3",
    ".sha384",
    ".sha384sum",
    ".sha512",
    ".sha512sum",
    ".sig",
    ".sigstore",
    ".sigstore.json",
    ".sign",
    ".sm3",
    ".sm3sum",
];

/// What in a name says that its bytes change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MutableName {
    IndexName(System),
    MutableWord(&'static str),
}

/// Why the bytes of a target change under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    Itself(MutableName),
    /// The target is the signature or the checksum of such a name.
    CompanionOf(MutableName),
}

impl Mutability {
    /// Returns why the bytes of a target change, if its name says so.
    pub fn of(target: &Target) -> Option<Self> {
        let (path, query) = (
            lower_case(target.path()),
            lower_case(target.url().query().unwrap_or_default()),
        );
        let path = path.strip_suffix("/download").unwrap_or(&path);
        let bare = without_companion_suffixes(path);
        let (folder, name) = bare.rsplit_once('/').unwrap_or(("", bare));
        let by_index = system_of(folder, name).map(MutableName::IndexName);
        let name = by_index.or_else(|| word_of(bare, &query).map(MutableName::MutableWord))?;
        Some(if bare == path {
            Self::Itself(name)
        } else {
            Self::CompanionOf(name)
        })
    }
}

impl fmt::Display for MutableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IndexName(system) => write!(f, "index name of {system}"),
            Self::MutableWord(word) => write!(f, "mutable word \"{word}\""),
        }
    }
}

impl fmt::Display for Mutability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself(name) => name.fmt(f),
            Self::CompanionOf(name) => write!(f, "companion of {name}"),
        }
    }
}

/// An origin decodes a path before it looks for the file, so an encoded name is the same name.
fn lower_case(text: &str) -> String {
    let decoded = if text.contains('%') {
        percent_decode_str(text).decode_utf8_lossy()
    } else {
        Cow::Borrowed(text)
    };
    decoded.to_ascii_lowercase()
}

fn without_companion_suffixes(path: &str) -> &str {
    let mut bare = path;
    while let Some(shorter) = COMPANION_SUFFIXES
        .iter()
        .find_map(|suffix| bare.strip_suffix(suffix))
    {
        if shorter.is_empty() || shorter.ends_with('/') {
            break;
        }
        bare = shorter;
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_classes_gives_the_reason() {
        let rows = include_str!("../../tests/classes.tsv").lines().enumerate();
        for (index, line) in rows.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let mut fields = line.split('\t').skip(1);
            let (reason, target) = (
                fields.next().unwrap(),
                Target::parse(fields.next().unwrap()).unwrap(),
            );
            let found =
                Mutability::of(&target).map_or_else(|| "-".to_owned(), |found| found.to_string());
            assert_eq!(found, reason, "line {}: {target}", index + 1);
        }
    }

    #[test]
    fn suffix_alone_is_no_companion() {
        for path in ["/.asc", "/latest/.sig"] {
            let target = Target::parse(&format!("https://example.org{path}")).unwrap();
            assert!(
                !matches!(Mutability::of(&target), Some(Mutability::CompanionOf(_))),
                "{path}"
            );
        }
    }
}
