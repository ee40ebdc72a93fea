//! Admission of a request by policy: the proof of its target, with class and settings, and the
//! transfer that its response may begin. The main type is [`Admission`].

use super::admitted::Admitted;
use super::denied::PolicyDenied;
use super::upstream_access::UpstreamAccess;
use crate::limits::{OverLimit, PendingTransfer};
use crate::model::Target;

/// Use of the response to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Every client may have it. The target may be stored under its canonical alias.
    Shared,
    /// Only the client that sent the request may have it. Its credentials go to exactly the host
    /// that it named.
    Private,
}

/// A request that policy has admitted.
#[derive(Debug)]
pub struct Admission {
    pub admitted: Admitted,
    pub transfer: PendingTransfer,
}

impl Admission {
    /// Adds the way to the origin as [`Admitted::with_access`] does.
    ///
    /// # Errors
    /// [`PolicyDenied::PrivateTarget`] as there.
    pub fn with_access(
        self,
        requested: &Target,
        access: &UpstreamAccess,
    ) -> Result<Self, PolicyDenied> {
        let admitted = self.admitted.with_access(requested, access)?;
        Ok(Self { admitted, ..self })
    }
}

/// Error returned when a request is not admitted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotAdmitted {
    #[error(transparent)]
    Denied(#[from] PolicyDenied),
    /// The client must wait.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
}
