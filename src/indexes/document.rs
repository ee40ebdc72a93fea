//! Documents of indexes that are rewritten.
//!
//! The main type is [`IndexDocument`].

use super::registry::PackageRegistry;
use crate::model::Target;

/// Document of an index that is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexDocument {
    /// The list of all projects (PEP 503, PEP 691).
    PypiProjects,
    /// The files of one project.
    PypiProject,
    /// The versions of a package, in both forms, or one version.
    NpmPackage,
    /// `config.json` of a sparse index.
    CargoConfig,
}

impl IndexDocument {
    /// Returns the registry of the document.
    #[must_use]
    pub fn registry(self) -> PackageRegistry {
        match self {
            Self::PypiProjects | Self::PypiProject => PackageRegistry::Pypi,
            Self::NpmPackage => PackageRegistry::Npm,
            Self::CargoConfig => PackageRegistry::Cargo,
        }
    }

    /// Returns the `Accept` that an origin gets, for one that a client has sent. Few values keep
    /// few variants of a document.
    #[must_use]
    pub fn accept(self, sent: &str) -> Option<&'static str> {
        let has = |media_type: &str| sent.contains(media_type);
        match self {
            Self::PypiProjects | Self::PypiProject if has(PYPI_JSON) => Some(
                "application/vnd.pypi.simple.v1+json, \
                 application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1",
            ),
            Self::PypiProjects | Self::PypiProject if has(PYPI_HTML) => {
                Some("application/vnd.pypi.simple.v1+html, text/html;q=0.5")
            }
            Self::PypiProjects | Self::PypiProject => Some("text/html"),
            Self::NpmPackage if has(NPM_ABBREVIATED) => {
                Some("application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8")
            }
            Self::NpmPackage => Some("application/json"),
            Self::CargoConfig => None,
        }
    }
}

const PYPI_JSON: &str = "application/vnd.pypi.simple.v1+json";
const PYPI_HTML: &str = "application/vnd.pypi.simple.v1+html";
const NPM_ABBREVIATED: &str = "application/vnd.npm.install-v1+json";

/// Places that links of a document refer to.
#[derive(Debug, Clone, Copy)]
pub struct LinkPlaces<'a> {
    /// Target of the document.
    pub page: &'a Target,
    /// Base URL of the registry, without a trailing slash.
    pub upstream: &'a str,
    /// URL of this gateway, without a trailing slash.
    pub gateway: &'a str,
}
