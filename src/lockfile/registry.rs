//! Base URLs of registries, for files whose URL a lock file does not contain.
//!
//! The main type is [`RegistryBases`].

use std::fmt;
use std::str::FromStr;

use crate::model::Target;

/// Kind of a registry, or of a folder of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryKind {
    /// `BASE/NAME/VERSION/download`
    Cargo,
    /// `BASE/N/NAME/FILE`
    Pypi,
    /// `BASE/NAME/-/FILE`
    Npm,
    /// `BASE/MODULE/@v/VERSION.zip`
    Go,
    /// `BASE/FILE`
    Files,
}

impl RegistryKind {
    pub const ALL: [Self; 5] = [Self::Cargo, Self::Pypi, Self::Npm, Self::Go, Self::Files];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Pypi => "pypi",
            Self::Npm => "npm",
            Self::Go => "go",
            Self::Files => "files",
        }
    }
}

impl fmt::Display for RegistryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Base URL of one registry, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryBase {
    pub kind: RegistryKind,
    pub url: String,
}

/// Error returned for a text that is no base URL of a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryBaseError {
    #[error("must be like cargo=URL; the kinds are cargo, pypi, npm, go and files")]
    Form,
    #[error("{0}")]
    Url(#[from] crate::model::TargetError),
}

impl FromStr for RegistryBase {
    type Err = RegistryBaseError;

    fn from_str(text: &str) -> Result<Self, RegistryBaseError> {
        let (kind, url) = text.split_once('=').ok_or(RegistryBaseError::Form)?;
        let kinds = RegistryKind::ALL.into_iter();
        let kind = kinds.clone().find(|known| known.as_str() == kind);
        let kind = kind.ok_or(RegistryBaseError::Form)?;
        Target::parse(url)?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { kind, url })
    }
}

/// Base URLs of registries.
#[derive(Debug, Clone, Default)]
pub struct RegistryBases(pub Vec<RegistryBase>);

impl RegistryBases {
    /// Returns the base URL of a registry.
    #[must_use]
    pub fn get(&self, kind: RegistryKind) -> Option<&str> {
        let base = self.0.iter().find(|base| base.kind == kind)?;
        Some(&base.url)
    }
}
