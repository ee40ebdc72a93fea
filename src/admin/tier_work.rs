//! Work of jobs that copies stored files between the disk and the bucket.
//!
//! The main type is [`TierCopier`].

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::error::AdminError;
use super::service::AdminService;
use super::storage_error::storage_error;
use super::token::Operator;
use crate::cache::{CopyReport, Tier, TierCopy, TierPart};
use crate::model::Target;

/// Records that all jobs together copy at the same time.
const MAX_COPIES: usize = 4;

const NO_BUCKET: AdminError = AdminError::NotFound("no bucket is configured");

/// Copies stored files between the disk and the bucket.
pub struct TierCopier {
    admin: Arc<AdminService>,
    /// Permits of the records that are copied now.
    copies: Semaphore,
}

impl TierCopier {
    #[must_use]
    pub fn new(admin: Arc<AdminService>) -> Self {
        Self {
            admin,
            copies: Semaphore::new(MAX_COPIES),
        }
    }

    /// Returns whether there is a bucket, so that files can be copied to it and from it.
    #[must_use]
    pub fn has_bucket(&self) -> bool {
        self.admin.services.cache.bucket().is_some()
    }

    /// Copies the records of a target with their objects to a tier.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if the other tier has no record or there is no bucket, or
    /// [`AdminError::Request`] if a tier fails.
    pub async fn copy_target(
        &self,
        operator: &Operator,
        target: &Target,
        to: Tier,
    ) -> Result<CopyReport, AdminError> {
        let mut report = CopyReport::default();
        for key in self.admin.keys_of(target) {
            let part = TierPart::Target(key);
            self.copy_part(operator, part, to, &mut report).await?;
        }
        if report == CopyReport::default() {
            return Err(AdminError::NotFound("the target has no record"));
        }
        Ok(report)
    }

    /// Copies all records whose keys begin with this byte, with their objects, to a tier.
    ///
    /// # Errors
    /// As [`Self::copy_target`].
    pub async fn copy_shard(
        &self,
        operator: &Operator,
        shard: u8,
        to: Tier,
    ) -> Result<CopyReport, AdminError> {
        let mut report = CopyReport::default();
        let part = TierPart::Shard(shard);
        self.copy_part(operator, part, to, &mut report).await?;
        Ok(report)
    }

    async fn copy_part(
        &self,
        _: &Operator,
        part: TierPart,
        to: Tier,
        report: &mut CopyReport,
    ) -> Result<(), AdminError> {
        let replication = self.admin.services.cache.replication();
        let replication = replication.ok_or(NO_BUCKET)?;
        let from = match to {
            Tier::Disk => Tier::Bucket,
            Tier::Bucket => Tier::Disk,
        };
        let listed = replication.list(from, part).await;
        for record in listed.map_err(|error| storage_error(&error))? {
            let permit = self.copies.acquire().await;
            let _permit = permit.expect("this semaphore is never closed");
            match replication.copy(record, to).await {
                Ok(copy) => report.add(copy),
                // Another body has taken the space.
                Err(error) if error.is_no_space() => report.add(TierCopy::NoSpace),
                Err(error) => return Err(storage_error(&error)),
            }
        }
        Ok(())
    }
}
