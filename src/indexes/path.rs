//! Paths below `/mirror/pypi/`, `/mirror/npm/` and `/mirror/cargo/`.
//!
//! The main type is [`IndexPath`].

use super::document::IndexDocument;
use super::pypi_link::PypiFile;
use super::registry::PackageRegistry;

/// Path below the folder of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexPath<'a> {
    /// A document that is rewritten, and its path below the base URL.
    Document(IndexDocument, String),
    /// Another path and query below the base URL, which is passed on as it is.
    Other(PackageRegistry, &'a str),
    /// A file behind a rewritten link.
    File(PypiFile<'a>),
    /// No index has such a path.
    Unknown,
}

impl<'a> IndexPath<'a> {
    /// Parses an undecoded path and query. `None` if it is not below the folder of a registry.
    #[must_use]
    pub fn parse(path_and_query: &'a str) -> Option<Self> {
        let rest = path_and_query.strip_prefix("/mirror/")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let below = rest.strip_prefix('/').unwrap_or("");
        match name {
            "pypi" => Some(pypi_path(below)),
            "npm" => Some(npm_path(below)),
            "cargo" => Some(cargo_path(below)),
            _ => None,
        }
    }

    /// Returns the registry of the path, if it is one of a resource.
    #[must_use]
    pub fn registry(&self) -> Option<PackageRegistry> {
        match self {
            Self::Document(document, _) => Some(document.registry()),
            Self::Other(registry, _) => Some(*registry),
            Self::File(_) => Some(PackageRegistry::Pypi),
            Self::Unknown => None,
        }
    }
}

fn pypi_path(below: &str) -> IndexPath<'_> {
    if let Some(file) = below.strip_prefix("files/") {
        return PypiFile::parse(file).map_or(IndexPath::Unknown, IndexPath::File);
    }
    // PEP 691 has the form of a response in the query, too. `Accept` decides here.
    let path = without_query(below);
    let Some(rest) = path.strip_prefix("simple") else {
        return IndexPath::Unknown;
    };
    let project = rest.trim_matches('/');
    if project.is_empty() && rest.len() <= 1 {
        return IndexPath::Document(IndexDocument::PypiProjects, "/".to_owned());
    }
    if !rest.starts_with('/') || !is_project_name(project) {
        return IndexPath::Unknown;
    }
    let path = format!("/{}/", normalized(project));
    IndexPath::Document(IndexDocument::PypiProject, path)
}

/// Whether a text is the name of a project (PEP 508).
fn is_project_name(text: &str) -> bool {
    let is_name_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.bytes().all(is_name_byte) && !text.bytes().all(|byte| byte == b'.')
}

/// Returns the normalized name of a project (PEP 503). Upstream redirects other spellings.
fn normalized(project: &str) -> String {
    let words = project
        .split(['-', '_', '.'])
        .filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(str::to_ascii_lowercase).collect();
    words.join("-")
}

/// A package has the paths `name`, `@scope/name` and `@scope%2fname`, and one version of it has one
/// segment more. Files are below `<package>/-/`, and other resources below `-/`.
fn npm_path(below: &str) -> IndexPath<'_> {
    let path = without_query(below);
    let package = match path.strip_prefix('@') {
        None => path.to_owned(),
        Some(scoped) => {
            let lower = scoped.replacen("%2F", "%2f", 1);
            let joined = match lower.split_once("%2f") {
                Some(_) => lower,
                None => lower.replacen('/', "%2f", 1),
            };
            format!("@{joined}")
        }
    };
    let segments: Vec<_> = package.split('/').collect();
    let is_package = segments.len() <= 2
        && segments
            .iter()
            .all(|segment| !segment.is_empty() && *segment != "-")
        && (!package.starts_with('@') || segments[0].contains("%2f"));
    if is_package {
        IndexPath::Document(IndexDocument::NpmPackage, format!("/{package}"))
    } else {
        IndexPath::Other(PackageRegistry::Npm, below)
    }
}

fn cargo_path(below: &str) -> IndexPath<'_> {
    if without_query(below) == "config.json" {
        IndexPath::Document(IndexDocument::CargoConfig, "/config.json".to_owned())
    } else {
        IndexPath::Other(PackageRegistry::Cargo, below)
    }
}

fn without_query(text: &str) -> &str {
    text.split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packages_have_one_path() {
        use IndexDocument::{CargoConfig, NpmPackage, PypiProject, PypiProjects};
        for (path, document, found) in [
            ("/mirror/pypi/simple", PypiProjects, "/"),
            ("/mirror/pypi/simple/", PypiProjects, "/"),
            ("/mirror/pypi/simple/Foo._bar/", PypiProject, "/foo-bar/"),
            ("/mirror/pypi/simple/foo?format=x", PypiProject, "/foo/"),
            ("/mirror/npm/tiny", NpmPackage, "/tiny"),
            ("/mirror/npm/tiny/latest", NpmPackage, "/tiny/latest"),
            ("/mirror/npm/@a/b?write=true", NpmPackage, "/@a%2fb"),
            ("/mirror/npm/@a%2Fb", NpmPackage, "/@a%2fb"),
            ("/mirror/npm/@a%2fb/1.0.0", NpmPackage, "/@a%2fb/1.0.0"),
            ("/mirror/cargo/config.json", CargoConfig, "/config.json"),
        ] {
            let wanted = IndexPath::Document(document, found.to_owned());
            assert_eq!(IndexPath::parse(path), Some(wanted), "{path}");
        }
    }

    #[test]
    fn other_paths_are_passed_or_unknown() {
        for (path, registry, below) in [
            (
                "/mirror/npm/tiny/-/tiny-1.0.0.tgz",
                PackageRegistry::Npm,
                "tiny/-/tiny-1.0.0.tgz",
            ),
            (
                "/mirror/npm/-/v1/search?text=a",
                PackageRegistry::Npm,
                "-/v1/search?text=a",
            ),
            (
                "/mirror/npm/@a/b/-/b-1.0.0.tgz",
                PackageRegistry::Npm,
                "@a/b/-/b-1.0.0.tgz",
            ),
            ("/mirror/npm/", PackageRegistry::Npm, ""),
            ("/mirror/npm/@a", PackageRegistry::Npm, "@a"),
            (
                "/mirror/cargo/ti/ny/tiny",
                PackageRegistry::Cargo,
                "ti/ny/tiny",
            ),
        ] {
            let wanted = IndexPath::Other(registry, below);
            assert_eq!(IndexPath::parse(path), Some(wanted), "{path}");
        }
        for path in [
            "/mirror/pypi",
            "/mirror/pypi/simple/a/b/",
            "/mirror/pypi/simple/../x/",
            "/mirror/pypi/simple//",
            "/mirror/pypi/simplex/",
            "/mirror/pypi/simple/a%2Fb/",
            "/mirror/pypi/files/x",
        ] {
            assert_eq!(IndexPath::parse(path), Some(IndexPath::Unknown), "{path}");
        }
        for path in [
            "/mirror/gentoo/x",
            "/mirror/npmx/a",
            "/https://h/mirror/npm/a",
        ] {
            assert_eq!(IndexPath::parse(path), None, "{path}");
        }
    }
}
