//! Refs in the paths of forges: branches, tags and commits that select an archive or a file.

use super::suffixes::{file_suffix, without_archive_suffixes};

/// Folders whose next segment is the ref of an archive with a file suffix.
const ARCHIVE_FOLDERS: [&str; 10] = [
    "@v",
    "archive",
    "get",
    "legacy.tar.gz",
    "legacy.zip",
    "snapshot",
    "tar.gz",
    "tarball",
    "zip",
    "zipball",
];

/// Archive folders whose ref may have no file suffix. The owner and the repository precede them.
const BARE_ARCHIVE_FOLDERS: [&str; 6] = [
    "legacy.tar.gz",
    "legacy.zip",
    "tar.gz",
    "tarball",
    "zip",
    "zipball",
];

/// Segments before a bare archive folder: owner and repository.
const OWNER_SEGMENTS: usize = 2;

/// Folders whose next segment is the ref of a tree of files.
const TREE_FOLDERS: [&str; 3] = ["raw", "raw-file", "resolve"];

/// Segments between a tree folder and its ref that state the type of the ref.
const REF_TYPES: [&str; 2] = ["tag", "commit"];

/// Kind of files that a ref selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefForm {
    /// One archive of the whole tree. The ref alone decides.
    Archive,
    /// A path that may be such an archive, but has a file name of its own.
    MaybeArchive,
    /// One file of the tree.
    Tree,
    /// A file that was added to a release.
    Release,
}

/// Ref in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForgeRef<'a> {
    pub form: RefForm,
    /// Ref in lower case, without the suffix of the archive.
    pub text: &'a str,
}

/// Returns the ref that selects the file `last` in these folders. `is_download` states whether the
/// segment `download` follows it.
pub fn find_ref<'a>(folders: &[&'a str], last: &'a str, is_download: bool) -> Option<ForgeRef<'a>> {
    let version = if is_download {
        download_version(last)
    } else {
        None
    };
    version
        .or_else(|| archive_ref(folders, last))
        .or_else(|| release_tag(folders))
        .or_else(|| tree_ref(folders))
}

/// Returns the version of `/<version>/download`.
fn download_version(last: &str) -> Option<ForgeRef<'_>> {
    let version = last.strip_prefix('v').unwrap_or(last);
    let is_version =
        version.starts_with(|c: char| c.is_ascii_digit()) && file_suffix(last).is_none();
    is_version.then_some(ForgeRef {
        form: RefForm::Archive,
        text: last,
    })
}

/// Returns the ref of `/<archive folder>/<ref>` and of `/<archive folder>/<ref>/<name>`.
fn archive_ref<'a>(folders: &[&'a str], last: &'a str) -> Option<ForgeRef<'a>> {
    let at = folders
        .iter()
        .rposition(|folder| ARCHIVE_FOLDERS.contains(folder))?;
    let after = &folders[at + 1..];
    let rest = after.strip_prefix(&["refs", "tags"]).unwrap_or(after);
    if file_suffix(last).is_none() {
        let is_bare = at >= OWNER_SEGMENTS && BARE_ARCHIVE_FOLDERS.contains(&folders[at]);
        return (is_bare && !last.is_empty()).then_some(ForgeRef {
            form: RefForm::Archive,
            text: last,
        });
    }
    let stem = archive_stem(last);
    let Some(first) = rest.first() else {
        return Some(ForgeRef {
            form: RefForm::Archive,
            text: stem,
        });
    };
    // A forge names an archive after its ref. Other files in a folder of that name have their own.
    let form = if stem.ends_with(first) {
        RefForm::Archive
    } else {
        RefForm::MaybeArchive
    };
    Some(ForgeRef { form, text: first })
}

/// Removes the suffix of an archive, or the suffix of a file of a module such as `.info`.
fn archive_stem(last: &str) -> &str {
    let stem = without_archive_suffixes(last);
    match file_suffix(stem) {
        Some(suffix) if stem.len() == last.len() => &stem[..stem.len() - suffix.len() - 1],
        _ => stem,
    }
}

/// Returns the tag of `/releases/download/<tag>/<file>`.
fn release_tag<'a>(folders: &[&'a str]) -> Option<ForgeRef<'a>> {
    let tag = folders.windows(3).rev().find_map(|three| match three {
        ["releases" | "release", "download", tag] => Some(*tag),
        _ => None,
    })?;
    Some(ForgeRef {
        form: RefForm::Release,
        text: tag,
    })
}

/// Returns the ref of `/raw/<ref>/<path>`, and of the same form with another tree folder.
fn tree_ref<'a>(folders: &[&'a str]) -> Option<ForgeRef<'a>> {
    let found = folders
        .iter()
        .position(|folder| TREE_FOLDERS.contains(folder))
        .and_then(|at| match &folders[at + 1..] {
            ["refs", "tags", reference, ..] => Some(*reference),
            [kind, reference, ..] if REF_TYPES.contains(kind) => Some(*reference),
            [reference, ..] => Some(*reference),
            [] => None,
        });
    // `/ci/<ref>/tree/<path>` of another forge.
    let by_commit = || {
        folders.windows(3).find_map(|three| match three {
            ["ci", reference, "tree"] => Some(*reference),
            _ => None,
        })
    };
    Some(ForgeRef {
        form: RefForm::Tree,
        text: found.or_else(by_commit)?,
    })
}
