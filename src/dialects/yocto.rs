//! Yocto: `/<file>` by `SOURCE_MIRROR_URL`, and `/<MIRRORNAME>/<file>` or `/<MIRRORNAME>` by a
//! `PREMIRRORS` line with `MIRRORNAME`, which is host and path with dots for slashes.

use super::Wanted;
use crate::catalog::{CatalogQuery, FileName};

/// Returns what a path asks for.
pub fn wanted(segments: &[&str]) -> Wanted {
    match segments {
        // A name that no target has may be a `MIRRORNAME`.
        [name] => match FileName::from_segment(name) {
            Some(name) => Wanted::File(CatalogQuery {
                mirror_name: Some(name.as_str().to_owned()),
                ..CatalogQuery::by_name(name)
            }),
            None => Wanted::Nothing,
        },
        [mirror_name, name] => {
            let names = (
                FileName::from_segment(mirror_name),
                FileName::from_segment(name),
            );
            let (Some(mirror_name), Some(name)) = names else {
                return Wanted::Nothing;
            };
            Wanted::File(CatalogQuery {
                mirror_name: Some(mirror_name.as_str().to_owned()),
                ..CatalogQuery::by_name(name)
            })
        }
        _ => Wanted::Nothing,
    }
}
