//! Configuration section `[mirror]`: the registries whose indexes are rewritten.

use serde::{Deserialize, Serialize};

use super::registry::PackageRegistry;
use crate::model::{ConfigError, Scheme, Target};

/// Configuration section `[mirror]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Base URL of a simple index of Python packages. Empty: none.
    pub pypi_upstream: String,
    /// URL of an npm registry. Empty: none.
    pub npm_upstream: String,
    /// Base URL of a sparse index of crates. Empty: none.
    pub cargo_upstream: String,
}

/// Base URLs of the registries, without a trailing slash.
#[derive(Debug, Clone, Default)]
pub struct RegistryUpstreams {
    pypi: Option<String>,
    npm: Option<String>,
    cargo: Option<String>,
}

impl Config {
    /// Reads the base URLs.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid URL.
    pub fn upstreams(&self) -> Result<RegistryUpstreams, ConfigError> {
        Ok(RegistryUpstreams {
            pypi: base_url("mirror.pypi_upstream", &self.pypi_upstream)?,
            npm: base_url("mirror.npm_upstream", &self.npm_upstream)?,
            cargo: base_url(
                "mirror.cargo_upstream",
                // Cargo itself writes a sparse index so.
                self.cargo_upstream.trim_start_matches("sparse+"),
            )?,
        })
    }
}

impl RegistryUpstreams {
    /// Returns the base URL of a registry, if it is configured.
    #[must_use]
    pub fn of(&self, registry: PackageRegistry) -> Option<&str> {
        match registry {
            PackageRegistry::Pypi => self.pypi.as_deref(),
            PackageRegistry::Npm => self.npm.as_deref(),
            PackageRegistry::Cargo => self.cargo.as_deref(),
        }
    }
}

fn base_url(key: &str, text: &str) -> Result<Option<String>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let target = Target::parse(text).ok().filter(|target| {
        let is_http = matches!(target.scheme(), Scheme::Http | Scheme::Https);
        is_http && !text.contains(['?', '#'])
    });
    let Some(target) = target else {
        let reason = "must be a URL like \"https://registry.example.org/base\"";
        return Err(ConfigError::new(key, reason));
    };
    Ok(Some(target.as_str().trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_have_no_slash_at_end() {
        let config = Config {
            pypi_upstream: "https://PyPI.example.org/simple/".to_owned(),
            cargo_upstream: "sparse+https://index.example.org/".to_owned(),
            npm_upstream: String::new(),
        };
        let upstreams = config.upstreams().unwrap();
        let of = |registry| upstreams.of(registry);
        assert_eq!(
            of(PackageRegistry::Pypi),
            Some("https://pypi.example.org/simple")
        );
        assert_eq!(
            of(PackageRegistry::Cargo),
            Some("https://index.example.org")
        );
        assert_eq!(of(PackageRegistry::Npm), None);
        for wrong in [
            "x",
            "ftp://a.example/",
            "https://a.example/?x",
            "https://u:p@a.example",
        ] {
            let config = Config {
                npm_upstream: wrong.to_owned(),
                ..Config::default()
            };
            let error = config.upstreams().unwrap_err();
            assert_eq!(error.key, "mirror.npm_upstream", "{wrong}");
        }
    }
}
