//! Health of the disk, as the last probe saw it.

use super::DiskError;

/// Health of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskHealth {
    Healthy,
    /// No space is left. Stored objects are served, new ones pass through.
    Full,
    /// Writes fail with this error. Stored objects are served as far as they can be read.
    WriteError(String),
    /// The disk does not answer. No operation begins until it does.
    Unresponsive,
}

impl DiskHealth {
    /// Why requests should go to another node, if they should.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Healthy | Self::Full => None,
            Self::WriteError(error) => Some(error.clone()),
            Self::Unresponsive => Some(DiskError::Timeout.to_string()),
        }
    }
}
