//! The line of the classification that decided, as people read it.

use std::fmt;

use super::evidence::Evidence;
use super::index_table::System;
use super::moving::Movement;

/// Line of the classification that decided the class of a target, with its details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The URL contains a login.
    Credentials,
    /// The query contains a signature or a token.
    SignedQuery,
    /// A rule sets the class. Rules count from 1, in the order of the configuration.
    Rule(usize),
    /// The path states the digest of the body.
    PathDigest,
    /// The file that the target accompanies has this reason.
    CompanionOf(Box<Self>),
    /// The name is that of an index.
    IndexName(System),
    /// The ref is a branch of a distribution that is named like a release.
    DistributionBranch(&'static str),
    /// The name fixes the bytes.
    Fixed(Evidence),
    /// The name shows that its bytes change.
    Moving(Movement),
    /// The name has a file suffix, and nothing that fixes or moves it.
    FileSuffix,
    /// Nothing in the target names a file.
    NoFileName,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials => f.write_str("credentials"),
            Self::SignedQuery => f.write_str("signed query"),
            Self::Rule(number) => write!(f, "rule {number}"),
            Self::PathDigest => f.write_str("digest in the path"),
            Self::CompanionOf(file) => write!(f, "companion of {file}"),
            Self::IndexName(system) => write!(f, "index name of {system}"),
            Self::DistributionBranch(pattern) => {
                write!(f, "branch of a distribution, {pattern}")
            }
            Self::Fixed(evidence) => evidence.fmt(f),
            Self::Moving(movement) => movement.fmt(f),
            Self::FileSuffix => f.write_str("file suffix only"),
            Self::NoFileName => f.write_str("no file name"),
        }
    }
}
