//! Conan 2, by `core.sources:download_urls`: `/<sha256>`, and `/<sha256>.json` with the recipes
//! that refer to the file.

use super::Wanted;
use crate::model::{Algorithm, Digest};

/// Returns what a path asks for.
pub fn wanted(segments: &[&str]) -> Wanted {
    let [last] = segments else {
        return Wanted::Nothing;
    };
    let hex = last.strip_suffix(".json");
    let digest = Digest::parse(Algorithm::Sha256, hex.unwrap_or(last)).ok();
    match Wanted::digest(digest) {
        Wanted::File(query) if hex.is_some() => Wanted::References(query),
        wanted => wanted,
    }
}
