//! State for operators and readers: stored and pinned targets, the fetches that run now, open
//! circuits, and the policy of a target.
//!
//! It names the targets of all clients, so that each function needs a [`ListReader`].

use std::ops::ControlFlow;

use super::error::AdminError;
use super::service::AdminService;
use super::storage_error::storage_error;
use super::token::ListReader;
use crate::cache::{BucketDownloadView, ListedPins, ListedTarget, PinnedUse};
use crate::fetch::{ByteOrigin, FetchAim, FetchView, MeterReading, OpenCircuit};
use crate::gateway::RequestError;
use crate::limits::{PoolClient, PoolPermit};
use crate::model::{Key, Target};
use crate::policy::{Class, Explanation};

/// Targets that are read from the disk at once, after the first step.
const STEP_TARGETS: usize = 1000;

/// Start of a list.
#[derive(Debug, Clone, Copy)]
pub struct ListStart {
    /// The list begins behind this key.
    pub after: Option<Key>,
    /// Targets to read from the disk at first. If all of them belong to a page, no other is read.
    pub first_step: usize,
}

impl ListStart {
    /// All targets.
    pub const ALL: Self = Self {
        after: None,
        first_step: STEP_TARGETS,
    };

    fn after(key: Key) -> Self {
        Self {
            after: Some(key),
            ..Self::ALL
        }
    }

    /// Targets to read from the disk at once.
    fn limit(self) -> usize {
        self.first_step.min(STEP_TARGETS)
    }
}

/// Permit of a list that looks at all targets.
#[derive(Debug)]
pub struct FullList {
    _permit: PoolPermit,
}

impl FullList {
    /// Begins a list that looks at all targets.
    ///
    /// # Errors
    /// [`RequestError::Busy`] if too many run, or too many of the client.
    pub fn begin(admin: &AdminService, reader: &ListReader) -> Result<Self, RequestError> {
        let policy = &admin.services.policy;
        let client = reader.client();
        let client = client.map_or(PoolClient::Own, |address| policy.pool_client(address));
        let permit = admin.full_lists.try_acquire(client);
        let permit = permit.map_err(|_| RequestError::Busy)?;
        Ok(Self { _permit: permit })
    }
}

impl AdminService {
    /// Visits stored targets, in the order of their keys, until `visit` breaks.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if the cache cannot be read.
    pub async fn visit_targets(
        &self,
        _: &ListReader,
        mut start: ListStart,
        mut visit: impl FnMut(&ListedTarget, Class) -> ControlFlow<()>,
    ) -> Result<(), AdminError> {
        loop {
            let (after, limit) = (start.after, start.limit());
            let step = self.services.cache.admin().list(after, limit).await;
            let step = step.map_err(|error| storage_error(&error))?;
            for listed in &step {
                let class = self.class(&listed.record.target);
                if visit(listed, class).is_break() {
                    return Ok(());
                }
            }
            match step.last() {
                Some(last) if step.len() == limit => start = ListStart::after(last.key),
                _ => return Ok(()),
            }
        }
    }

    /// Visits pinned targets, in the order of their keys, until `visit` breaks.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if the cache cannot be read.
    pub async fn visit_pins(
        &self,
        _: &ListReader,
        mut start: ListStart,
        mut visit: impl FnMut(&ListedPins, Class) -> ControlFlow<()>,
    ) -> Result<(), AdminError> {
        loop {
            let (after, limit) = (start.after, start.limit());
            let step = self.services.cache.admin().list_pinned(after, limit).await;
            let step = step.map_err(|error| storage_error(&error))?;
            for listed in &step {
                let class = self.class(&listed.target.record.target);
                if visit(listed, class).is_break() {
                    return Ok(());
                }
            }
            match step.last() {
                Some(last) if step.len() == limit => start = ListStart::after(last.target.key),
                _ => return Ok(()),
            }
        }
    }

    /// Returns the fetches and the copies from the bucket that run now, the oldest first.
    #[must_use]
    pub fn fetches(&self, _: &ListReader) -> Vec<FetchView> {
        let mut views = self.services.fetcher.views();
        let copies = self.services.cache.bucket_downloads().into_iter();
        views.extend(copies.map(promotion_view));
        views.sort_by_key(|view| view.number);
        views
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

/// Shows a copy from the bucket as a fetch. No request reads along.
fn promotion_view(copy: BucketDownloadView) -> FetchView {
    let milliseconds = u64::try_from(copy.age.as_millis()).unwrap_or(u64::MAX);
    FetchView {
        number: copy.number,
        target: copy.target,
        aim: FetchAim::Promotion,
        age: copy.age,
        reading: MeterReading {
            origin: Some(ByteOrigin::Bucket),
            received_bytes: copy.received_bytes,
            length: Some(copy.size_bytes),
            bytes_per_second: copy.received_bytes.saturating_mul(1000) / milliseconds.max(1),
            readers: 0,
        },
    }
}
