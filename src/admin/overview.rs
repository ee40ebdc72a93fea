//! State of this process for operators, which changes nothing.

use super::service::AdminService;
use super::token::ListReader;
use crate::fetch::{OpenCircuit, RunningFetch, open_circuits, running_fetches};
use crate::model::Target;
use crate::policy::Explanation;

impl AdminService {
    /// Explains the policy for a target.
    #[must_use]
    pub fn explain(&self, _: &ListReader, target: &Target) -> Explanation {
        self.policy.explain(target)
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
