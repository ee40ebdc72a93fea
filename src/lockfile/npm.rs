//! `package-lock.json`: the URL is `resolved`, and `integrity` is the digest of the file.

use serde_json::{Map, Value};

use super::base64_digest::integrity_digest;
use super::error::LockfileError;
use super::listing::LockListing;

pub fn read_package_lock(
    document: &Value,
    listing: &mut LockListing<'_>,
) -> Result<(), LockfileError> {
    let version = &document["lockfileVersion"];
    match version.as_u64() {
        Some(1) => read_tree(document, listing),
        Some(2 | 3) => {
            let packages = document["packages"].as_object();
            for (path, package) in packages.into_iter().flatten() {
                // The first one is the project itself, and links are folders.
                if !path.is_empty() && package["link"] != true {
                    let name = path.rsplit("node_modules/").next().unwrap_or(path);
                    add(name, package, listing)?;
                }
            }
            Ok(())
        }
        _ => Err(LockfileError::Version {
            format: "package-lock.json",
            version: version.to_string(),
        }),
    }
}

/// Reads the tree of version 1. The parser of JSON bounds its depth.
fn read_tree(document: &Value, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    let empty = Map::new();
    for (name, package) in document["dependencies"].as_object().unwrap_or(&empty) {
        add(name, package, listing)?;
        read_tree(package, listing)?;
    }
    Ok(())
}

fn add(name: &str, package: &Value, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    let entry = format!("{name} {}", package["version"].as_str().unwrap_or_default());
    if package["bundled"] == true || package["inBundle"] == true {
        listing.note(&entry, "it is part of the file of another package");
        return Ok(());
    }
    let Some(url) = package["resolved"].as_str() else {
        listing.note(&entry, "the file states no URL");
        return Ok(());
    };
    let integrity = package["integrity"].as_str();
    let digest = integrity.and_then(integrity_digest);
    if digest.is_none() {
        listing.note(&entry, "no single digest is stated");
    }
    listing.add(&entry, url, digest)
}
