//! Names that mean the same bytes for ever.

use super::evidence::{Evidence, NameSource};
use super::forge::{ForgeRef, RefForm};
use super::mutable_words::{file_word, ref_word};
use super::numbers::{file_number, find_number};
use super::query_revision;
use super::suffixes::without_suffixes;
use super::target_name::TargetName;
use super::version_marks::{is_commit, is_dated, is_digest};

/// Folders whose next segment is a commit, but whose pages are not its files.
const VIEW_FOLDERS: [&str; 9] = [
    "blob",
    "branches",
    "commit",
    "commits",
    "pipelines",
    "status",
    "statuses",
    "tags",
    "tree",
];

/// Segments before the commit on a host of raw files: owner and repository.
const OWNER_SEGMENTS: usize = 2;

/// Lengths of a full commit id in hex digits (SHA-1 and SHA-256).
const FULL_COMMIT_HEX: [usize; 2] = [40, 64];

/// Statement of a name about its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameVerdict {
    /// They never change.
    Fixed(Evidence, NameSource),
    /// They change, because of this word.
    Mutable(&'static str),
}

/// Returns what the name of a target states about its bytes, if anything.
pub fn judge(name: &TargetName<'_>) -> Option<NameVerdict> {
    revision(name)
        .or_else(|| by_ref(name))
        .or_else(|| by_file(name))
        .or_else(|| commit_in_path(name))
        .or_else(|| {
            let version = query_revision::version(name)?;
            Some(NameVerdict::Fixed(
                Evidence::QueryVersion(version.to_owned()),
                NameSource::Path,
            ))
        })
}

/// A commit id or the number of a revision in the query.
fn revision(name: &TargetName<'_>) -> Option<NameVerdict> {
    let evidence = if query_revision::has_commit(name) {
        Evidence::Commit(NameSource::Query)
    } else {
        Evidence::QueryVersion(query_revision::revision_number(name)?.to_owned())
    };
    Some(NameVerdict::Fixed(evidence, source_of(name)))
}

/// A URL that names no file in its path is that of a script.
fn source_of(name: &TargetName<'_>) -> NameSource {
    match name.file() {
        Some(_) => NameSource::Path,
        None => NameSource::Query,
    }
}

/// The ref of a forge, in the query or in the path.
fn by_ref(name: &TargetName<'_>) -> Option<NameVerdict> {
    if let Some(reference) = query_revision::archive_ref(name) {
        return judge_ref(reference, source_of(name));
    }
    let found = name.reference?;
    match found.form {
        RefForm::Archive => judge_ref(found.text, NameSource::Path),
        RefForm::MaybeArchive => judge_ref(found.text, NameSource::Path).or_else(|| own_name(name)),
        RefForm::Tree | RefForm::Release => by_file_of_ref(name, &found),
    }
}

/// A file of a tree or of a release: its own name decides, or else the ref.
fn by_file_of_ref(name: &TargetName<'_>, found: &ForgeRef<'_>) -> Option<NameVerdict> {
    let own = own_name(name);
    match (&own, found.form) {
        (Some(NameVerdict::Fixed(..)), _) | (Some(_), RefForm::Release) => own,
        _ => judge_ref(found.text, NameSource::Path).or(own),
    }
}

/// The last segment, or else a file that the query names.
fn by_file(name: &TargetName<'_>) -> Option<NameVerdict> {
    match name.file() {
        Some(_) => own_name(name),
        None => judge_file("", query_revision::file(name)?, NameSource::Query),
    }
}

/// The last segment, together with the folders above it.
fn own_name(name: &TargetName<'_>) -> Option<NameVerdict> {
    let file = name.file()?;
    let folder = name.folders.last().copied().unwrap_or_default();
    let verdict = judge_file(folder, file, NameSource::Path);
    let is_word = matches!(verdict, Some(NameVerdict::Mutable(_)));
    if (verdict.is_none() || is_word) && name.folders.iter().any(|folder| is_dated(folder)) {
        return Some(NameVerdict::Fixed(Evidence::DatedFolder, NameSource::Path));
    }
    // A digest in a folder says more about the bytes than a word in the name.
    verdict.filter(|_| !is_word || !name.folders.iter().any(|folder| is_digest(folder)))
}

fn judge_file(folder: &str, file: &str, source: NameSource) -> Option<NameVerdict> {
    if let Some(word) = file_word(folder, file) {
        return Some(NameVerdict::Mutable(word));
    }
    let evidence = if has_commit(without_suffixes(file)) {
        Evidence::Commit(source)
    } else {
        Evidence::NameVersion(file_number(file)?.to_owned())
    };
    Some(NameVerdict::Fixed(evidence, source))
}

fn judge_ref(reference: &str, source: NameSource) -> Option<NameVerdict> {
    if let Some(word) = ref_word(reference) {
        return Some(NameVerdict::Mutable(word));
    }
    let evidence = if has_commit(reference) {
        Evidence::Commit(source)
    } else {
        Evidence::RefVersion(find_number(reference)?.to_owned())
    };
    Some(NameVerdict::Fixed(evidence, source))
}

fn has_commit(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .any(is_commit)
}

/// A full commit id as the last segment, or as the ref on a host of raw files. Such a last segment
/// may also be the URL of a page.
fn commit_in_path(name: &TargetName<'_>) -> Option<NameVerdict> {
    let is_full = |text: &str| FULL_COMMIT_HEX.contains(&text.len()) && is_digest(text);
    let is_view = name
        .folders
        .last()
        .is_some_and(|folder| VIEW_FOLDERS.contains(folder));
    let source = if is_digest(name.last) && !is_view {
        NameSource::Identifier
    } else if name.file().is_some()
        && name
            .folders
            .get(OWNER_SEGMENTS)
            .is_some_and(|folder| is_full(folder))
    {
        NameSource::Path
    } else {
        return None;
    };
    Some(NameVerdict::Fixed(
        Evidence::Commit(NameSource::Path),
        source,
    ))
}
