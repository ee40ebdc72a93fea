//! The work on one target of a job.
//!
//! The main type is [`Worker`].

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::job::JobKind;
use crate::cache::{Cache, EvictResult};
use crate::fetch::Fetcher;
use crate::gateway::{EnsureOutcome, Gateway, RequestError};
use crate::model::{Key, Target, TargetError, WantedFile};
use crate::policy::{Class, Policy};

/// How often a target is tried while all permits are taken.
const MAX_BUSY_TRIES: u32 = 120;

/// Wait between these tries.
const BUSY_DELAY: Duration = Duration::from_secs(1);

/// Services that jobs use.
pub struct Worker {
    pub gateway: Arc<Gateway>,
    pub policy: Arc<Policy>,
    pub cache: Cache,
    pub fetcher: Fetcher,
}

/// Result of the work on a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// Bytes were fetched, or freed.
    Changed {
        bytes: u64,
    },
    /// Nothing had to be done.
    Unchanged,
    Failed {
        error: String,
    },
}

/// Error returned for a target. Its text has no secret and no local path.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("the class of this target is pass, so that nothing is stored")]
    NotCacheable,
    #[error("the response was not stored; the origin forbids it, or there is no space")]
    NotStored,
    #[error("the object is pinned; unpin it first")]
    Pinned,
    #[error("the cache cannot be used now")]
    Cache,
}

impl Worker {
    /// Works on a target. Waits a bounded time while all permits are taken.
    pub async fn work(&self, kind: JobKind, file: &WantedFile) -> Outcome {
        let mut tries = 0;
        loop {
            let result = match kind {
                JobKind::Fetch => self.fetch(file).await,
                JobKind::Refresh => self.refresh(file).await,
                JobKind::Evict => self.evict(file).await,
            };
            tries += 1;
            match result {
                Ok(outcome) => return outcome,
                Err(WorkError::Request(RequestError::Busy)) if tries < MAX_BUSY_TRIES => {
                    sleep(BUSY_DELAY).await;
                }
                Err(error) => {
                    return Outcome::Failed {
                        error: error.to_string(),
                    };
                }
            }
        }
    }

    async fn fetch(&self, file: &WantedFile) -> Result<Outcome, WorkError> {
        let target = Target::parse(file.url.as_str())?;
        match self.gateway.ensure(target, file.expected.clone()).await? {
            EnsureOutcome::StoredBefore => Ok(Outcome::Unchanged),
            EnsureOutcome::Fetched { size_bytes } => Ok(Outcome::Changed { bytes: size_bytes }),
            EnsureOutcome::NotStored => Err(WorkError::NotStored),
        }
    }

    async fn refresh(&self, file: &WantedFile) -> Result<Outcome, WorkError> {
        let target = Target::parse(file.url.as_str())?;
        let admitted = self.policy.admit(target).map_err(RequestError::from)?;
        if admitted.class() == Class::PassThrough {
            return Err(WorkError::NotCacheable);
        }
        let mut expected = file.expected.clone();
        expected.extend(admitted.required_sha256());
        let refreshed = self.fetcher.refresh(admitted, expected, false).await;
        let refreshed = refreshed.map_err(RequestError::from)?;
        let record = &refreshed.record;
        Ok(if refreshed.previous == Some(record.sha256) {
            Outcome::Unchanged
        } else {
            Outcome::Changed {
                bytes: record.size_bytes,
            }
        })
    }

    async fn evict(&self, file: &WantedFile) -> Result<Outcome, WorkError> {
        let target = Target::parse(file.url.as_str())?;
        let mut freed_bytes = 0;
        for target in self.policy.stored_targets(&target) {
            let history = self.cache.admin().history(Key::new(&target)).await;
            for status in history.map_err(|_| WorkError::Cache)? {
                let evicted = self.cache.admin().evict_object(status.record.sha256).await;
                match evicted.map_err(|_| WorkError::Cache)? {
                    EvictResult::Evicted { size_bytes } => freed_bytes += size_bytes,
                    EvictResult::Pinned => return Err(WorkError::Pinned),
                    EvictResult::NotFound => {}
                }
            }
        }
        Ok(if freed_bytes == 0 {
            Outcome::Unchanged
        } else {
            Outcome::Changed { bytes: freed_bytes }
        })
    }
}
