//! Cacheability class of a target by its name.

use serde::{Deserialize, Serialize};

use super::mutability::Mutability;
use crate::model::{FileType, Target};

/// Cacheability class of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Once fetched and checked, the bytes stay the answer until an operator changes it.
    Immutable,
    /// Stored and reused by RFC 9111: the origin is asked again when the bytes are stale.
    Revalidate,
    /// Streamed to the client, and not stored.
    #[serde(rename = "pass")]
    PassThrough,
}

impl Class {
    /// Returns whether the class is [`Class::Immutable`].
    #[must_use]
    pub fn is_immutable(self) -> bool {
        match self {
            Self::Immutable => true,
            Self::Revalidate | Self::PassThrough => false,
        }
    }
}

/// Returns the class of a target for which no rule sets one.
pub fn classify(target: &Target) -> Class {
    // A response to a signed or authenticated request must not be shared with other clients.
    if target.has_credentials() || target.is_signed() {
        return Class::PassThrough;
    }
    if Mutability::detect(target).is_some() {
        return Class::Revalidate;
    }
    if FileType::is_immutable_path(target.path()) {
        Class::Immutable
    } else {
        Class::Revalidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(path: &str) -> Class {
        classify(&Target::parse(&format!("https://example.org{path}")).unwrap())
    }

    #[test]
    fn names_of_releases_are_immutable() {
        for path in [
            "/pool/main/l/linux/linux_6.1.176.orig.tar.xz",
            "/x-1.0.tar.gz",
            "/X-1.0.TAR.GZ",
            "/main/head/trunk/x-1.0.zip",
            "/repo.git/snapshot/repo-1.0.tar.gz",
            "/owner/repo/archive/refs/tags/v1.0.tar.gz",
            "/owner/repo/tar.gz/v1.0",
            "/owner/repo/legacy.tar.gz/0123abc",
            "/projects/x/files/x-1.0.tar.gz/download",
            "/x-1.0.tar.gz.asc",
            "/0001-fix.patch",
            "/x-1.0.tar.gz?download=1",
        ] {
            assert_eq!(class(path), Class::Immutable, "{path}");
        }
    }

    #[test]
    fn mutable_and_secret_targets_pass_through() {
        for path in [
            "/",
            "/index.html",
            "/x.tar.gz/",
            "/owner/repo/archive/refs/heads/main.tar.gz",
            "/owner/repo/archive/master.zip",
            "/group/repo/-/archive/master/repo-master.tar.gz",
            "/owner/repo/tar.gz/main",
            "/owner/repo/releases/latest/download/x.tar.gz",
            "/x-latest.tar.gz",
            "/nightly/x-1.0.tar.gz",
            "/debian/dists/stable/main/source/Sources.xz",
            "/.gz",
        ] {
            assert_eq!(class(path), Class::Revalidate, "{path}");
        }
        for query in ["X-Amz-Signature=abc", "private_token=abc"] {
            let path = format!("/x-1.0.tar.gz?{query}");
            assert_eq!(class(&path), Class::PassThrough, "{path}");
        }
    }
}
