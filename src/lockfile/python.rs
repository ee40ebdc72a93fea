//! Requirements of pip with `--hash`, and lock files of conda.

use super::error::LockfileError;
use super::listing::LockListing;
use crate::model::{Algorithm, Digest};

pub fn read_requirements(text: &str, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    for line in joined.lines() {
        let line = line.trim();
        let line = line.split(" #").next().unwrap_or(line);
        if line.is_empty() || line.starts_with(['#', '-']) {
            continue;
        }
        let hashes: Vec<&str> = line.split_whitespace().filter_map(hash_of).collect();
        let mut words = line.split_whitespace();
        let url = words.find(|word| word.contains("://"));
        let name = line.split([' ', ';', '@']).next().unwrap_or(line);
        let Some(url) = url else {
            listing.note(name, "a requirement states a name and no URL");
            continue;
        };
        // Several digests are of several files, and any of them may be meant.
        let digest = match hashes[..] {
            [hash] => Digest::parse_named(hash).ok(),
            _ => fragment_digest(url),
        };
        if digest.is_none() {
            listing.note(name, "no single digest is stated");
        }
        listing.add(name, url, digest)?;
    }
    Ok(())
}

fn hash_of(word: &str) -> Option<&str> {
    word.strip_prefix("--hash=")
}

fn fragment_digest(url: &str) -> Option<Digest> {
    let (_, fragment) = url.split_once('#')?;
    Digest::parse_named(&fragment.replacen('=', ":", 1)).ok()
}

/// Lists of conda with `@EXPLICIT`: one URL a line, with an MD5 or SHA-256 behind `#`.
pub fn read_conda_list(text: &str, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '@']) {
            continue;
        }
        let (url, fragment) = line.split_once('#').unwrap_or((line, ""));
        let name = url.rsplit('/').next().unwrap_or(url);
        let digest = match fragment.strip_prefix("sha256:") {
            Some(hex) => Digest::parse(Algorithm::Sha256, hex),
            None => Digest::parse(Algorithm::Md5, fragment),
        };
        if digest.is_err() {
            listing.note(name, "no digest is stated");
        }
        listing.add(name, url, digest.ok())?;
    }
    Ok(())
}

/// `conda-lock.yml`: entries with `url`, and with `md5` and `sha256` below `hash`.
pub fn read_conda_lock(text: &str, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
    let mut entry = CondaEntry::default();
    for line in text.lines() {
        let text = line.trim_start();
        if text.starts_with("- ") {
            std::mem::take(&mut entry).add(listing)?;
        }
        let Some((key, value)) = text.trim_start_matches("- ").split_once(": ") else {
            continue;
        };
        let value = value.trim().trim_matches(['"', '\'']);
        match key {
            "url" => entry.url = value,
            "md5" => entry.digests.extend(Digest::parse(Algorithm::Md5, value)),
            "sha256" => entry
                .digests
                .extend(Digest::parse(Algorithm::Sha256, value)),
            _ => {}
        }
    }
    entry.add(listing)
}

#[derive(Default)]
struct CondaEntry<'a> {
    url: &'a str,
    digests: Vec<Digest>,
}

impl CondaEntry<'_> {
    fn add(self, listing: &mut LockListing<'_>) -> Result<(), LockfileError> {
        // Channels have URLs too, and no digest.
        if !self.url.contains("://") || self.digests.is_empty() {
            return Ok(());
        }
        let name = self.url.rsplit('/').next().unwrap_or(self.url);
        listing.add(name, self.url, self.digests)
    }
}
