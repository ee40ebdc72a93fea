//! Words in a target that say that its bytes change, such as `latest` and `main`.

use FixedBy::{Date, Version};

/// What fixes a name in spite of a word. A date or a commit id always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FixedBy {
    Date,
    /// A dotted version.
    Version,
}

/// A mutable word, what fixes a name that holds it, and whether a folder of this name counts
/// wherever it stands. Other words are common names of folders. They count where a forge has a ref.
struct Word(&'static str, FixedBy, bool);

/// The one table, in lower case.
const WORDS: [Word; 25] = [
    Word("latest", Date, true),
    Word("current", Date, true),
    Word("nightly", Date, true),
    Word("daily", Date, true),
    Word("weekly", Date, true),
    Word("continuous", Date, true),
    Word("snapshot", Date, false),
    Word("rolling", Date, true),
    Word("master", Version, true),
    Word("main", Version, true),
    Word("trunk", Version, true),
    Word("head", Version, true),
    Word("tip", Version, true),
    Word("default", Version, false),
    Word("devel", Version, false),
    Word("develop", Version, true),
    Word("dev", Version, false),
    Word("next", Version, false),
    Word("stable", Version, false),
    Word("testing", Version, false),
    Word("unstable", Version, false),
    Word("edge", Version, true),
    Word("rawhide", Version, true),
    Word("git", Version, false),
    Word("gh-pages", Version, true),
];

/// Folders under which every name changes, even one with a version.
const MUTABLE_FOLDERS: [&str; 2] = ["latest", "nightly"];

/// Folders whose next segment is the ref of an archive. The ref decides whatever the name of the
/// file is.
const ARCHIVE_FOLDERS: [&str; 6] = ["archive", "get", "tar.gz", "tarball", "zip", "zipball"];

/// Folders whose next segment is the ref of a tree of files.
const TREE_FOLDERS: [&str; 6] = ["blob", "branch", "raw", "raw-file", "resolve", "tree"];

/// Query parameters that hold a ref.
const REF_PARAMETERS: [&str; 11] = [
    "at", "branch", "commit", "h", "id", "ref", "rev", "sha", "tag", "uuid", "version",
];

/// Query parameters that hold the number of a revision.
const REVISION_PARAMETERS: [&str; 4] = ["p", "pathrev", "r", "rev"];

/// Suffixes that do not belong to a version.
const SUFFIXES: [&str; 17] = [
    ".gz", ".xz", ".bz2", ".zst", ".lz", ".lz4", ".lzma", ".z", ".tar", ".tgz", ".tbz", ".tbz2",
    ".txz", ".tzst", ".zip", ".7z", ".jar",
];

/// Suffixes of package formats. A repository never gives other bytes to a package's name, so any
/// number fixes it.
const PACKAGE_SUFFIXES: [&str; 10] = [
    ".deb", ".udeb", ".dsc", ".rpm", ".apk", ".whl", ".gem", ".crate", ".nupkg", ".pkg",
];

/// Suffixes of changes to a source. Such a name is often a sentence, so that only its last word
/// counts.
const PATCH_SUFFIXES: [&str; 2] = [".patch", ".diff"];

/// Words whose digits are no version.
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

/// The length of a short and of the longest commit id in hex digits.
const COMMIT_HEX: std::ops::RangeInclusive<usize> = 7..=64;

/// The lengths of a digest in hex, which may be a commit id: MD5, SHA-1, SHA-256 and SHA-512.
const DIGEST_HEX: [usize; 4] = [32, 40, 64, 128];

/// The last segment of a path without its suffixes.
struct Stem<'a> {
    text: &'a str,
    is_package: bool,
    is_patch: bool,
}

/// The ref that a query names.
enum QueryRef {
    Mutable(&'static str),
    Fixed,
    None,
}

/// Returns the word that makes a target mutable. Path and query are in lower case; the path has no
/// companion suffix.
pub fn word_of(path: &str, query: &str) -> Option<&'static str> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folders: Vec<&str> = folder.split('/').collect();
    let stem = Stem::of(name);
    if path.contains("/refs/heads/") {
        return Some("refs/heads");
    }
    let query_ref = query_ref(query);
    if let QueryRef::Mutable(word) = query_ref {
        return Some(word);
    }
    if let Some(word) = word_of_whole_tree(&folders, &stem) {
        return Some(word);
    }
    if is_digest(stem.text)
        || folders
            .iter()
            .any(|folder| is_dated(folder) || is_digest(folder))
    {
        return None;
    }
    let by_name = match folders.last() {
        Some(&"compare") => stem.text.split("...").find_map(|end| word_in(end, false)),
        _ => stem.word(),
    };
    let is_fixed = matches!(query_ref, QueryRef::Fixed);
    by_name.or_else(|| folder_word(&folders).filter(|_| !is_fixed && !stem.has_number()))
}

/// Returns whether the text holds a date, such as `20240131` or `2024-01-31`.
pub fn is_dated(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<u32> { text.get(from..to)?.parse().ok() };
    let is_day = |year: Option<u32>, month: Option<u32>, day: Option<u32>| {
        year.is_some_and(|year| (1970..2100).contains(&year))
            && month.is_some_and(|month| (1..=12).contains(&month))
            && day.is_some_and(|day| (1..=31).contains(&day))
    };
    (0..bytes.len())
        .filter(|at| *at == 0 || !bytes[at - 1].is_ascii_digit())
        .any(|at| {
            let digits = bytes[at..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            match digits {
                // With hours, minutes and seconds, as far as they are there.
                8 | 10 | 12 | 14 => is_day(
                    number(at, at + 4),
                    number(at + 4, at + 6),
                    number(at + 6, at + 8),
                ),
                4 => {
                    let separator = bytes.get(at + 4);
                    let is_separated = matches!(separator, Some(b'-' | b'.' | b'_'))
                        && separator == bytes.get(at + 7);
                    is_separated
                        && is_day(
                            number(at, at + 4),
                            number(at + 5, at + 7),
                            number(at + 8, at + 10),
                        )
                }
                _ => false,
            }
        })
}

/// Returns the word by which every file of a tree changes, whatever its name.
fn word_of_whole_tree(folders: &[&str], stem: &Stem<'_>) -> Option<&'static str> {
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
    let by_tag = tags.find_map(|(_, tag)| word_in(tag, false).filter(|word| is_daily(word)));
    let segments = || folders.iter().copied().chain([stem.text]);
    let mut archived = segments()
        .zip(segments().skip(1))
        .filter(|(parent, _)| ARCHIVE_FOLDERS.contains(parent));
    by_tag.or_else(|| archived.find_map(|(_, reference)| distribution_branch(reference)))
}

/// Returns whether a folder is the tag of a forge's release: `/releases/download/<tag>/`.
fn is_release_tag(folders: &[&str], at: usize) -> bool {
    matches!(folders[..at], [.., "releases" | "release", "download"])
}

fn is_daily(word: &str) -> bool {
    WORDS
        .iter()
        .any(|Word(text, fixed_by, _)| *text == word && *fixed_by == Date)
}

/// Returns the word of a folder that stands for a branch, unless a version stands in a folder below
/// it.
fn folder_word(folders: &[&str]) -> Option<&'static str> {
    let found = folders.iter().enumerate().rev().find_map(|(at, folder)| {
        let parent = at.checked_sub(1).map_or("", |at| folders[at]);
        let is_ref = TREE_FOLDERS.contains(&parent)
            || ARCHIVE_FOLDERS.contains(&parent)
            || is_release_tag(folders, at);
        let plain = without_numbers(folder);
        let word = WORDS
            .iter()
            .find(|Word(text, _, is_folder)| *text == plain && (*is_folder || is_ref));
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

/// `latest` for `latest-14`, `snapshot` for `1.0-snapshot`.
fn without_numbers(segment: &str) -> &str {
    segment.trim_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_'))
}

/// Returns the form of the branch if a ref is a branch of a distribution that is named like a
/// release.
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
    fn of(name: &'a str) -> Self {
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

    fn word(&self) -> Option<&'static str> {
        if self.is_patch {
            let last = self.text.rsplit('-').next().unwrap_or_default();
            return WORDS.iter().map(|word| word.0).find(|word| *word == last);
        }
        word_in(self.text, self.is_package && self.has_number())
    }

    /// Returns whether the name holds a number that may be a version.
    fn has_number(&self) -> bool {
        let bytes = self.text.as_bytes();
        // `0001-fix.patch` is the first of a series.
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

/// Returns the mutable word that stands alone in a text, unless something in the text fixes it.
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
            // `latest-version-5.1.0` is a version of a package of that name.
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

fn has_dotted_version(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .windows(3)
        .any(|three| three[0].is_ascii_digit() && three[1] == b'.' && three[2].is_ascii_digit())
}

fn is_digit(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_digit)
}

/// Returns whether a text is a commit id, as `git describe` writes it, too.
fn is_commit(text: &str) -> bool {
    let text = text.strip_prefix('g').unwrap_or(text);
    COMMIT_HEX.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn is_digest(text: &str) -> bool {
    DIGEST_HEX.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
