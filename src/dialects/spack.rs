//! Spack, by `mirrors`: `/_source-cache/archive/<two digits>/<digest>[.<suffix>]`, then
//! `/<package>/<package>-<version>.<suffix>`.

use super::Wanted;
use crate::model::Digest;

/// Returns what a path asks for.
pub fn wanted(segments: &[&str]) -> Wanted {
    match segments {
        ["_source-cache", "archive", folder, last] => {
            let hex = last.split('.').next().unwrap_or_default();
            let digest = Digest::from_hex_length(hex).filter(|_| hex.starts_with(folder));
            Wanted::digest(digest)
        }
        [package, last] if !package.starts_with('_') && last.starts_with(package) => {
            Wanted::name(last)
        }
        _ => Wanted::Nothing,
    }
}
