//! Lists of files in the formats of build systems. The main type is [`ListFormat`].
//!
//! A list with a bad line has no entries: half of a list could make a name look unambiguous.

mod apt;
mod conandata;
mod manifest;
mod nix;
mod plain;

use std::str::FromStr;

use super::query::FileName;
use crate::cache::{CatalogEntry, EntryOrigin};
use crate::model::{Digest, ExpectedDigests, Target};

pub use apt::parse_apt_list;

/// Format of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// `<hex>  <URL>`, as `sha256sum` writes it, with URLs for names.
    Sums,
    /// `sources` of a Fedora package.
    FedoraSources,
    /// `Manifest` of a Gentoo package, with the `SRC_URI` lines of its metadata cache.
    GentooManifest,
    /// `.hash` of a Buildroot package.
    BuildrootHash,
    /// `distinfo` of a FreeBSD port.
    Distinfo,
    /// `conandata.yml` of a Conan recipe.
    Conandata,
    /// A Nix file with calls of `fetchurl`.
    NixFetchurl,
}

/// A line that is not of the format. No entry of its list is imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}; nothing was imported")]
pub struct BadLine {
    pub line: usize,
    pub reason: &'static str,
}

/// Error returned for an unknown name of a format. The text lists those that exist.
#[derive(Debug, thiserror::Error)]
#[error("the format must be one of {}", ListFormat::names())]
pub struct UnknownFormat;

impl ListFormat {
    pub const ALL: [Self; 7] = [
        Self::Sums,
        Self::FedoraSources,
        Self::GentooManifest,
        Self::BuildrootHash,
        Self::Distinfo,
        Self::Conandata,
        Self::NixFetchurl,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sums => "sums",
            Self::FedoraSources => "fedora-sources",
            Self::GentooManifest => "gentoo-manifest",
            Self::BuildrootHash => "buildroot-hash",
            Self::Distinfo => "distinfo",
            Self::Conandata => "conandata",
            Self::NixFetchurl => "nix-fetchurl",
        }
    }

    fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// Returns the format that a file name suggests.
    #[must_use]
    pub fn of_file_name(name: &str) -> Self {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        match name {
            "sources" => Self::FedoraSources,
            "Manifest" => Self::GentooManifest,
            "distinfo" => Self::Distinfo,
            "conandata.yml" => Self::Conandata,
            _ if ending == Some("hash") => Self::BuildrootHash,
            _ if ending == Some("nix") => Self::NixFetchurl,
            _ => Self::Sums,
        }
    }

    /// Parses a list.
    ///
    /// # Errors
    /// [`BadLine`] with the first line that is not of the format.
    pub fn parse(self, text: &str) -> Result<Vec<CatalogEntry>, BadLine> {
        match self {
            Self::Sums => plain::each_line(text, plain::sums_line),
            Self::FedoraSources => plain::each_line(text, plain::sources_line),
            Self::BuildrootHash => plain::each_line(text, plain::hash_line),
            Self::Distinfo => plain::distinfo(text),
            Self::GentooManifest => manifest::parse(text),
            Self::Conandata => conandata::parse(text),
            Self::NixFetchurl => Ok(nix::parse(text)),
        }
    }
}

impl FromStr for ListFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let mut all = Self::ALL.into_iter();
        all.find(|format| format.as_str() == text)
            .ok_or(UnknownFormat)
    }
}

/// Returns the entry of a file with digests, and without a URL.
fn named(name: &FileName, digests: ExpectedDigests) -> CatalogEntry {
    CatalogEntry {
        name: name.as_str().to_owned(),
        target: None,
        size_bytes: None,
        digests,
        origin: EntryOrigin::Import,
    }
}

/// Returns the entry of a URL. The fragment `#/name` names the file, as in RPM. Returns `None` for
/// a URL that is no target, such as that of a list of mirrors.
fn located(url: &str, name: Option<&FileName>, digests: ExpectedDigests) -> Option<CatalogEntry> {
    let (url, fragment) = url.split_once("#/").unwrap_or((url, ""));
    let target = Target::parse(url).ok()?;
    let segment = || FileName::from_segment(target.path().rsplit('/').next()?);
    let name = name
        .cloned()
        .or_else(|| FileName::new(fragment))
        .or_else(segment)?;
    Some(CatalogEntry {
        target: Some(target),
        ..named(&name, digests)
    })
}

/// Returns the digest of an algorithm that Millpond computes. `Ok(None)` for another algorithm.
fn digest(algorithm: &str, hex: &str) -> Result<Option<Digest>, &'static str> {
    let Ok(algorithm) = algorithm.to_ascii_lowercase().parse() else {
        return Ok(None);
    };
    let digest = Digest::parse(algorithm, hex);
    digest
        .map(Some)
        .map_err(|_| "the digest has the wrong number of hexadecimal digits")
}
