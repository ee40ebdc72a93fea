//! Documents of indexes that are rewritten.
//!
//! The main type is [`IndexDocument`].

use std::cell::Cell;

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
        let has_pypi_json = || has(PYPI_JSON) || has(PYPI_LATEST_JSON);
        match self {
            Self::PypiProjects | Self::PypiProject if has_pypi_json() => Some(
                "application/vnd.pypi.simple.v1+json, \
                 application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1",
            ),
            Self::PypiProjects | Self::PypiProject if has(PYPI_HTML) || has(PYPI_LATEST_HTML) => {
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
const PYPI_LATEST_JSON: &str = "application/vnd.pypi.simple.latest+json";
const PYPI_LATEST_HTML: &str = "application/vnd.pypi.simple.latest+html";
const NPM_ABBREVIATED: &str = "application/vnd.npm.install-v1+json";

/// Bound on the bytes of all new links of a document. A short link may stand for a long URL.
const MAX_LINK_BYTES: usize = 64 << 20;

/// Bytes that new links of a document may still take.
#[derive(Debug)]
pub struct LinkBudget(Cell<usize>);

impl Default for LinkBudget {
    fn default() -> Self {
        Self(Cell::new(MAX_LINK_BYTES))
    }
}

impl LinkBudget {
    /// Whether a link has found too few bytes. The document must be refused then.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    /// Takes the bytes of a link. Returns `None` if too few are left.
    pub fn take(&self, link: String) -> Option<String> {
        let left = self.0.get().saturating_sub(link.len());
        self.0.set(left);
        (left > 0).then_some(link)
    }
}

/// Places that links of a document refer to.
#[derive(Debug, Clone, Copy)]
pub struct LinkPlaces<'a> {
    pub budget: &'a LinkBudget,
    /// Target of the document.
    pub page: &'a Target,
    /// Base URL of the registry, without a trailing slash.
    pub upstream: &'a str,
    /// URL of this gateway, without a trailing slash.
    pub gateway: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_form_of_project_is_json() {
        let project = IndexDocument::PypiProject;
        for sent in [PYPI_JSON, PYPI_LATEST_JSON] {
            let accept = project.accept(sent).unwrap();
            assert!(accept.starts_with(PYPI_JSON), "{sent}");
        }
        for sent in [PYPI_HTML, PYPI_LATEST_HTML] {
            let accept = project.accept(sent).unwrap();
            assert!(accept.starts_with(PYPI_HTML), "{sent}");
        }
        assert_eq!(project.accept("*/*"), Some("text/html"));
    }
}
