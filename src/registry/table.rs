//! The closed table of registries. A client can name these and no others. The main type is
//! [`RegistryTable`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::config::{Config, DeletedTag, RegistryConfig};
use super::credential::{MAX_CREDENTIALS, RegistryCredential};
use super::error::RegistryError;
use super::path::{RegistryPath, RegistryResource};
use super::reference::ImageReference;
use super::repository::RepositoryName;
use super::repository_patterns::RepositoryPatterns;
use crate::model::{ConfigError, Digest, Scheme, Target};
use crate::policy::EgressRoute;

/// Maximum number of registries.
const MAX_REGISTRIES: usize = 100;

/// Maximum number of further names of one registry.
const MAX_ALIASES: usize = 20;

/// Longest name of a host (RFC 1035, section 2.3.4) with its port.
const MAX_HOST_BYTES: usize = 253 + ":65535".len();

/// Mistake of an invalid egress proxy. The text omits the URL, which may have a password.
const EGRESS_MISTAKE: (&str, &str) = (
    ".egress_proxy",
    "must be \"none\", or like \"http://proxy.example.org:3128\"",
);

/// Longest minimum age, as in a rule.
const MAX_MIN_AGE: Duration = Duration::from_hours(365 * 24);

/// Folder of the repositories that have one component.
const LIBRARY: &str = "library";

/// A registry of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRegistry {
    name: String,
    /// Scheme, host and port, without a trailing slash.
    base: String,
    /// Whether repositories of one component belong to `library/`.
    has_library: bool,
    tag_ttl: Duration,
    on_deleted: DeletedTag,
    min_age: Duration,
    patterns: RepositoryPatterns,
    credentials: Vec<RegistryCredential>,
    allow_private: Vec<IpNet>,
    egress: Option<EgressRoute>,
}

/// The registries by their names.
#[derive(Debug, Clone, Default)]
pub struct RegistryTable {
    by_name: HashMap<String, Arc<ContainerRegistry>>,
    default: Option<Arc<ContainerRegistry>>,
}

/// A manifest or a blob of a registry.
#[derive(Debug, Clone)]
pub struct NamedPart {
    pub registry: Arc<ContainerRegistry>,
    pub name: RepositoryName,
    pub digest: Digest,
}

impl RegistryTable {
    /// Checks the tables of the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        if config.len() > MAX_REGISTRIES {
            let reason = format!("at most {MAX_REGISTRIES} are allowed");
            return Err(ConfigError::new("registries", reason));
        }
        let mut table = Self::default();
        for (host, settings) in config {
            let logins = read_credentials(host, settings)?;
            table.add(host, settings, logins).map_err(|(key, reason)| {
                ConfigError::new(format!("registries.{host}{key}"), reason)
            })?;
        }
        Ok(table)
    }

    fn add(
        &mut self,
        host: &str,
        settings: &RegistryConfig,
        credentials: Vec<RegistryCredential>,
    ) -> Result<(), (&'static str, &'static str)> {
        let base = if settings.endpoint.is_empty() {
            base_url(&format!("https://{host}"))
        } else {
            base_url(&settings.endpoint)
        };
        let base = base.ok_or((
            ".endpoint",
            "must be a URL like \"https://registry.example.org\", without a path",
        ))?;
        let registry = Arc::new(ContainerRegistry {
            name: host.to_owned(),
            base,
            has_library: settings.library,
            tag_ttl: settings.tag_ttl.0,
            on_deleted: settings.on_deleted,
            min_age: settings.min_age.0,
            patterns: RepositoryPatterns::new(&settings.allow, &settings.deny)
                .map_err(|key| (key, "must be patterns like \"library/*\", in lower case"))?,
            credentials,
            allow_private: settings.allow_private.clone(),
            egress: EgressRoute::parse(&settings.egress_proxy).map_err(|_| EGRESS_MISTAKE)?,
        });
        if registry.min_age > MAX_MIN_AGE {
            return Err((".min_age", "must be at most 365days"));
        }
        if settings.aliases.len() > MAX_ALIASES {
            return Err((".aliases", "at most 20 are allowed"));
        }
        let names = std::iter::once((host, "")).chain(
            settings
                .aliases
                .iter()
                .map(|alias| (alias.as_str(), ".aliases")),
        );
        for (name, key) in names {
            if !is_registry_name(name) {
                let reason = "must be a name like \"registry.example.org\", in lower case";
                return Err((key, reason));
            }
            if self
                .by_name
                .insert(name.to_owned(), Arc::clone(&registry))
                .is_some()
            {
                return Err((key, "is the name of another registry"));
            }
        }
        if settings.default && self.default.replace(registry).is_some() {
            return Err((".default", "can be set for one registry only"));
        }
        Ok(())
    }

    /// Returns whether no registry is configured, so that there is no endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Returns the name of the registry with this scheme, host and port.
    #[must_use]
    pub fn name_of(&self, base: &str) -> Option<&str> {
        let mut registries = self.by_name.values();
        let found = registries.find(|registry| registry.base == base);
        found.map(|registry| registry.name.as_str())
    }

    /// Returns the part of an image with this target, which names it by digest.
    #[must_use]
    pub fn part_of(&self, target: &Target) -> Option<NamedPart> {
        let site = target.site();
        let registry = self
            .by_name
            .values()
            .find(|registry| registry.base == site)?;
        let path = target.as_str().strip_prefix(registry.base.as_str())?;
        let (RegistryResource::Blob { name, digest }
        | RegistryResource::Manifest {
            name,
            reference: ImageReference::Digest(digest),
        }) = RegistryPath::parse(path)?.resource.ok()?
        else {
            return None;
        };
        let name = registry.repository(name).ok()?;
        registry.patterns.allows(&name).then(|| NamedPart {
            registry: Arc::clone(registry),
            name,
            digest,
        })
    }

    /// Returns whether a client may have an object by its digest alone, which has these targets on
    /// record. Without any target, the object may be that of a private image.
    #[must_use]
    pub fn may_have_object(&self, targets: &[Target], client: IpAddr) -> bool {
        let mut registries = self.by_name.values();
        if targets.is_empty() {
            return registries.all(|registry| registry.credentials.is_empty());
        }
        targets.iter().any(|target| {
            let is_permitted = |registry: &Arc<ContainerRegistry>| {
                registry.base == target.site() && registry.allows_private(client)
            };
            !target.is_private() || self.by_name.values().any(is_permitted)
        })
    }

    /// Returns the registry and the repository of a request. `namespace` is the registry that the
    /// query names. Otherwise the first segment of `name` may name it, and the default registry
    /// has all other requests.
    ///
    /// # Errors
    /// [`RegistryError::UnknownRegistry`], [`RegistryError::Name`], or
    /// [`RegistryError::DeniedRepository`].
    pub fn resolve(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(Arc<ContainerRegistry>, RepositoryName), RegistryError> {
        let (registry, rest) = if let Some(namespace) = namespace {
            let namespace = namespace.to_ascii_lowercase();
            (self.by_name.get(&namespace), name)
        } else {
            let named = name
                .split_once('/')
                .and_then(|(first, rest)| Some((self.by_name.get(first)?, rest)));
            named.map_or((self.default.as_ref(), name), |(registry, rest)| {
                (Some(registry), rest)
            })
        };
        let registry = registry.ok_or(RegistryError::UnknownRegistry)?;
        let repository = registry.repository(rest)?;
        if !registry.patterns.allows(&repository) {
            return Err(RegistryError::DeniedRepository);
        }
        Ok((Arc::clone(registry), repository))
    }
}

impl ContainerRegistry {
    /// Returns the name of the registry in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the time for which the digest of a tag is used without asking the registry.
    #[must_use]
    pub fn tag_ttl(&self) -> Duration {
        self.tag_ttl
    }

    #[must_use]
    pub fn on_deleted(&self) -> DeletedTag {
        self.on_deleted
    }

    /// Returns the age from which a new digest of a tag is taken. Zero: at once.
    #[must_use]
    pub fn min_age(&self) -> Duration {
        self.min_age
    }

    /// Returns the credentials in the order in which they are tried.
    #[must_use]
    pub fn credentials(&self) -> &[RegistryCredential] {
        &self.credentials
    }

    /// Returns whether a client may have what needed credentials.
    #[must_use]
    pub fn allows_private(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.allow_private
            .iter()
            .any(|network| network.contains(&client))
    }

    /// Returns whether there are clients that may have what needed credentials.
    #[must_use]
    pub fn allows_private_to_some(&self) -> bool {
        !self.allow_private.is_empty()
    }

    /// Returns the route of the requests for this registry, unless a rule has one.
    #[must_use]
    pub fn egress(&self) -> Option<&EgressRoute> {
        self.egress.as_ref()
    }

    /// Returns scheme, host and port.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the target at which a registry answers how it is asked.
    ///
    /// # Errors
    /// As [`ContainerRegistry::blob`].
    pub fn version(&self) -> Result<Target, RegistryError> {
        self.target("")
    }

    /// Returns the target of a blob.
    ///
    /// # Errors
    /// [`RegistryError::Name`] if the URL would be too long.
    pub fn blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Target, RegistryError> {
        self.target(&format!("{name}/blobs/{digest}"))
    }

    /// Returns the target of a manifest.
    ///
    /// # Errors
    /// As [`ContainerRegistry::blob`].
    pub fn manifest(
        &self,
        name: &RepositoryName,
        reference: &ImageReference,
    ) -> Result<Target, RegistryError> {
        self.target(&format!("{name}/manifests/{reference}"))
    }

    /// Returns the target of the list of referrers of a manifest.
    ///
    /// # Errors
    /// As [`ContainerRegistry::blob`].
    pub fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
    ) -> Result<Target, RegistryError> {
        self.target(&format!("{name}/referrers/{subject}"))
    }

    fn target(&self, path: &str) -> Result<Target, RegistryError> {
        Target::parse(&format!("{}/v2/{path}", self.base)).map_err(|_| RegistryError::Name)
    }

    fn repository(&self, name: &str) -> Result<RepositoryName, RegistryError> {
        if self.has_library && !name.contains('/') {
            return RepositoryName::parse(&format!("{LIBRARY}/{name}"));
        }
        RepositoryName::parse(name)
    }
}

fn read_credentials(
    host: &str,
    settings: &RegistryConfig,
) -> Result<Vec<RegistryCredential>, ConfigError> {
    let key = format!("registries.{host}.credentials");
    if settings.credentials.len() > MAX_CREDENTIALS {
        let reason = format!("at most {MAX_CREDENTIALS} are allowed");
        return Err(ConfigError::new(key, reason));
    }
    let credentials = settings.credentials.iter();
    credentials
        .map(|config| RegistryCredential::read(&key, config))
        .collect()
}

fn base_url(text: &str) -> Option<String> {
    let target = Target::parse(text).ok()?;
    let is_http = matches!(target.scheme(), Scheme::Http | Scheme::Https);
    let is_base = is_http && target.path() == "/" && !text.contains(['?', '#']);
    is_base.then(|| target.as_str().trim_end_matches('/').to_owned())
}

/// Whether a text is the name of a registry: a host with or without a port, or a word.
pub fn is_registry_name(text: &str) -> bool {
    let is_name_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:".contains(&byte);
    let is_word = |byte: Option<u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.len() <= MAX_HOST_BYTES
        && is_word(text.bytes().next())
        && is_word(text.bytes().last())
        && text.bytes().all(is_name_byte)
}
