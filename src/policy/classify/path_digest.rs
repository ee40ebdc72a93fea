//! Digests that a path states for its own bytes, as in `/by-hash/SHA256/<hex>`.
//!
//! The main type is [`PathDigest`].

use super::companion::companion_of;
use crate::model::{Algorithm, Digest};

/// Digits of the shortest strong digest, SHA-256 in nix-base32.
const MIN_STRONG_DIGITS: usize = 52;

/// Place to which a path belongs. It decides which forms of digests count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathScope {
    /// Path at an origin. Only SHA-256 and SHA-512 count, and only in forms that name them.
    Origin,
    /// Path below `/mirror/` of the gateway. Digests in the form of any dialect count.
    Mirror,
}

/// Digest in a path, which the body must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathDigest {
    digest: Digest,
    scope: PathScope,
}

impl PathDigest {
    /// Returns the digest that a decoded path in lower case states for its body.
    #[must_use]
    pub fn find(path: &str, scope: PathScope) -> Option<Self> {
        let mut segments = path.rsplit('/').filter(|part| !part.is_empty());
        let last = segments.next()?;
        let folders = Folders {
            parent: segments.next().unwrap_or_default(),
            above: segments.next().unwrap_or_default(),
        };
        let may_be_digest = |segment: &str| segment.len() >= MIN_STRONG_DIGITS;
        if scope == PathScope::Origin && !may_be_digest(last) && !may_be_digest(folders.parent) {
            return None;
        }
        let named = named_digest(folders, last)
            .or_else(|| blob_digest(folders, last))
            .or_else(|| repodata_digest(folders, last))
            .filter(|digest| scope == PathScope::Mirror || digest.algorithm() >= Algorithm::Sha256);
        let dialect = || match scope {
            PathScope::Origin => None,
            PathScope::Mirror => dialect_digest(folders, last),
        };
        let digest = named.or_else(dialect)?;
        Some(Self { digest, scope })
    }

    /// Returns the digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns whether the path is below `/mirror/` of the gateway.
    #[must_use]
    pub fn is_below_mirror(&self) -> bool {
        self.scope == PathScope::Mirror
    }
}

/// Last two folders of a path. Empty if there is none.
#[derive(Debug, Clone, Copy)]
struct Folders<'a> {
    above: &'a str,
    parent: &'a str,
}

/// Returns the digest of `/<algorithm>/<digest>`, `/<algorithm>/<digest>/<name>`, and
/// `/<algorithm>/<first digits>/<digest>`.
fn named_digest(folders: Folders<'_>, last: &str) -> Option<Digest> {
    if let Some(algorithm) = algorithm_of(folders.parent) {
        return parse(algorithm, last);
    }
    let algorithm = algorithm_of(folders.above)?;
    match last.strip_prefix(folders.parent) {
        Some(rest) if !rest.is_empty() => parse(algorithm, last),
        _ => parse(algorithm, folders.parent),
    }
}

/// Returns the digest of `/blobs/<algorithm>:<hex>`, and of a manifest of a container image.
fn blob_digest(folders: Folders<'_>, last: &str) -> Option<Digest> {
    if !["blobs", "manifests"].contains(&folders.parent) {
        return None;
    }
    let (algorithm, hex) = last.split_once(':')?;
    parse_hex(algorithm_of(algorithm)?, hex)
}

/// Returns the digest of `/repodata/<hex>-<name>`. A companion has the digest of its file in its
/// name.
fn repodata_digest(folders: Folders<'_>, last: &str) -> Option<Digest> {
    if folders.parent != "repodata" || companion_of(last).is_some() {
        return None;
    }
    let (hex, _) = last.split_once('-')?;
    of_length(hex)
}

/// Returns the digest of forms that only mirror dialects use: `/<digest>`, `/<digest>.<suffix>`
/// below `/archive/<first digits>/`, and `/<file>/<digest>/<file>`.
fn dialect_digest(folders: Folders<'_>, last: &str) -> Option<Digest> {
    let between = if folders.above == last {
        of_length(folders.parent)
    } else {
        None
    };
    let in_archive = || {
        let hex = last.split('.').next()?;
        let is_archive = folders.above == "archive" && hex.starts_with(folders.parent);
        of_length(hex).filter(|_| is_archive)
    };
    between.or_else(in_archive).or_else(|| of_length(last))
}

fn algorithm_of(name: &str) -> Option<Algorithm> {
    name.strip_suffix("sum").unwrap_or(name).parse().ok()
}

fn parse(algorithm: Algorithm, text: &str) -> Option<Digest> {
    Digest::from_text(algorithm, text)
}

fn parse_hex(algorithm: Algorithm, hex: &str) -> Option<Digest> {
    Digest::parse(algorithm, hex).ok()
}

fn of_length(hex: &str) -> Option<Digest> {
    Digest::from_hex_length(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, scope: PathScope) -> Option<String> {
        PathDigest::find(path, scope).map(|found| found.digest().to_string())
    }

    #[test]
    fn origin_paths_state_strong_digests_only() {
        let (md5, sha256, sha512) = ("ab".repeat(16), "ab".repeat(32), "ab".repeat(64));
        let expected = Some(format!("sha256:{sha256}"));
        for path in [
            format!("/dists/sid/main/by-hash/sha256/{sha256}"),
            format!("/v2/x/blobs/sha256:{sha256}"),
            format!("/os/repodata/{sha256}-primary.xml.gz"),
            format!("/sha256/{sha256}"),
            format!("/x/sha256/{sha256}/x.tar.gz"),
            format!("/x/sha256/ab/{sha256}"),
        ] {
            assert_eq!(found(&path, PathScope::Origin), expected, "{path}");
        }
        assert_eq!(
            found(
                &format!("/pkgs/x/x.gz/sha512/{sha512}/x.gz"),
                PathScope::Origin
            ),
            Some(format!("sha512:{sha512}"))
        );
        for path in [
            format!("/by-hash/md5sum/{md5}"),
            format!("/by-hash/sha256/{md5}"),
            format!("/os/repodata/{sha256}-primary.xml.gz.asc"),
            format!("/os/repodata/{md5}-primary.xml.gz"),
            format!("/x/{sha256}"),
            format!("/x/sha256/cd/{sha256}"),
            "/sha256".to_owned(),
            "/".to_owned(),
        ] {
            assert_eq!(found(&path, PathScope::Origin), None, "{path}");
        }
    }

    #[test]
    fn mirror_paths_state_digests_of_dialects() {
        let (md5, sha1, sha256) = ("ab".repeat(16), "ab".repeat(20), "ab".repeat(32));
        for (path, digest) in [
            (format!("/by-hash/md5sum/{md5}"), format!("md5:{md5}")),
            (format!("/opam/md5/ab/{md5}"), format!("md5:{md5}")),
            (format!("/x/x.gz/{md5}/x.gz"), format!("md5:{md5}")),
            (format!("/sources/x/main/{sha1}"), format!("sha1:{sha1}")),
            (
                format!("/spack/_source-cache/archive/ab/{sha256}.tar.gz"),
                format!("sha256:{sha256}"),
            ),
        ] {
            assert_eq!(found(&path, PathScope::Mirror), Some(digest), "{path}");
        }
        assert_eq!(found("/gentoo/distfiles/x.gz", PathScope::Mirror), None);
    }

    #[test]
    fn nix_base32_is_read() {
        // SHA-256 of the empty text.
        let path = "/sha256/0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(
            found(path, PathScope::Origin),
            Some(format!("sha256:{hex}"))
        );
        let none = "/sha256/zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";
        assert_eq!(found(none, PathScope::Origin), None);
    }
}
