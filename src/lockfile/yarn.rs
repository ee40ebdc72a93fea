//! `yarn.lock`, of the first version and of the later ones.

use super::base64_digest::integrity_digest;
use super::error::LockfileError;
use super::listing::LockListing;
use super::registry::RegistryKind;
use crate::model::{Algorithm, Digest};

/// Entry of a `yarn.lock`.
#[derive(Default)]
struct YarnEntry<'a> {
    name: &'a str,
    resolved: Option<&'a str>,
    integrity: Option<&'a str>,
    resolution: Option<&'a str>,
}

pub fn read_yarn_lock(text: &str, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    let mut entry = YarnEntry::default();
    for line in text.lines() {
        if !line.starts_with([' ', '#']) && line.trim_end().ends_with(':') {
            add(&std::mem::take(&mut entry), listing)?;
            entry.name = line.trim_end_matches(':').trim_matches('"');
            continue;
        }
        let line = line.trim();
        let value = |key: &str| {
            let rest = line.strip_prefix(key)?;
            let rest = rest.strip_prefix([' ', ':'])?;
            Some(rest.trim().trim_matches('"'))
        };
        entry.resolved = value("resolved").or(entry.resolved);
        entry.integrity = value("integrity").or(entry.integrity);
        entry.resolution = value("resolution").or(entry.resolution);
    }
    add(&entry, listing)
}

fn add(entry: &YarnEntry<'_>, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    if let Some(resolved) = entry.resolved {
        let (url, fragment) = resolved.split_once('#').unwrap_or((resolved, ""));
        let digest = entry.integrity.and_then(integrity_digest);
        let digest = digest.or_else(|| Digest::parse(Algorithm::Sha1, fragment).ok());
        if digest.is_none() {
            listing.note(entry.name, "no single digest is stated");
        }
        return listing.add(entry.name, url, digest);
    }
    let Some(resolution) = entry.resolution else {
        return Ok(());
    };
    // Later versions: "name@npm:1.0". Their checksum is that of an archive that yarn makes itself.
    let Some((name, version)) = resolution.rsplit_once("@npm:") else {
        if !resolution.contains("@workspace:") {
            listing.note(resolution, "it does not come from a registry");
        }
        return Ok(());
    };
    listing.note(
        resolution,
        "the checksum is not that of the file, so that none is stated",
    );
    let file = name.rsplit('/').next().unwrap_or(name);
    let path = format!("{name}/-/{file}-{version}.tgz");
    listing.add_below(RegistryKind::Npm, resolution, &path, None)
}
