//! Chooses the targets of a file: the URLs that lists, records and the catalog state, and a target
//! of its own for its name.
//!
//! This file must not know how a file is stored. The main type is [`TargetChoice`].

use std::ffi::OsStr;
use std::path::Path;

use super::error::AdoptError;
use super::folder_walk::FoundFile;
use super::known_sources::{KnownSources, StatedSources};
use super::own_target::{is_own_target, own_target};
use super::read_source::ReadSource;
use crate::cache::{Cache, CatalogEntry, EntryOrigin, TargetLookup};
use crate::catalog::FileName;
use crate::model::{Algorithm, Digest, Digests, NIX_BASE32, StoredHeaders, Target, file_names};
use crate::policy::{Admitted, Class, Policy};

/// Bound on the URLs of one file.
const MAX_URLS: usize = 16;

/// Digits of the digest in the name of a file in the store of Nix.
const NIX_HASH_DIGITS: usize = 32;

/// The parts that a choice uses.
pub struct TargetChoice<'a> {
    pub policy: &'a Policy,
    pub cache: &'a Cache,
    pub sources: &'a KnownSources,
    /// Folder of the file, without symbolic links.
    pub folder: &'a Path,
}

/// The targets under which a file is stored.
#[derive(Debug, Default)]
pub struct ChosenTargets {
    pub admitted: Vec<Admitted>,
    /// Whether one of them is that of a file without a URL.
    pub has_own: bool,
    /// Whether a list or the name states a digest of the file.
    pub is_confirmed: bool,
    /// Reasons why URLs do not count.
    pub notes: Vec<String>,
}

impl ChosenTargets {
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.admitted.iter().map(Admitted::target)
    }

    /// Adds a reason. Several lists may state the same URL.
    fn note(&mut self, reason: String) {
        if !self.notes.contains(&reason) {
            self.notes.push(reason);
        }
    }

    fn has(&self, target: &Target) -> bool {
        self.targets().any(|known| known == target)
    }

    /// Returns whether build systems find one of the targets by this name.
    fn has_name(&self, name: &FileName) -> bool {
        let headers = StoredHeaders::default();
        let mut names = self
            .targets()
            .flat_map(|target| file_names(target, &headers));
        names.any(|known| known == name.as_str())
    }
}

impl TargetChoice<'_> {
    /// Chooses the targets of a file.
    ///
    /// # Errors
    /// [`AdoptError::OtherDigest`] if a list or a URL states a digest that the file does not have,
    /// or [`AdoptError::Denied`] if policy denies all targets.
    pub async fn choose(
        &self,
        found: &FoundFile,
        read: &ReadSource,
    ) -> Result<ChosenTargets, AdoptError> {
        let mut chosen = ChosenTargets::default();
        let name = found.path.file_name().and_then(OsStr::to_str);
        let name = name.map(without_nix_hash);
        chosen.is_confirmed = confirm_name(name.unwrap_or_default(), &read.digests)?;
        let stated = match name {
            Some(name) => self.sources.find(name, self.folder, &read.digests)?,
            None => StatedSources::default(),
        };
        chosen.is_confirmed |= stated.is_confirmed;
        if let Some(count) = stated.ambiguous {
            chosen.note(format!(
                "{count} URLs have this name, and no digest decides"
            ));
        }
        let recorded = found.recorded_urls.iter().map(|url| Target::parse(url));
        let recorded = recorded.filter_map(Result::ok);
        let listed = self.in_catalog(&read.digests).await?;
        for target in stated.targets.into_iter().chain(recorded).chain(listed) {
            self.add(target, &read.digests, &mut chosen)?;
        }
        let name = name.and_then(FileName::new);
        self.add_own(name.as_ref(), &read.digests, &mut chosen)?;
        Ok(chosen)
    }

    /// Returns the targets that the catalog states for the digests.
    async fn in_catalog(&self, digests: &Digests) -> Result<Vec<Target>, AdoptError> {
        let others = digests.others.iter();
        let others = others.filter_map(|(algorithm, hex)| Digest::parse(*algorithm, hex).ok());
        let mut targets = Vec::new();
        for digest in std::iter::once(Digest::from(digests.sha256)).chain(others) {
            let entries = self.cache.catalog().by_digest(digest).await?;
            for entry in entries.into_iter().filter(|entry| fits(entry, digests)) {
                let Some(target) = entry.target else { continue };
                let counts = match entry.origin {
                    EntryOrigin::Import => true,
                    EntryOrigin::Record => self.is_answer(&target, digests).await?,
                };
                if counts && !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
        Ok(targets)
    }

    /// Returns whether a target with a record of the bytes is answered with them. Others have other
    /// bytes, and no list connects them with the file.
    async fn is_answer(&self, target: &Target, digests: &Digests) -> Result<bool, AdoptError> {
        if is_own_target(target) {
            return Ok(false);
        }
        Ok(match self.cache.lookup_uncached(target).await? {
            TargetLookup::Known(known) => known.active().sha256 == digests.sha256,
            TargetLookup::Unreadable { .. } | TargetLookup::NeverStored => false,
        })
    }

    /// Adds a URL. One that policy denies, or whose files are not stored, is noted.
    fn add(
        &self,
        target: Target,
        digests: &Digests,
        chosen: &mut ChosenTargets,
    ) -> Result<(), AdoptError> {
        let url = target.redacted();
        let admitted = match self.policy.admit(target) {
            Ok(admitted) => admitted,
            Err(denied) => {
                chosen.note(format!("not under {url}: {denied}"));
                return Ok(());
            }
        };
        if admitted.class() == Class::PassThrough {
            chosen.note(format!("not under {url}: files of this URL are not stored"));
            return Ok(());
        }
        check_required(&admitted, digests)?;
        if chosen.admitted.len() < MAX_URLS && !chosen.has(admitted.target()) {
            chosen.admitted.push(admitted);
        }
        Ok(())
    }

    /// Adds the target of a file without a URL, unless a URL has its name.
    fn add_own(
        &self,
        name: Option<&FileName>,
        digests: &Digests,
        chosen: &mut ChosenTargets,
    ) -> Result<(), AdoptError> {
        match name {
            Some(name) if chosen.has_name(name) => return Ok(()),
            Some(_) => {}
            None => {
                let text = "the name is no text that a URL can have; found by digest only";
                chosen.note(text.to_owned());
                if !chosen.admitted.is_empty() {
                    return Ok(());
                }
            }
        }
        let admitted = match self.policy.admit(own_target(digests.sha256, name)) {
            Ok(admitted) => admitted,
            Err(denied) if chosen.admitted.is_empty() => return Err(denied.into()),
            Err(denied) => {
                chosen.note(format!("not found by its name: {denied}"));
                return Ok(());
            }
        };
        check_required(&admitted, digests)?;
        chosen.has_own = true;
        chosen.admitted.push(admitted);
        Ok(())
    }
}

/// Returns whether no digest of an entry differs.
fn fits(entry: &CatalogEntry, digests: &Digests) -> bool {
    digests.first_mismatch(&entry.digests).is_none()
}

fn check_required(admitted: &Admitted, digests: &Digests) -> Result<(), AdoptError> {
    let required = admitted.required_digests();
    match digests.first_mismatch(&required) {
        None => Ok(()),
        Some(digest) => Err(AdoptError::OtherDigest {
            digest: digest.clone(),
            list: format!("policy.checksums_file or {}", admitted.target().redacted()),
        }),
    }
}

/// Compares a name that is a digest, as in the download caches of Conan and vcpkg. Returns whether
/// it is one.
fn confirm_name(name: &str, digests: &Digests) -> Result<bool, AdoptError> {
    let strong = [Algorithm::Sha256, Algorithm::Sha512];
    let mut parsed = strong.map(|algorithm| Digest::parse(algorithm, name).ok());
    let Some(digest) = parsed.iter_mut().find_map(Option::take) else {
        return Ok(false);
    };
    if digests
        .first_mismatch(&[digest.clone()].into_iter().collect())
        .is_some()
    {
        return Err(AdoptError::OtherDigest {
            digest,
            list: "its name".to_owned(),
        });
    }
    Ok(true)
}

/// Returns a name in the store of Nix without its digest: `<digest>-<name>`.
fn without_nix_hash(name: &str) -> &str {
    let Some((hash, rest)) = name.split_once('-') else {
        return name;
    };
    let is_hash =
        hash.len() == NIX_HASH_DIGITS && hash.bytes().all(|byte| NIX_BASE32.contains(&byte));
    if is_hash && !rest.is_empty() {
        rest
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_in_store_of_nix_is_found() {
        let hash = "0123456789abcdfghijklmnpqrsvwxyz";
        assert_eq!(
            without_nix_hash(&format!("{hash}-x-1.0.tar.gz")),
            "x-1.0.tar.gz"
        );
        for name in ["x-1.0.tar.gz", "e123456789abcdfghijklmnpqrsvwxyz-x", "a-"] {
            assert_eq!(without_nix_hash(name), name);
        }
    }
}
