//! Query parameters that select a revision or a file.

use super::suffixes::file_suffix;
use super::target_name::TargetName;
use super::version_marks::{has_dotted_version, is_commit};

/// Query parameters in which a commit id counts.
const COMMIT_PARAMETERS: [&str; 6] = ["commit", "h", "id", "rev", "sha", "uuid"];

/// Query parameters in which the number of a revision counts.
const NUMBER_PARAMETERS: [&str; 4] = ["p", "pathrev", "r", "rev"];

/// Query parameters in which a dotted version counts.
const VERSION_PARAMETERS: [&str; 5] = ["ref", "sha", "tag", "uuid", "version"];

/// Returns whether a commit id in the query selects the revision.
pub fn has_commit(name: &TargetName<'_>) -> bool {
    name.parameters()
        .any(|(name, value)| COMMIT_PARAMETERS.contains(&name) && is_commit(value))
}

/// Returns the number of the revision that the query selects. Without a file in the path, the
/// number may be that of a page.
pub fn revision_number<'a>(name: &TargetName<'a>) -> Option<&'a str> {
    name.file()?;
    name.parameters().find_map(|(name, value)| {
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        (NUMBER_PARAMETERS.contains(&name) && is_number).then_some(value)
    })
}

/// Returns the version that the query selects for the file in the path.
pub fn version<'a>(name: &TargetName<'a>) -> Option<&'a str> {
    name.file()?;
    name.parameters()
        .filter(|(name, _)| VERSION_PARAMETERS.contains(name))
        .map(|(_, value)| value.strip_prefix("refs/tags/").unwrap_or(value))
        .find(|value| has_dotted_version(value))
}

/// Returns the ref of an archive that a forge makes on request: `sha=`, or `h=` of gitweb.
pub fn archive_ref<'a>(name: &TargetName<'a>) -> Option<&'a str> {
    let is_snapshot = name.parameter("a") == Some("snapshot");
    let reference = name
        .parameter("sha")
        .or_else(|| name.parameter("h").filter(|_| is_snapshot))?;
    Some(reference.strip_prefix("refs/tags/").unwrap_or(reference))
}

/// Returns the name of a file in the query, without the folders before it.
///
/// The value may be a header field, as in `attachment; filename="x.tar.gz"`.
pub fn file<'a>(name: &TargetName<'a>) -> Option<&'a str> {
    name.parameters().find_map(|(_, value)| {
        let value = match value.split_once("filename=") {
            Some((_, quoted)) => quoted.split(';').next().unwrap_or_default(),
            None => value,
        };
        let file = value.trim().trim_matches(['"', '\'']);
        let file = file.rsplit('/').next().unwrap_or_default();
        file_suffix(file).map(|_| file)
    })
}
