//! Health of the cache disk according to the last probe. Its main type is [`DiskHealth`].

use super::DiskError;

/// Health of the cache disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskHealth {
    /// Writes succeed.
    Healthy,
    /// No space is left. Cached objects are served, new ones pass through.
    Full,
    /// Writes fail with this error. Cached objects are served if they can be read.
    WriteError(String),
    /// The disk does not answer. No operation begins until a probe succeeds.
    Unresponsive,
}

impl DiskHealth {
    /// Returns the reason why requests should go to another node, or `None` if they should not.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Healthy | Self::Full => None,
            Self::WriteError(error) => Some(error.clone()),
            Self::Unresponsive => Some(DiskError::Timeout.to_string()),
        }
    }
}
