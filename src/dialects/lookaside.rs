//! Fedora and CentOS: the lookaside cache of sources, and its check before an upload.
//!
//! - Fedora: `/repo/pkgs/<package>/<file>/<algorithm>/<hex>/<file>`, older
//!   `/repo/pkgs/<package>/<file>/<md5>/<file>`
//! - CentOS Stream: the same below `/sources/rpms/`
//! - old CentOS, Rocky: `/sources/<package>/<branch>/<hex>`, `/<hex>`
//!
//! The folders before the file differ between instances, so any are taken.

use super::Wanted;
use crate::catalog::{CatalogQuery, FileName};
use crate::model::Digest;

/// Returns what a path asks for.
pub fn wanted(segments: &[&str]) -> Wanted {
    match segments {
        [.., _package, file, algorithm, hex, last] if file == last && algorithm.len() < 8 => {
            let digest = algorithm.parse().ok();
            let digest = digest.and_then(|algorithm| Digest::parse(algorithm, hex).ok());
            Wanted::name_and_digest(last, digest)
        }
        [.., file, hex, last] if file == last => {
            Wanted::name_and_digest(last, Digest::from_hex_length(hex))
        }
        [.., hex] => Wanted::digest(Digest::from_hex_length(hex)),
        [] => Wanted::Nothing,
    }
}

/// Returns the file that the fields of an upload check ask for: `filename`, and `<algorithm>sum`.
#[must_use]
pub fn upload_check(fields: &[(String, String)]) -> Option<CatalogQuery> {
    let digest = fields.iter().find_map(|(name, value)| {
        let algorithm = name.strip_suffix("sum")?.parse().ok()?;
        Digest::parse(algorithm, value).ok()
    });
    let name = fields.iter().find(|(name, _)| name == "filename");
    Some(CatalogQuery {
        name: name.and_then(|(_, value)| FileName::new(value)),
        ..CatalogQuery::by_digest(digest?)
    })
}
