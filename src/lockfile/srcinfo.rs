//! `.SRCINFO` of Arch Linux: lists of sources and of digests, in the same order.

use std::collections::BTreeMap;

use super::error::LockfileError;
use super::listing::LockListing;
use crate::model::{Algorithm, Digest};

pub fn read_srcinfo(text: &str, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    // By the suffix of the architecture, such as "_x86_64".
    let mut sources: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut sums: BTreeMap<(&str, Algorithm), Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(" = ") else {
            continue;
        };
        if let Some(arch) = suffix(key, "source") {
            sources.entry(arch).or_default().push(value);
            continue;
        }
        for algorithm in [
            Algorithm::Sha256,
            Algorithm::Sha512,
            Algorithm::Sha1,
            Algorithm::Md5,
        ] {
            if let Some(arch) = suffix(key, &format!("{}sums", algorithm.as_str())) {
                sums.entry((arch, algorithm)).or_default().push(value);
            }
        }
    }
    for (arch, sources) in sources {
        for (at, source) in sources.into_iter().enumerate() {
            let (name, url) = source.split_once("::").unwrap_or((source, source));
            if !url.contains("://") {
                // A file beside the list.
                continue;
            }
            let listed = sums.iter().filter(|((of, _), _)| *of == arch);
            let digests = listed.filter_map(|((_, algorithm), hexes)| {
                Digest::parse(*algorithm, hexes.get(at)?).ok()
            });
            let digests: Vec<Digest> = digests.collect();
            if digests.is_empty() {
                listing.note(name, "no digest is stated");
            }
            listing.add(name, url, digests)?;
        }
    }
    Ok(())
}

/// Returns the architecture behind a key, or an empty text.
fn suffix<'a>(key: &'a str, name: &str) -> Option<&'a str> {
    let rest = key.strip_prefix(name)?;
    (rest.is_empty() || rest.starts_with('_')).then_some(rest)
}
