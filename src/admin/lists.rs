//! State for operators and readers: stored and pinned targets, the fetches that run now, open
//! circuits, and the policy of a target.
//!
//! It names the targets of all clients, so that each function needs a [`ListReader`].

use std::ops::ControlFlow;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::AdminError;
use super::service::AdminService;
use super::storage_error::storage_error;
use super::token::ListReader;
use crate::cache::{ListedPins, ListedTarget, PinnedUse};
use crate::fetch::{FetchView, OpenCircuit};
use crate::gateway::RequestError;
use crate::model::{Key, Target};
use crate::policy::{Class, Explanation};

/// Targets that are read from the disk at once.
const STEP_TARGETS: usize = 1000;

/// Lists at the same time that look at all targets.
const MAX_FULL_LISTS: usize = 2;

/// Permits of these lists.
static FULL_LISTS: Semaphore = Semaphore::const_new(MAX_FULL_LISTS);

/// Permit of a list that looks at all targets.
#[derive(Debug)]
pub struct FullList {
    _permit: SemaphorePermit<'static>,
}

impl FullList {
    /// Begins a list that looks at all targets.
    ///
    /// # Errors
    /// [`RequestError::Busy`] if too many run.
    pub fn begin(_: &ListReader) -> Result<Self, RequestError> {
        let permit = FULL_LISTS.try_acquire();
        let permit = permit.map_err(|_| RequestError::Busy)?;
        Ok(Self { _permit: permit })
    }
}

impl AdminService {
    /// Visits stored targets behind `after`, in the order of their keys, until `visit` breaks.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if the cache cannot be read.
    pub async fn visit_targets(
        &self,
        _: &ListReader,
        mut after: Option<Key>,
        mut visit: impl FnMut(&ListedTarget, Class) -> ControlFlow<()>,
    ) -> Result<(), AdminError> {
        loop {
            let step = self.services.cache.admin().list(after, STEP_TARGETS).await;
            let step = step.map_err(|error| storage_error(&error))?;
            for listed in &step {
                let class = self.class(&listed.record.target);
                if visit(listed, class).is_break() {
                    return Ok(());
                }
            }
            match step.last() {
                Some(last) if step.len() == STEP_TARGETS => after = Some(last.key),
                _ => return Ok(()),
            }
        }
    }

    /// Visits pinned targets behind `after`, in the order of their keys, until `visit` breaks.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if the cache cannot be read.
    pub async fn visit_pins(
        &self,
        _: &ListReader,
        mut after: Option<Key>,
        mut visit: impl FnMut(&ListedPins, Class) -> ControlFlow<()>,
    ) -> Result<(), AdminError> {
        loop {
            let step = self
                .services
                .cache
                .admin()
                .list_pinned(after, STEP_TARGETS)
                .await;
            let step = step.map_err(|error| storage_error(&error))?;
            for listed in &step {
                let class = self.class(&listed.target.record.target);
                if visit(listed, class).is_break() {
                    return Ok(());
                }
            }
            match step.last() {
                Some(last) if step.len() == STEP_TARGETS => after = Some(last.target.key),
                _ => return Ok(()),
            }
        }
    }

    /// Returns the fetches that run now, the oldest first.
    #[must_use]
    pub fn fetches(&self, _: &ListReader) -> Vec<FetchView> {
        self.services.fetcher.views()
    }

    /// Explains the policy for a target.
    #[must_use]
    pub fn explain(&self, _: &ListReader, target: &Target) -> Explanation {
        self.services.policy.explain(target)
    }

    /// Counts the pinned objects on the disk.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if the disk does not answer.
    pub async fn pinned_use(&self, _: &ListReader) -> Result<PinnedUse, AdminError> {
        let used = self.services.cache.admin().pinned_use().await;
        used.map_err(|error| storage_error(&error))
    }

    /// Returns up to `limit` circuits that hold requests back.
    #[must_use]
    pub fn open_circuits(&self, _: &ListReader, limit: usize) -> Vec<OpenCircuit> {
        self.services.fetcher.open_circuits(limit)
    }
}
