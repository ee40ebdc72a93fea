//! SPDX as JSON and as tags with values: the download locations of packages.

use serde_json::Value;

use super::error::LockfileError;
use super::listing::LockListing;
use crate::model::Digest;

pub fn read_spdx(document: &Value, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    for package in document["packages"].as_array().into_iter().flatten() {
        let text = |name: &str| package[name].as_str().unwrap_or_default();
        let mut entry = SpdxPackage {
            name: text("name").to_owned(),
            location: text("downloadLocation").to_owned(),
            digests: Vec::new(),
        };
        for checksum in package["checksums"].as_array().into_iter().flatten() {
            let algorithm = checksum["algorithm"].as_str().unwrap_or_default();
            let hex = checksum["checksumValue"].as_str().unwrap_or_default();
            entry.digests.extend(digest_of(algorithm, hex));
        }
        entry.add(listing)?;
    }
    Ok(())
}

pub fn read_spdx_tags(text: &str, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    let mut entry = SpdxPackage::default();
    for line in text.lines() {
        let Some((tag, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match tag {
            "PackageName" => {
                std::mem::take(&mut entry).add(listing)?;
                value.clone_into(&mut entry.name);
            }
            "PackageDownloadLocation" => value.clone_into(&mut entry.location),
            "PackageChecksum" => {
                let (algorithm, hex) = value.split_once(':').unwrap_or((value, ""));
                entry.digests.extend(digest_of(algorithm, hex.trim()));
            }
            _ => {}
        }
    }
    entry.add(listing)
}

fn digest_of(algorithm: &str, hex: &str) -> Option<Digest> {
    let algorithm = algorithm.to_ascii_lowercase().replace('-', "");
    Digest::parse(algorithm.parse().ok()?, hex).ok()
}

#[derive(Default)]
struct SpdxPackage {
    name: String,
    location: String,
    digests: Vec<Digest>,
}

impl SpdxPackage {
    fn add(self, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
        if self.name.is_empty() && self.location.is_empty() {
            return Ok(());
        }
        if matches!(&self.location[..], "" | "NOASSERTION" | "NONE") {
            listing.note(&self.name, "no download location is stated");
            return Ok(());
        }
        if self.digests.is_empty() {
            listing.note(&self.name, "no digest is stated");
        }
        listing.add(&self.name, &self.location, self.digests)
    }
}
