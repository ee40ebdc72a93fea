//! The share of the cache disk that an unfinished body may have. The clients of the body are not
//! known here. The main type is [`SpaceUse`].

use super::DiskError;

/// Share of the space for unfinished bodies. The module that stages a body for clients implements
/// it.
pub trait SpaceShare: Send + Sync {
    /// Makes the body count with `size_bytes`, until the share is dropped.
    ///
    /// # Errors
    /// [`DiskError::OverShare`] if the clients of the body have no more space. The body then counts
    /// as before.
    fn resize(&self, size_bytes: u64) -> Result<(), DiskError>;
}

/// Purpose of the space that a body takes.
pub enum SpaceUse {
    /// Millpond or an operator stores the body, and no client has a share in it.
    Own,
    /// Clients have begun the body.
    Shared(Box<dyn SpaceShare>),
}

impl SpaceUse {
    /// Makes the body count with `size_bytes`.
    ///
    /// # Errors
    /// As [`SpaceShare::resize`].
    pub(super) fn resize(&self, size_bytes: u64) -> Result<(), DiskError> {
        match self {
            Self::Own => Ok(()),
            Self::Shared(share) => share.resize(size_bytes),
        }
    }
}
