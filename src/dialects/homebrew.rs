//! Homebrew, by `HOMEBREW_ARTIFACT_DOMAIN`: the URL of the file, with or without its scheme, and
//! the blobs of bottles, `/v2/homebrew/core/<name>/blobs/sha256:<hex>`.

use super::Wanted;
use crate::model::{Algorithm, Digest};

/// Returns what a path asks for. `path_and_query` is the part behind the dialect.
pub fn wanted(path_and_query: &str, segments: &[&str]) -> Wanted {
    match segments {
        ["v2", .., "blobs", last] => {
            let hex = last
                .strip_prefix("sha256:")
                .or(last.strip_prefix("sha256%3A"));
            Wanted::digest(hex.and_then(|hex| Digest::parse(Algorithm::Sha256, hex).ok()))
        }
        [] | ["v2", ..] | [_] => Wanted::Nothing,
        _ => Wanted::Url(format!("/{path_and_query}")),
    }
}
