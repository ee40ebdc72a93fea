//! Detection of targets whose bytes change although their name stays the same.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

use super::index_names::{System, find_system};
use super::mutable_words::find_mutable_word;
use crate::model::Target;

/// Suffixes of companions: signatures, checksums and metadata of another file. A companion changes
/// together with that file.
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

/// Part of a name that shows that its bytes change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MutableName {
    /// The name of an index of this package system.
    IndexName(System),
    /// A word such as `latest`.
    MutableWord(&'static str),
}

/// Reason why the bytes of a target change although its name stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// The target has such a name.
    Itself(MutableName),
    /// The target is a companion of a file with such a name.
    CompanionOf(MutableName),
}

impl Mutability {
    /// Returns the reason why the bytes of a target change, if its name shows one.
    pub fn detect(target: &Target) -> Option<Self> {
        let (path, query) = (
            lower_case(target.path()),
            lower_case(target.url().query().unwrap_or_default()),
        );
        let path = path.strip_suffix("/download").unwrap_or(&path);
        let bare = without_companion_suffixes(path);
        let (folder, name) = bare.rsplit_once('/').unwrap_or(("", bare));
        let by_index = find_system(folder, name).map(MutableName::IndexName);
        let name =
            by_index.or_else(|| find_mutable_word(bare, &query).map(MutableName::MutableWord))?;
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

/// Decodes a text and converts it to lower case.
///
/// Origins decode a path before they look up the file, so an encoded name is the same name.
fn lower_case(text: &str) -> String {
    let decoded = if text.contains('%') {
        percent_decode_str(text).decode_utf8_lossy()
    } else {
        Cow::Borrowed(text)
    };
    decoded.to_ascii_lowercase()
}

/// Removes all companion suffixes. A name that is only a suffix stays.
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
            let found = Mutability::detect(&target)
                .map_or_else(|| "-".to_owned(), |found| found.to_string());
            assert_eq!(found, reason, "line {}: {target}", index + 1);
        }
    }

    #[test]
    fn suffix_alone_is_no_companion() {
        for path in ["/.asc", "/latest/.sig"] {
            let target = Target::parse(&format!("https://example.org{path}")).unwrap();
            assert!(
                !matches!(
                    Mutability::detect(&target),
                    Some(Mutability::CompanionOf(_))
                ),
                "{path}"
            );
        }
    }
}
