//! Errors of requests below `/v2/`, with the codes of the OCI distribution specification.

use crate::gateway::RequestError;
use crate::policy::PolicyDenied;

/// Code of an error (OCI distribution specification 1.1, "Error Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryErrorCode {
    BlobUnknown,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    DigestInvalid,
    Unsupported,
    Denied,
}

impl RegistryErrorCode {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::Unsupported => "UNSUPPORTED",
            Self::Denied => "DENIED",
        }
    }
}

/// Error returned when a request below `/v2/` names nothing that the gateway can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum RegistryError {
    Name,
    Tag,
    Digest,
    UnknownRegistry,
    DeniedRepository,
    Unsupported,
}

impl RegistryError {
    /// Returns the text for the client.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Name => "the name of the repository is invalid",
            Self::Tag => "the tag is invalid",
            Self::Digest => "the digest is invalid; use sha256 or sha512, in lower case",
            Self::UnknownRegistry => {
                "this gateway has no such registry; its operator lists them in the configuration"
            }
            Self::DeniedRepository => {
                "the operator of this gateway has not allowed this repository (registries)"
            }
            Self::Unsupported => {
                "manifests, blobs and referrers are served; for anything else, use the registry"
            }
        }
    }

    #[must_use]
    pub fn code(self) -> RegistryErrorCode {
        match self {
            Self::Name => RegistryErrorCode::NameInvalid,
            Self::Tag => RegistryErrorCode::ManifestUnknown,
            Self::Digest => RegistryErrorCode::DigestInvalid,
            Self::UnknownRegistry => RegistryErrorCode::NameUnknown,
            Self::DeniedRepository => RegistryErrorCode::Denied,
            Self::Unsupported => RegistryErrorCode::Unsupported,
        }
    }
}

impl From<RegistryError> for RequestError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::DeniedRepository => Self::Denied(PolicyDenied::Repository),
            error => Self::NotFound(error.reason()),
        }
    }
}
