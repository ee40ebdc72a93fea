//! Admission of a request by policy: the proof of its target, with class and settings, and the
//! transfer that its response may begin. The main type is [`Admission`].

use super::admitted::Admitted;
use super::denied::PolicyDenied;
use crate::limits::{OverLimit, PendingTransfer};
use crate::model::{Secret, Target};

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
    /// Adds authorization as [`Admitted::with_authorization`] does.
    #[must_use]
    pub fn with_authorization(self, requested: &Target, value: Option<&Secret>) -> Self {
        Self {
            admitted: self.admitted.with_authorization(requested, value),
            ..self
        }
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
