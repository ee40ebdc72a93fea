//! Errors of adopting files. The main type is [`AdoptError`].

use std::io;
use std::sync::Arc;

use crate::cache::{CacheError, DiskError};
use crate::model::{Digest, Sha256, Target};
use crate::policy::PolicyDenied;
use crate::registry::ManifestError;

/// Error returned when the folder itself cannot be adopted. The caller must change the arguments.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    #[error("it is inside the cache folder")]
    InCache,
}

/// Error returned when one file of the folder is not taken. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Another user, or the operator, can change the rights.
    #[error("{0}")]
    Unreadable(io::Error),
    /// A later scan takes it.
    #[error("a process has it open for writing")]
    BeingWritten,
    /// A later scan takes it.
    #[error("it changed while it was read")]
    Changed,
    /// The work was stopped before the file was stored.
    #[error("stopped before it was stored")]
    Stopped,
    #[error("it ends before the end that its format marks, so it is incomplete")]
    Truncated,
    #[error("its first bytes are not those that its name promises")]
    WrongFileType,
    #[error("it does not have the digest {digest}, which {list} states")]
    OtherDigest { digest: Digest, list: String },
    #[error("{target} has other bytes, sha256:{sha256}; `millpond import` can replace them")]
    OtherBytes { target: Target, sha256: Sha256 },
    #[error(transparent)]
    Denied(#[from] PolicyDenied),
    #[error("it is missing in the layout or archive")]
    MissingPart,
    #[error("its part {0} was not stored, so that it is not stored either")]
    Incomplete(Digest),
    #[error("{0}")]
    Manifest(ManifestError),
    #[error("the name is too long for a URL")]
    WrongName,
    #[error("files of this URL are not stored; `millpond explain` shows why")]
    NotStorable,
    #[error("no space is left in the cache; raise cache.max_size, or remove files")]
    NoSpace,
    #[error("{0}")]
    Cache(Arc<CacheError>),
}

impl AdoptError {
    /// Returns whether the bytes are not those that they should be.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::OtherDigest { .. } | Self::OtherBytes { .. })
    }

    /// Returns whether the file is still written, or was written while it was read.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        matches!(self, Self::BeingWritten | Self::Changed)
    }

    /// Returns whether the same file may be taken later, although it does not change.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreadable(_)
            | Self::BeingWritten
            | Self::Changed
            | Self::Stopped
            | Self::NoSpace
            | Self::Cache(_) => true,
            Self::Truncated
            | Self::WrongFileType
            | Self::OtherDigest { .. }
            | Self::OtherBytes { .. }
            | Self::MissingPart
            | Self::Incomplete(_)
            | Self::Manifest(_)
            | Self::WrongName
            | Self::NotStorable
            | Self::Denied(_) => false,
        }
    }

    /// Returns the cause in the table of all files.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::Unreadable(error) => error.kind().to_string(),
            Self::OtherDigest { .. } => "another digest than a list states".to_owned(),
            Self::OtherBytes { .. } => "the URL has other bytes".to_owned(),
            Self::Incomplete(_) => "a part was not stored".to_owned(),
            Self::Cache(_) => "the cache failed".to_owned(),
            other => other.to_string(),
        }
    }
}

impl From<CacheError> for AdoptError {
    fn from(error: CacheError) -> Self {
        match error {
            error if error.is_no_space() => Self::NoSpace,
            other => Self::Cache(Arc::new(other)),
        }
    }
}

impl From<DiskError> for AdoptError {
    fn from(error: DiskError) -> Self {
        CacheError::from(error).into()
    }
}

impl From<Arc<CacheError>> for AdoptError {
    fn from(error: Arc<CacheError>) -> Self {
        if error.is_no_space() {
            Self::NoSpace
        } else {
            Self::Cache(error)
        }
    }
}
