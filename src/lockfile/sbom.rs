//! CycloneDX as JSON: external references of the type `distribution`.

use serde_json::Value;

use super::error::LockfileError;
use super::listing::LockListing;
use crate::model::Digest;

pub fn read_cyclonedx(
    document: &Value,
    listing: &mut LockListing<'_>,
) -> Result<(), LockfileError> {
    for component in document["components"].as_array().into_iter().flatten() {
        let text = |name: &str| component[name].as_str().unwrap_or_default();
        let entry = format!("{} {}", text("name"), text("version"));
        let references = component["externalReferences"]
            .as_array()
            .into_iter()
            .flatten();
        let distributions = references.filter(|reference| {
            matches!(
                reference["type"].as_str(),
                Some("distribution" | "source-distribution")
            )
        });
        let distributions: Vec<&Value> = distributions.collect();
        if distributions.is_empty() {
            listing.note(
                &entry,
                "the component has no reference of the type distribution",
            );
        }
        for reference in &distributions {
            let mut digests = digests_of(&reference["hashes"]);
            // Those of the component are of its file, if there is only one.
            if digests.is_empty() && distributions.len() == 1 {
                digests = digests_of(&component["hashes"]);
            }
            if digests.is_empty() {
                listing.note(&entry, "no digest is stated");
            }
            let url = reference["url"].as_str().unwrap_or_default();
            listing.add(&entry, url, digests)?;
        }
        read_cyclonedx(component, listing)?;
    }
    Ok(())
}

fn digests_of(hashes: &Value) -> Vec<Digest> {
    let hashes = hashes.as_array().into_iter().flatten();
    let digest = |hash: &Value| {
        let algorithm = hash["alg"].as_str()?.to_ascii_lowercase().replace('-', "");
        Digest::parse(algorithm.parse().ok()?, hash["content"].as_str()?).ok()
    };
    hashes.filter_map(digest).collect()
}
