//! Paths below `/v2/`. The main type is [`RegistryPath`].

use std::borrow::Cow;

use url::form_urlencoded;

use super::error::{RegistryError, RegistryErrorCode};
use super::reference::{ImageReference, parse_digest};
use crate::model::Digest;

/// Beginning of the paths of the protocol.
const ROOT: &str = "/v2";

/// Parameter in which containerd names the registry of a request.
const NAMESPACE: &str = "ns";

/// Parameter with the type of the referrers that a client asks for.
const ARTIFACT_TYPE: &str = "artifactType";

/// Path and query of a request below `/v2/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryPath<'a> {
    /// The registry that the query names.
    pub namespace: Option<Cow<'a, str>>,
    /// Type of the referrers that the query asks for.
    pub artifact_type: Option<Cow<'a, str>>,
    pub resource: Result<RegistryResource<'a>, RegistryError>,
}

/// Resource of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryResource<'a> {
    /// `/v2/`, by which clients learn that they have found a registry.
    Version,
    Blob {
        /// Name of the repository. The first segment may name the registry.
        name: &'a str,
        digest: Digest,
    },
    Manifest {
        /// Name of the repository. The first segment may name the registry.
        name: &'a str,
        reference: ImageReference,
    },
    /// List of the manifests that refer to a manifest, such as signatures.
    Referrers {
        /// Name of the repository. The first segment may name the registry.
        name: &'a str,
        subject: Digest,
    },
}

impl<'a> RegistryPath<'a> {
    /// Parses a path and query. Returns `None` if the path is not below `/v2/`.
    #[must_use]
    pub fn parse(path_and_query: &'a str) -> Option<Self> {
        let (path, query) = path_and_query
            .split_once('?')
            .unwrap_or((path_and_query, ""));
        let rest = path.strip_prefix(ROOT)?;
        let resource = match rest.strip_prefix('/') {
            None if rest.is_empty() => Ok(RegistryResource::Version),
            None => return None,
            Some("") => Ok(RegistryResource::Version),
            Some(rest) => RegistryResource::parse(rest),
        };
        let parameter = |wanted: &str| {
            let mut parameters = form_urlencoded::parse(query.as_bytes());
            parameters
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value)
        };
        Some(Self {
            namespace: parameter(NAMESPACE),
            artifact_type: parameter(ARTIFACT_TYPE).filter(|value| !value.is_empty()),
            resource,
        })
    }

    /// Returns the code of the error that says that the gateway does not have the resource.
    #[must_use]
    pub fn unknown_code(&self) -> RegistryErrorCode {
        match &self.resource {
            Ok(RegistryResource::Version) => RegistryErrorCode::Unsupported,
            Ok(RegistryResource::Blob { .. }) => RegistryErrorCode::BlobUnknown,
            Ok(RegistryResource::Manifest { .. } | RegistryResource::Referrers { .. }) => {
                RegistryErrorCode::ManifestUnknown
            }
            Err(error) => error.code(),
        }
    }
}

impl<'a> RegistryResource<'a> {
    fn parse(path: &'a str) -> Result<Self, RegistryError> {
        let (path, last) = path.rsplit_once('/').ok_or(RegistryError::Unsupported)?;
        let (name, kind) = path.rsplit_once('/').ok_or(RegistryError::Unsupported)?;
        // Some clients encode the colon of a digest.
        let last = last.replacen("%3A", ":", 1).replacen("%3a", ":", 1);
        match kind {
            "blobs" if last != "uploads" => Ok(Self::Blob {
                name,
                digest: parse_digest(&last)?,
            }),
            "manifests" => Ok(Self::Manifest {
                name,
                reference: ImageReference::parse(&last)?,
            }),
            "referrers" => Ok(Self::Referrers {
                name,
                subject: parse_digest(&last)?,
            }),
            _ => Err(RegistryError::Unsupported),
        }
    }
}
