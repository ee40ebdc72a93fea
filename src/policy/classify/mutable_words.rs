//! Words in a name that show that its bytes change, such as `latest` and `main`.

use super::numbers::{file_number, is_patch};
use super::suffixes::without_suffixes;
use super::version_marks::{has_dotted_version, is_commit, is_dated};
use FixedBy::{Date, Version};
use FolderScope::{Anywhere, RefOnly};

/// Part of a name that fixes its bytes although the name contains a mutable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FixedBy {
    /// A date or a commit id.
    Date,
    /// A dotted version, a date or a commit id.
    Version,
}

/// Folders in which a mutable word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FolderScope {
    /// Every folder of this name.
    Anywhere,
    /// Only where a forge has a ref, because the word is a common name of folders.
    RefOnly,
}

/// Mutable word, the part of a name that fixes it, and the folders in which it counts.
struct Word(&'static str, FixedBy, FolderScope);

/// All mutable words, in lower case.
const WORDS: [Word; 25] = [
    Word("latest", Date, Anywhere),
    Word("current", Date, Anywhere),
    Word("nightly", Date, Anywhere),
    Word("daily", Date, Anywhere),
    Word("weekly", Date, Anywhere),
    Word("continuous", Date, Anywhere),
    Word("snapshot", Date, RefOnly),
    Word("rolling", Date, Anywhere),
    Word("master", Version, Anywhere),
    Word("main", Version, Anywhere),
    Word("trunk", Version, Anywhere),
    Word("head", Version, Anywhere),
    Word("tip", Version, Anywhere),
    Word("default", Version, RefOnly),
    Word("devel", Version, RefOnly),
    Word("develop", Version, Anywhere),
    Word("dev", Version, RefOnly),
    Word("next", Version, RefOnly),
    Word("stable", Version, RefOnly),
    Word("testing", Version, RefOnly),
    Word("unstable", Version, RefOnly),
    Word("edge", Version, Anywhere),
    Word("rawhide", Version, Anywhere),
    Word("git", Version, RefOnly),
    Word("gh-pages", Version, Anywhere),
];

/// Suffixes of package formats. A repository never changes the bytes of a package, so any number
/// fixes its name.
const PACKAGE_SUFFIXES: [&str; 10] = [
    "deb", "udeb", "dsc", "rpm", "apk", "whl", "gem", "crate", "nupkg", "pkg",
];

/// Folder of the packages of npm, whose names are words.
const NPM_PACKAGE_FOLDER: &str = "-";

/// Returns the mutable word of a file name in lower case, unless another part fixes the name.
///
/// `folder` is the segment before the name.
pub fn file_word(folder: &str, file: &str) -> Option<&'static str> {
    let stem = without_suffixes(file);
    if is_patch(file) {
        // Such a name is often a sentence, so only its last word counts.
        let last = stem.rsplit('-').next().unwrap_or_default();
        return exact_word(last);
    }
    let has_suffix = file
        .rsplit_once('.')
        .is_some_and(|(_, suffix)| PACKAGE_SUFFIXES.contains(&suffix));
    let is_package = folder == NPM_PACKAGE_FOLDER || has_suffix;
    find_word(stem, is_package && file_number(file).is_some())
}

/// Returns the mutable word of a ref in lower case, unless another part fixes the ref.
pub fn ref_word(reference: &str) -> Option<&'static str> {
    find_word(reference, false)
}

/// Returns the word that a text consists of.
pub fn exact_word(text: &str) -> Option<&'static str> {
    WORDS
        .iter()
        .map(|Word(word, ..)| *word)
        .find(|word| *word == text)
}

/// Returns the mutable word of a release tag that only a date or a commit id fixes.
pub fn release_tag_word(tag: &str) -> Option<&'static str> {
    find_word(tag, false).filter(|found| {
        WORDS
            .iter()
            .any(|Word(word, fixed_by, _)| word == found && *fixed_by == Date)
    })
}

/// Returns the mutable word that a folder consists of, apart from numbers at its ends: `latest`
/// for `latest-14`. `is_ref` states whether the folder is the ref of a forge.
pub fn folder_word(folder: &str, is_ref: bool) -> Option<&'static str> {
    let plain = folder.trim_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_'));
    WORDS
        .iter()
        .filter(|Word(_, _, scope)| is_ref || *scope == Anywhere)
        .find(|Word(word, fixed_by, _)| {
            *word == plain && (*fixed_by == Date || !has_dotted_version(folder))
        })
        .map(|Word(word, ..)| *word)
}

/// Returns the first mutable word between separators. `None` if a part of the text fixes the name.
fn find_word(text: &str, is_numbered_package: bool) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let is_alphanumeric = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let mut starts = (0..bytes.len())
        .filter(|at| is_alphanumeric(*at) && (*at == 0 || !is_alphanumeric(at - 1)));
    let found = starts.find_map(|at| {
        let word = WORDS.iter().find(|Word(word, ..)| {
            !is_alphanumeric(at + word.len()) && bytes[at..].starts_with(word.as_bytes())
        })?;
        let is_fixed = match word.1 {
            // In `latest-version-5.1.0`, `latest-version` is the name of a package.
            Date => is_numbered_package && has_dotted_version(&text[at..]),
            Version => is_numbered_package || has_dotted_version(text),
        };
        (!is_fixed).then_some(word.0)
    })?;
    let is_fixed = is_dated(text)
        || text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(is_commit);
    (!is_fixed).then_some(found)
}
