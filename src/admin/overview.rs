//! State of this process for operators, which changes nothing.

use super::error::AdminError;
use super::service::AdminService;
use super::storage_error::storage_error;
use super::token::ListReader;
use crate::cache::PinnedUse;
use crate::fetch::{OpenCircuit, RunningFetch, open_circuits, running_fetches};
use crate::model::Target;
use crate::policy::Explanation;

impl AdminService {
    /// Explains the policy for a target.
    #[must_use]
    pub fn explain(&self, _: &ListReader, target: &Target) -> Explanation {
        self.policy.explain(target)
    }

    /// Counts the pinned objects on the disk.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`](crate::gateway::RequestError::Unavailable) if the disk does
    /// not answer.
    pub async fn pinned_use(&self, _: &ListReader) -> Result<PinnedUse, AdminError> {
        let used = self.cache.admin().pinned_use().await;
        used.map_err(|error| storage_error(&error))
    }

    /// Returns up to `limit` in-flight fetches, the oldest first.
    #[must_use]
    pub fn running_fetches(&self, _: &ListReader, limit: usize) -> Vec<RunningFetch> {
        running_fetches(&self.fetcher, limit)
    }

    /// Returns up to `limit` circuits that hold requests back.
    #[must_use]
    pub fn open_circuits(&self, _: &ListReader, limit: usize) -> Vec<OpenCircuit> {
        open_circuits(&self.fetcher, limit)
    }
}
