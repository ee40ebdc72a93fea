//! Names that are never fixed, even if a version is part of them.

use std::fmt;

use super::forge::RefForm;
use super::mutable_words::{exact_word, folder_word, ref_word, release_tag_word};
use super::numbers::find_number;
use super::target_name::TargetName;
use super::version_marks::is_commit;

/// Folders in which every name is mutable, even one with a version.
const MUTABLE_FOLDERS: [&str; 2] = ["latest", "nightly"];

/// Folders whose next segment is the number of a proposed change.
const REVIEW_FOLDERS: [&str; 4] = ["merge_requests", "pull", "pull-requests", "pulls"];

/// Folders whose next segment is a branch: `/raw/branch/main/`.
const BRANCH_FOLDERS: [[&str; 2]; 3] = [["refs", "heads"], ["raw", "branch"], ["src", "branch"]];

/// Suffixes of comparisons.
const COMPARISON_SUFFIXES: [&str; 2] = [".patch", ".diff"];

/// Query parameters that hold a ref.
const REF_PARAMETERS: [&str; 11] = [
    "at", "branch", "commit", "h", "id", "ref", "rev", "sha", "tag", "uuid", "version",
];

/// Part of a target that shows that its bytes change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    /// A word such as `latest`.
    Word(&'static str),
    /// A ref that the target itself calls a branch.
    Branch,
    /// A proposed change, to which commits are added.
    ProposedChange,
    /// A comparison whose ends are not both fixed.
    Comparison,
}

impl fmt::Display for Movement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "mutable word \"{word}\""),
            Self::Branch => f.write_str("branch"),
            Self::ProposedChange => f.write_str("proposed change"),
            Self::Comparison => f.write_str("comparison with a moving end"),
        }
    }
}

/// Returns the part of a target because of which no version fixes its bytes.
pub fn find_movement(name: &TargetName<'_>) -> Option<Movement> {
    if is_branch(name) {
        return Some(Movement::Branch);
    }
    if is_proposed_change(name) {
        return Some(Movement::ProposedChange);
    }
    if is_moving_comparison(name) {
        return Some(Movement::Comparison);
    }
    query_word(name)
        .or_else(|| {
            MUTABLE_FOLDERS
                .into_iter()
                .find(|folder| name.folders.contains(folder))
        })
        .or_else(|| release_word(name))
        .or_else(|| is_maven_snapshot(name).then_some("snapshot"))
        .map(Movement::Word)
}

fn is_branch(name: &TargetName<'_>) -> bool {
    let in_path = name
        .folders
        .windows(2)
        .any(|two| BRANCH_FOLDERS.iter().any(|branch| branch == two));
    in_path
        || name.parameters().any(|(name, value)| {
            value.starts_with("refs/heads/") || (name, value) == ("ref_type", "heads")
        })
}

/// Returns whether a target is a file of `/pull/<number>`, or the patch `/pull/<number>.patch`.
fn is_proposed_change(name: &TargetName<'_>) -> bool {
    let segments = name.segments();
    segments
        .clone()
        .zip(segments.skip(1))
        .any(|(folder, next)| REVIEW_FOLDERS.contains(&folder) && is_change_number(next))
}

/// Returns whether a segment is a number, apart from suffixes.
fn is_change_number(segment: &str) -> bool {
    let number = segment.split('.').next().unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether a target is `/compare/<ref>...<ref>` with an end that is not fixed.
fn is_moving_comparison(name: &TargetName<'_>) -> bool {
    // Most paths have no such folder, and the search in the text is slow.
    let is_comparison = name.folders.contains(&"compare");
    let Some((_, ends)) = is_comparison
        .then(|| name.path.rsplit_once("/compare/"))
        .flatten()
    else {
        return false;
    };
    let ends = COMPARISON_SUFFIXES
        .iter()
        .find_map(|suffix| ends.strip_suffix(suffix))
        .unwrap_or(ends);
    let Some((old, new)) = ends.split_once("...").or_else(|| ends.split_once("..")) else {
        return false;
    };
    let is_fixed =
        |end: &str| ref_word(end).is_none() && (is_commit(end) || find_number(end).is_some());
    !is_fixed(old) || !is_fixed(new)
}

fn query_word(name: &TargetName<'_>) -> Option<&'static str> {
    name.parameters()
        .filter(|(name, _)| REF_PARAMETERS.contains(name))
        .find_map(|(_, value)| exact_word(value.strip_prefix("refs/tags/").unwrap_or(value)))
}

/// Returns the mutable word of a release tag that only a date or a commit id fixes.
fn release_word(name: &TargetName<'_>) -> Option<&'static str> {
    name.reference
        .filter(|found| found.form == RefForm::Release)
        .and_then(|found| release_tag_word(found.text))
}

/// Returns whether a file has the version `<version>-SNAPSHOT` of its folder in Maven. A file with
/// a time stamp in place of the word is fixed.
fn is_maven_snapshot(name: &TargetName<'_>) -> bool {
    let is_folder = name
        .folders
        .last()
        .is_some_and(|folder| folder.ends_with("-snapshot"));
    is_folder && name.last.contains("-snapshot")
}

/// Returns the mutable word of the last folder that is named like a branch.
///
/// Such a folder does not make a fixed name mutable. The word only explains why a name without a
/// version is not fixed.
pub fn find_folder_word(name: &TargetName<'_>) -> Option<&'static str> {
    let reference = name.reference.map(|found| found.text);
    name.folders
        .iter()
        .rev()
        .find_map(|folder| folder_word(folder, reference == Some(folder)))
}
