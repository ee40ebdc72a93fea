//! `Cargo.lock`: the checksum is the SHA-256 of the `.crate` file.

use toml::{Table, Value};

use super::error::LockfileError;
use super::listing::LockListing;
use super::registry::RegistryKind;
use crate::model::{Algorithm, Digest};

/// Newest version of the format.
const MAX_VERSION: i64 = 4;

pub fn read_cargo_lock(text: &str, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    let invalid = |error: toml::de::Error| {
        LockfileError::Invalid(
            error
                .message()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let document: Table = toml::from_str(text).map_err(invalid)?;
    let version = document
        .get("version")
        .and_then(Value::as_integer)
        .unwrap_or(1);
    if !(1..=MAX_VERSION).contains(&version) {
        return Err(LockfileError::Version {
            format: "Cargo.lock",
            version: version.to_string(),
        });
    }
    let metadata = document.get("metadata").and_then(Value::as_table);
    let packages = document.get("package").and_then(Value::as_array);
    for package in packages.into_iter().flatten() {
        let field = |name: &str| package.get(name).and_then(Value::as_str);
        let (Some(name), Some(version)) = (field("name"), field("version")) else {
            continue;
        };
        let entry = format!("{name} {version}");
        // Without a source, it is a package of the workspace itself.
        let Some(source) = field("source") else {
            continue;
        };
        if source.starts_with("git+") {
            listing.note(&entry, "its source is a git repository, which is no file");
            continue;
        }
        // Version 1 has the checksums in a table of their own.
        let old = format!("checksum {name} {version} ({source})");
        let old = metadata
            .and_then(|table| table.get(&old))
            .and_then(Value::as_str);
        let checksum = field("checksum").or(old);
        let digest = checksum.and_then(|hex| Digest::parse(Algorithm::Sha256, hex).ok());
        let path = format!("{name}/{version}/download");
        listing.add_below(RegistryKind::Cargo, &entry, &path, digest)?;
    }
    Ok(())
}
