//! URLs and digests that specs and lists state for file names.
//!
//! A name may belong to several files, as `v1.0.tar.gz` does. So a URL counts only if a digest
//! confirms it, or if all lists agree. This file must not know the formats of lists. The main type
//! is [`KnownSources`].

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::error::AdoptError;
use crate::model::{Digest, Digests, ExpectedDigests, Target};

/// Bound on the entries of all lists. A tree of a large distribution has some 200,000.
const MAX_ENTRIES: usize = 1_000_000;

/// A file that a list names.
#[derive(Debug, Clone)]
pub struct KnownSource {
    pub target: Option<Target>,
    /// Digests that the file must have. Empty if the list states none.
    pub digests: ExpectedDigests,
    /// List that names the file.
    pub list: Arc<Path>,
}

/// Error returned for more entries than [`KnownSources`] holds.
#[derive(Debug, thiserror::Error)]
#[error("the lists name more than {MAX_ENTRIES} files; name fewer of them")]
pub struct TooManySources;

/// Files that lists name, by their names.
#[derive(Debug, Default)]
pub struct KnownSources {
    by_name: HashMap<Box<str>, Vec<KnownSource>>,
    count: usize,
}

/// The lists' statements about one file.
#[derive(Debug, Default)]
pub struct StatedSources {
    pub targets: Vec<Target>,
    /// Whether a digest of a list was compared.
    pub is_confirmed: bool,
    /// Number of URLs of the name, if it is unclear which one is that of the file.
    pub ambiguous: Option<usize>,
}

impl KnownSources {
    /// Adds a file of a list.
    ///
    /// # Errors
    /// [`TooManySources`].
    pub fn add(&mut self, name: &str, source: KnownSource) -> Result<(), TooManySources> {
        if self.count == MAX_ENTRIES {
            return Err(TooManySources);
        }
        self.count += 1;
        if let Some(known) = self.by_name.get_mut(name) {
            known.push(source);
        } else {
            self.by_name.insert(name.into(), vec![source]);
        }
        Ok(())
    }

    /// Returns the statements about a file with these digests, which lies in `folder`. Lists in
    /// the same folder take precedence.
    ///
    /// # Errors
    /// [`AdoptError::OtherDigest`] if all digests of the name are those of other bytes.
    pub fn find(
        &self,
        name: &str,
        folder: &Path,
        digests: &Digests,
    ) -> Result<StatedSources, AdoptError> {
        let Some(known) = self.by_name.get(name) else {
            return Ok(StatedSources::default());
        };
        let is_beside = |source: &&KnownSource| source.list.parent() == Some(folder);
        let beside: Vec<&KnownSource> = known.iter().filter(is_beside).collect();
        let known = if beside.is_empty() {
            known.iter().collect()
        } else {
            beside
        };
        stated(&known, digests)
    }
}

fn stated(known: &[&KnownSource], digests: &Digests) -> Result<StatedSources, AdoptError> {
    let (stating, silent): (Vec<&KnownSource>, Vec<&KnownSource>) = known
        .iter()
        .copied()
        .partition(|source| !source.digests.is_empty());
    let matches = |source: &&&KnownSource| digests.first_mismatch(&source.digests).is_none();
    let matching: Vec<&KnownSource> = stating.iter().filter(matches).copied().collect();
    if matching.is_empty()
        && let Some((digest, list)) = first_other(&stating, digests)
    {
        return Err(AdoptError::OtherDigest { digest, list });
    }
    let is_confirmed = !matching.is_empty();
    let mut targets = targets_of(&matching);
    let others = targets_of(&silent);
    let mut ambiguous = None;
    if targets.is_empty() || is_of_one_list(&silent) {
        if others.len() <= 1 || is_of_one_list(&silent) {
            targets.extend(others);
            targets = unique(targets);
        } else {
            ambiguous = Some(others.len());
        }
    }
    Ok(StatedSources {
        targets,
        is_confirmed,
        ambiguous,
    })
}

/// Returns the first digest that the bytes do not have, and its list.
fn first_other(stating: &[&KnownSource], digests: &Digests) -> Option<(Digest, String)> {
    let mut others = stating.iter().filter_map(|source| {
        let digest = digests.first_mismatch(&source.digests)?;
        Some((digest.clone(), source.list.display().to_string()))
    });
    others.next()
}

/// Returns whether one list has all these entries. A list has one file of a name, and several URLs
/// of it at most.
fn is_of_one_list(sources: &[&KnownSource]) -> bool {
    let mut lists = sources.iter().map(|source| &source.list);
    let first = lists.next();
    first.is_some_and(|first| lists.all(|list| list == first))
}

fn targets_of(sources: &[&KnownSource]) -> Vec<Target> {
    let targets = sources.iter().filter_map(|source| source.target.clone());
    unique(targets.collect())
}

fn unique(targets: Vec<Target>) -> Vec<Target> {
    let mut unique: Vec<Target> = Vec::new();
    for target in targets {
        if !unique.contains(&target) {
            unique.push(target);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Hasher;

    const URL: &str = "https://example.org/x-1.0.tar.gz";
    const OTHER_URL: &str = "https://example.net/x-1.0.tar.gz";

    fn digests() -> Digests {
        let mut hasher = Hasher::with_all_algorithms();
        hasher.update(b"x");
        hasher.finish()
    }

    fn source(list: &str, url: Option<&str>, digest: Option<&str>) -> KnownSource {
        let digest = digest.map(|digest| Digest::parse_named(digest).unwrap());
        KnownSource {
            target: url.map(|url| Target::parse(url).unwrap()),
            digests: digest.into_iter().collect(),
            list: Path::new(list).into(),
        }
    }

    fn find(sources: Vec<KnownSource>) -> Result<StatedSources, AdoptError> {
        let mut known = KnownSources::default();
        for source in sources {
            known.add("x-1.0.tar.gz", source).unwrap();
        }
        known.find("x-1.0.tar.gz", Path::new("/sources"), &digests())
    }

    #[test]
    fn digest_confirms_the_url_of_another_list() {
        let own = format!("md5:{}", digests().others[&crate::model::Algorithm::Md5]);
        let found = find(vec![
            source("/a/x.spec", Some(URL), None),
            source("/m/Manifest", None, Some(&own)),
        ])
        .unwrap();
        assert!(found.is_confirmed);
        assert_eq!(found.targets.len(), 1);
        assert_eq!(found.targets[0].as_str(), URL);
    }

    #[test]
    fn name_with_two_urls_is_ambiguous() {
        let found = find(vec![
            source("/a/x.spec", Some(URL), None),
            source("/b/y.spec", Some(OTHER_URL), None),
        ])
        .unwrap();
        assert_eq!(found.ambiguous, Some(2));
        assert!(found.targets.is_empty());
        let found = find(vec![
            source("/sources/x.spec", Some(URL), None),
            source("/b/y.spec", Some(OTHER_URL), None),
        ])
        .unwrap();
        assert_eq!(found.targets[0].as_str(), URL, "a list beside the file");
    }

    #[test]
    fn other_digest_is_refused() {
        let other = format!("sha256:{}", "ab".repeat(32));
        let stated = vec![source("/m/Manifest", Some(URL), Some(&other))];
        assert!(matches!(
            find(stated),
            Err(AdoptError::OtherDigest { list, .. }) if list == "/m/Manifest"
        ));
        let own = format!("sha256:{}", digests().sha256);
        let found = find(vec![
            source("/m/Manifest", Some(OTHER_URL), Some(&other)),
            source("/n/Manifest", Some(URL), Some(&own)),
        ])
        .unwrap();
        assert_eq!(found.targets[0].as_str(), URL);
    }
}
