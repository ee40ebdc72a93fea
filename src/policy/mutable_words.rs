//! Words in a target that show that its bytes change, such as `latest` and `main`.

use super::version_marks::{has_dotted_version, is_commit, is_dated, is_digest};
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

/// Folders in which every name is mutable, even one with a version.
const MUTABLE_FOLDERS: [&str; 2] = ["latest", "nightly"];

/// Folders whose next segment is the ref of an archive. The ref decides, not the name of the file.
const ARCHIVE_FOLDERS: [&str; 6] = ["archive", "get", "tar.gz", "tarball", "zip", "zipball"];

/// Folders whose next segment is the ref of a tree of files.
const TREE_FOLDERS: [&str; 6] = ["blob", "branch", "raw", "raw-file", "resolve", "tree"];

/// Query parameters that hold a ref.
const REF_PARAMETERS: [&str; 11] = [
    "at", "branch", "commit", "h", "id", "ref", "rev", "sha", "tag", "uuid", "version",
];

/// Query parameters that hold the number of a revision.
const REVISION_PARAMETERS: [&str; 4] = ["p", "pathrev", "r", "rev"];

/// Suffixes of archives and compressed files. Their digits are not a version.
const SUFFIXES: [&str; 17] = [
    ".gz", ".xz", ".bz2", ".zst", ".lz", ".lz4", ".lzma", ".z", ".tar", ".tgz", ".tbz", ".tbz2",
    ".txz", ".tzst", ".zip", ".7z", ".jar",
];

/// Suffixes of package formats. A repository never changes the bytes of a package, so any number
/// fixes its name.
const PACKAGE_SUFFIXES: [&str; 10] = [
    ".deb", ".udeb", ".dsc", ".rpm", ".apk", ".whl", ".gem", ".crate", ".nupkg", ".pkg",
];

/// Suffixes of patches. Such a name is often a sentence, so only its last word counts.
const PATCH_SUFFIXES: [&str; 2] = [".patch", ".diff"];

/// Names of architectures and digest algorithms. Their digits are not a version.
const NUMBERED_WORDS: [&str; 26] = [
    "x86_64",
    "x86-64",
    "amd64",
    "arm64",
    "aarch64",
    "armv6",
    "armv7",
    "armv8",
    "ppc64",
    "powerpc64",
    "s390x",
    "s390",
    "riscv64",
    "mips64",
    "loongarch64",
    "sparc64",
    "i386",
    "i486",
    "i586",
    "i686",
    "win32",
    "win64",
    "sha256",
    "sha512",
    "sha1",
    "md5",
];

/// Last segment of a path without its suffixes.
struct Stem<'a> {
    text: &'a str,
    is_package: bool,
    is_patch: bool,
}

/// Ref that a query selects.
enum QueryRef {
    /// A branch, with the mutable word in its name.
    Mutable(&'static str),
    /// A commit, a version or a revision.
    Fixed,
    None,
}

/// Returns the word that makes a target mutable.
///
/// `path` and `query` are in lower case. `path` has no companion suffix.
pub fn find_mutable_word(path: &str, query: &str) -> Option<&'static str> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folders: Vec<&str> = folder.split('/').collect();
    let stem = Stem::new(name);
    if path.contains("/refs/heads/") {
        return Some("refs/heads");
    }
    let query_ref = query_ref(query);
    if let QueryRef::Mutable(word) = query_ref {
        return Some(word);
    }
    if let Some(word) = tree_word(&folders, &stem) {
        return Some(word);
    }
    if is_digest(stem.text)
        || folders
            .iter()
            .any(|folder| is_dated(folder) || is_digest(folder))
    {
        return None;
    }
    let name_word = match folders.last() {
        Some(&"compare") => stem.text.split("...").find_map(|end| word_in(end, false)),
        _ => stem.word(),
    };
    let is_fixed = matches!(query_ref, QueryRef::Fixed);
    name_word.or_else(|| folder_word(&folders).filter(|_| !is_fixed && !stem.has_number()))
}

/// Returns the word that makes every file of a tree mutable, independent of the file's name.
fn tree_word(folders: &[&str], stem: &Stem<'_>) -> Option<&'static str> {
    if let Some(folder) = MUTABLE_FOLDERS
        .iter()
        .find(|folder| folders.contains(folder))
    {
        return Some(folder);
    }
    let mut tags = folders
        .iter()
        .enumerate()
        .filter(|(at, _)| is_release_tag(folders, *at));
    let tag_word = tags.find_map(|(_, tag)| word_in(tag, false).filter(|word| needs_date(word)));
    let segments = || folders.iter().copied().chain([stem.text]);
    let mut archived = segments()
        .zip(segments().skip(1))
        .filter(|(parent, _)| ARCHIVE_FOLDERS.contains(parent));
    tag_word.or_else(|| archived.find_map(|(_, reference)| distribution_branch(reference)))
}

/// Returns whether a folder is the tag of a forge's release: `/releases/download/<tag>/`.
fn is_release_tag(folders: &[&str], at: usize) -> bool {
    matches!(folders[..at], [.., "releases" | "release", "download"])
}

/// Returns whether only a date or a commit id fixes a name with this word.
fn needs_date(word: &str) -> bool {
    WORDS
        .iter()
        .any(|Word(text, fixed_by, _)| *text == word && *fixed_by == Date)
}

/// Returns the mutable word of the last folder that is named like a branch.
///
/// Returns `None` if a folder below it has a version.
fn folder_word(folders: &[&str]) -> Option<&'static str> {
    let found = folders.iter().enumerate().rev().find_map(|(at, folder)| {
        let parent = at.checked_sub(1).map_or("", |at| folders[at]);
        let is_ref = TREE_FOLDERS.contains(&parent)
            || ARCHIVE_FOLDERS.contains(&parent)
            || is_release_tag(folders, at);
        let plain = without_numbers(folder);
        let word = WORDS
            .iter()
            .find(|Word(text, _, scope)| *text == plain && (*scope == Anywhere || is_ref));
        let word = word
            .filter(|word| word.1 == Date || !has_dotted_version(folder))
            .map(|word| word.0);
        Some((
            at,
            word.or_else(|| is_ref.then(|| distribution_branch(folder)).flatten())?,
        ))
    });
    let (at, word) = found?;
    let is_versioned = folders[at + 1..]
        .iter()
        .any(|folder| has_dotted_version(folder));
    (!is_versioned).then_some(word)
}

/// Removes numbers from both ends: `latest` for `latest-14`, `snapshot` for `1.0-snapshot`.
fn without_numbers(segment: &str) -> &str {
    segment.trim_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_'))
}

/// Returns the pattern of a distribution's branch that is named like a release, such as `epel9`.
fn distribution_branch(reference: &str) -> Option<&'static str> {
    let number = |text: &str| {
        (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if let Some(release) = reference.strip_prefix("openeuler-") {
        let (year, rest) = release.split_once('.')?;
        let (month, rest) = rest.split_at_checked(2)?;
        let rest = rest.strip_prefix("-lts").unwrap_or(rest);
        let is_update = rest.strip_prefix("-sp").is_some_and(number);
        return (number(year) && number(month) && (is_update || matches!(rest, "" | "-next")))
            .then_some("openEuler-*");
    }
    if reference
        .strip_prefix('f')
        .is_some_and(|release| release.len() == 2 && number(release))
    {
        return Some("f*");
    }
    if reference.strip_prefix("epel").is_some_and(number) {
        return Some("epel*");
    }
    let stream = reference
        .strip_prefix('c')
        .and_then(|rest| rest.strip_suffix('s'));
    stream.is_some_and(number).then_some("c*s")
}

/// Returns the ref that the parameters of a query select. A mutable ref takes precedence.
fn query_ref(query: &str) -> QueryRef {
    let mut found = QueryRef::None;
    for (name, value) in query
        .split(['&', ';'])
        .filter_map(|parameter| parameter.split_once('='))
    {
        if name == "ref_type" && value == "heads" || value.starts_with("refs/heads/") {
            return QueryRef::Mutable("refs/heads");
        }
        if REF_PARAMETERS.contains(&name) {
            let value = value.strip_prefix("refs/tags/").unwrap_or(value);
            if let Some(Word(word, ..)) = WORDS.iter().find(|Word(word, ..)| *word == value) {
                return QueryRef::Mutable(word);
            }
            if is_commit(value) || has_dotted_version(value) || is_dated(value) {
                found = QueryRef::Fixed;
            }
        }
        if REVISION_PARAMETERS.contains(&name)
            && !value.is_empty()
            && value.bytes().all(|byte| byte.is_ascii_digit())
        {
            found = QueryRef::Fixed;
        }
    }
    found
}

impl<'a> Stem<'a> {
    fn new(name: &'a str) -> Self {
        let mut text = name;
        while let Some(shorter) = SUFFIXES.iter().find_map(|suffix| text.strip_suffix(suffix)) {
            text = shorter;
        }
        let without =
            |suffixes: &[&str]| suffixes.iter().find_map(|suffix| text.strip_suffix(suffix));
        let (package, patch) = (without(&PACKAGE_SUFFIXES), without(&PATCH_SUFFIXES));
        let text = package.or(patch).unwrap_or(text);
        Self {
            text,
            is_package: package.is_some(),
            is_patch: patch.is_some(),
        }
    }

    /// Returns the mutable word of the name.
    fn word(&self) -> Option<&'static str> {
        if self.is_patch {
            let last = self.text.rsplit('-').next().unwrap_or_default();
            return WORDS.iter().map(|word| word.0).find(|word| *word == last);
        }
        word_in(self.text, self.is_package && self.has_number())
    }

    /// Returns whether the name contains a number that may be a version.
    fn has_number(&self) -> bool {
        let bytes = self.text.as_bytes();
        // The number of `0001-fix.patch` is its position in a series.
        let is_numbered = self.is_patch
            && bytes
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count()
                == 4;
        let start = if is_numbered && bytes.get(4) == Some(&b'-') {
            5
        } else {
            0
        };
        let text = NUMBERED_WORDS
            .iter()
            .fold(self.text[start..].to_owned(), |text, word| {
                text.replace(word, " ")
            });
        let bytes = text.as_bytes();
        (0..bytes.len())
            .filter(|at| bytes[*at].is_ascii_digit())
            .any(|at| {
                at == 0
                    || !bytes[at - 1].is_ascii_alphabetic()
                    || bytes[at - 1] == b'v'
                    || is_digit(bytes.get(at + 1))
            })
    }
}

/// Returns the first mutable word between separators. `None` if a part of the text fixes the name.
fn word_in(text: &str, is_numbered_package: bool) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let is_alphanumeric = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let mut starts = (0..bytes.len())
        .filter(|at| is_alphanumeric(*at) && (*at == 0 || !is_alphanumeric(at - 1)));
    let found = starts.find_map(|at| {
        let word = WORDS.iter().find(|Word(word, ..)| {
            bytes[at..].starts_with(word.as_bytes()) && !is_alphanumeric(at + word.len())
        })?;
        let is_fixed = match word.1 {
            // In `latest-version-5.1.0`, `latest-version` is the name of a package.
            Date => (at == 0 || is_numbered_package) && has_dotted_version(&text[at..]),
            Version => is_numbered_package || has_dotted_version(text),
        };
        (!is_fixed).then_some(word.0)
    })?;
    (!is_dated(text)
        && !text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(is_commit))
    .then_some(found)
}

fn is_digit(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_digit)
}
