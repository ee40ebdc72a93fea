//! URLs that a record beside a file states: `<sha256>.json` in the download cache of Conan.
//!
//! The main function is [`read_recorded_urls`].

use std::fs::File;
use std::io::Read as _;

use serde::Deserialize;
use std::collections::BTreeMap;

/// Longest record that is read, in bytes. One package has a few URLs.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// Bound on the URLs of one record.
const MAX_URLS: usize = 64;

/// A record of Conan: the URLs by the package that uses them.
#[derive(Deserialize)]
struct ConanRecord {
    #[serde(default)]
    references: BTreeMap<String, Vec<String>>,
}

/// Returns the URLs of a record. A record in another form has none.
#[must_use]
pub fn read_recorded_urls(record: File) -> Vec<String> {
    let mut bytes = Vec::new();
    if record
        .take(MAX_RECORD_BYTES)
        .read_to_end(&mut bytes)
        .is_err()
    {
        return Vec::new();
    }
    let parsed: Option<ConanRecord> = serde_json::from_slice(&bytes).ok();
    let urls = parsed.into_iter().flat_map(|record| record.references);
    let mut all: Vec<String> = urls.flat_map(|(_, urls)| urls).take(MAX_URLS).collect();
    all.sort();
    all.dedup();
    all
}
