//! Operations for operators. Each one that changes something needs an [`Operator`], which only the
//! token creates.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::Stream;

use super::catalog::CatalogAdmin;
use super::error::AdminError;
use super::import::{ImportUpload, KindCheck, UploadBounds, stage_upload};
use super::storage_error::storage_error;
use super::token::{Operator, Permission, Tokens};
use super::wrong_tokens::WrongTokens;
use crate::cache::{
    Cache, DiskUsage, EvictResult, PinnedTarget, RecordStatus, RemovedTarget, TargetRemoval,
};
use crate::fetch::{FetchLoad, Fetcher};
use crate::freshness::Observation;
use crate::gateway::{Gateway, RequestError};
use crate::limits::FairPool;
use crate::model::{
    Event, EventSink, FileType, Key, Record, RecordSource, Sha256, StoredHeaders, Target,
};
use crate::policy::{Admitted, Class, Policy};

/// Lists at the same time that look at all targets. Each keeps the disk busy. One client has at
/// most three of them.
const MAX_FULL_LISTS: usize = 4;

/// Source in the records of imported objects.
const IMPORT_SOURCE: &str = "import";

const NO_RECORD: AdminError = AdminError::NotFound("the target has no record");

const NO_SUCH_RECORD: AdminError =
    AdminError::NotFound("the target has no record with this digest");

/// Services that the operator service uses.
pub struct AdminServices {
    pub gateway: Arc<Gateway>,
    pub policy: Arc<Policy>,
    pub cache: Cache,
    pub fetcher: Fetcher,
    pub events: EventSink,
}

/// Operations of operators on the cache.
pub struct AdminService {
    pub(super) services: AdminServices,
    tokens: ArcSwap<Tokens>,
    wrong_tokens: WrongTokens,
    /// Permits of lists that look at all targets.
    pub(super) full_lists: FairPool,
}

impl AdminService {
    #[must_use]
    pub fn new(services: AdminServices, tokens: Tokens) -> Self {
        let share = services.policy.client_share();
        Self {
            services,
            full_lists: FairPool::new(MAX_FULL_LISTS, 0, &share),
            tokens: ArcSwap::from_pointee(tokens),
            wrong_tokens: WrongTokens::default(),
        }
    }

    /// Replaces the tokens.
    pub fn replace_tokens(&self, tokens: Tokens) {
        self.tokens.store(Arc::new(tokens));
    }

    /// Describes what is wrong with the operator token, if anything.
    #[must_use]
    pub fn token_trouble(&self) -> Option<String> {
        self.tokens.load().trouble().map(str::to_owned)
    }

    /// Returns what the token of a request permits.
    ///
    /// # Errors
    /// [`AdminError::WrongToken`], or [`AdminError::TooManyWrongTokens`] after
    /// several.
    pub fn authorize(&self, client: IpAddr, token: Option<&str>) -> Result<Permission, AdminError> {
        let Some(token) = token else {
            return Ok(Permission::Public);
        };
        let tokens = self.tokens.load();
        let permission = self
            .wrong_tokens
            .bound(client, || tokens.authorize(client, token))?;
        permission.ok_or(AdminError::WrongToken)
    }

    /// Operations on the catalog.
    #[must_use]
    pub fn catalog(&self) -> CatalogAdmin {
        CatalogAdmin::new(self.services.cache.clone())
    }

    /// Returns all records of a target with their status, those that answer first.
    pub(super) async fn history(&self, target: &Target) -> Result<Vec<RecordStatus>, AdminError> {
        let mut history: Vec<RecordStatus> = Vec::new();
        for key in self.keys_of(target) {
            let records = self.services.cache.admin().history(key).await;
            let mut records = records.map_err(|error| storage_error(&error))?;
            // The records of a later key answer only if an earlier one has none.
            for status in &mut records {
                status.is_active &= history.is_empty();
            }
            history.append(&mut records);
        }
        Ok(history)
    }

    /// Returns the records of a target, and its stored responses of class `revalidate`, the newest
    /// first.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there is neither.
    pub async fn stored(
        &self,
        target: &Target,
    ) -> Result<(Vec<RecordStatus>, Vec<Observation>), AdminError> {
        let records = self.history(target).await?;
        let mut observations = Vec::new();
        for key in self.keys_of(target) {
            let stored = self.services.cache.observations().list(key).await;
            observations.append(&mut stored.map_err(|error| storage_error(&error))?);
        }
        if records.is_empty() && observations.is_empty() {
            return Err(NO_RECORD);
        }
        Ok((records, observations))
    }

    /// Returns the SHA-256 that the operator's checksum file requires of a target.
    #[must_use]
    pub fn required_sha256(&self, target: &Target) -> Option<Sha256> {
        self.services.policy.required_sha256(target).or_else(|| {
            self.services
                .policy
                .required_sha256(&self.services.policy.cache_target(target))
        })
    }

    /// Returns the cacheability class of a target.
    #[must_use]
    pub fn class(&self, target: &Target) -> Class {
        self.services.policy.classify(target).class()
    }

    /// Returns the keys under which a target may be stored, in the order in which they answer.
    #[must_use]
    pub fn keys_of(&self, target: &Target) -> Vec<Key> {
        let targets = self.services.policy.stored_targets(target);
        targets.iter().map(Key::new).collect()
    }

    /// Returns the use of the cache disk.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if the disk does not answer.
    pub async fn disk_usage(&self) -> Result<DiskUsage, AdminError> {
        let usage = self.services.cache.admin().disk_usage().await;
        usage.map_err(|error| storage_error(&error))
    }

    /// Returns the load of all fetches at present.
    #[must_use]
    pub fn fetch_load(&self) -> FetchLoad {
        self.services.fetcher.load()
    }

    /// Pins a target to the object with this digest, or to its active one. Returns the digest.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if the target has no such record.
    pub async fn pin(
        &self,
        _: &Operator,
        target: &Target,
        sha256: Option<Sha256>,
    ) -> Result<Sha256, AdminError> {
        let candidates = if let Some(sha256) = sha256 {
            // The record may be unreadable, and known by its name only.
            let keys = self.keys_of(target).into_iter();
            keys.map(|key| (key, sha256)).collect()
        } else {
            let history = self.history(target).await?;
            let active = history.iter().find(|status| status.is_active);
            let record = &active.ok_or(NO_RECORD)?.record;
            vec![(record.key(), record.sha256)]
        };
        for (key, sha256) in candidates {
            let pinned = self.services.cache.admin().pin(key, sha256).await;
            if pinned.map_err(|error| storage_error(&error))? {
                tracing::info!(%target, %sha256, "operator pinned a target");
                return Ok(sha256);
            }
        }
        Err(NO_SUCH_RECORD)
    }

    /// Removes one pin of a target, or all of them. Returns how many were removed.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there is none.
    pub async fn unpin(
        &self,
        _: &Operator,
        target: &Target,
        sha256: Option<Sha256>,
    ) -> Result<u64, AdminError> {
        let mut removed = 0;
        for key in self.keys_of(target) {
            let unpinned = self.services.cache.admin().unpin(key, sha256).await;
            removed += unpinned.map_err(|error| storage_error(&error))?;
        }
        if removed == 0 {
            return Err(AdminError::NotFound("there is no such pin"));
        }
        tracing::info!(%target, removed, "operator unpinned a target");
        Ok(removed)
    }

    /// Removes a target with its records and objects. `pinned` decides about a pinned target.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if it has no record, [`AdminError::Pinned`] if its pins are kept.
    pub async fn remove_target(
        &self,
        _: &Operator,
        target: &Target,
        pinned: PinnedTarget,
    ) -> Result<RemovedTarget, AdminError> {
        let targets = self.services.policy.removed_targets(target);
        if pinned == PinnedTarget::Keep {
            // Nothing is removed under one key if another one is pinned.
            for stored in &targets {
                let history = self.history(stored).await?;
                if history.iter().any(|status| status.pinned_at.is_some()) {
                    return Err(AdminError::Pinned);
                }
            }
        }
        let mut removed_target = RemovedTarget::default();
        for key in targets.iter().map(Key::new) {
            // Responses that arrive now are older than the request of the operator.
            self.services.fetcher.supersede(key);
            let removed = self.services.cache.admin().remove_target(key, pinned).await;
            match removed.map_err(|error| storage_error(&error))? {
                TargetRemoval::Removed(removed) => removed_target += removed,
                TargetRemoval::Pinned => return Err(AdminError::Pinned),
            }
        }
        if removed_target.records == 0 {
            return Err(NO_RECORD);
        }
        tracing::info!(
            %target,
            records = removed_target.records,
            "operator removed a target"
        );
        Ok(removed_target)
    }

    /// Removes an object, but not its records. Returns its size in bytes.
    ///
    /// # Errors
    /// [`AdminError::Pinned`], or [`AdminError::NotFound`] if it is not stored.
    pub async fn remove_object(&self, _: &Operator, sha256: Sha256) -> Result<u64, AdminError> {
        match self
            .services
            .cache
            .admin()
            .evict_object(sha256)
            .await
            .map_err(|error| storage_error(&error))?
        {
            EvictResult::Evicted { size_bytes } => {
                tracing::info!(%sha256, "operator removed an object");
                Ok(size_bytes)
            }
            EvictResult::Pinned => Err(AdminError::Pinned),
            EvictResult::NotFound => {
                Err(AdminError::NotFound("no object of this digest is stored"))
            }
        }
    }

    /// Stores an operator's copy of a target and pins it. The origin is not asked.
    ///
    /// # Errors
    /// [`AdminError::InvalidUpload`] if the upload is incomplete, [`AdminError::WrongFileType`] if
    /// its first bytes do not match the name, [`RequestError::Mismatch`] if the bytes do not have
    /// the expected digests, or [`AdminError::NotCacheable`]. Nothing is stored then.
    pub async fn import<S, E>(
        &self,
        _: &Operator,
        upload: ImportUpload<S>,
    ) -> Result<Record, AdminError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Display,
    {
        let ImportUpload {
            target,
            mut expected,
            kind_check,
            length,
            body,
        } = upload;
        let admitted = self.admit_cacheable(target)?;
        expected.extend(admitted.required_sha256());
        self.services.policy.admit_upload(length)?;
        let bounds = UploadBounds {
            max_size: self.services.policy.max_object_size(),
            length,
            file_type: match kind_check {
                KindCheck::Apply => admitted.file_type(),
                KindCheck::Skip => FileType::UNCHECKED,
            },
        };
        let finished = stage_upload(&self.services.cache, bounds, body).await?;
        if finished.digests.first_mismatch(&expected).is_some() {
            return Err(AdminError::Request(RequestError::Mismatch {
                expected,
                found: finished.digests.sha256,
            }));
        }
        let sealed = finished
            .seal()
            .await
            .map_err(|error| storage_error(&error.into()))?;
        let record = Record::new(
            admitted.target(),
            sealed.digests.clone(),
            sealed.size_bytes,
            SystemTime::now(),
            RecordSource {
                source: IMPORT_SOURCE.to_owned(),
                headers: StoredHeaders::default(),
            },
        );
        self.services
            .cache
            .admin()
            .publish_pinned(sealed, record.clone())
            .await
            .map_err(|error| storage_error(&error))?;
        self.log_import(&record);
        Ok(record)
    }

    fn log_import(&self, record: &Record) {
        let (sha256, size_bytes) = (record.sha256, record.size_bytes);
        self.services.events.emit(Event::Stored {
            target: record.target.clone(),
            sha256,
            size_bytes,
        });
        tracing::info!(uri = %record.target, size_bytes, %sha256, "import");
    }

    /// Admits a target whose stored bytes may be served.
    pub(super) fn admit_cacheable(&self, target: Target) -> Result<Admitted, AdminError> {
        let admitted = self.services.policy.admit(target)?;
        match admitted.class() {
            // Bytes that an operator stores answer while the origin is away.
            Class::Immutable | Class::Revalidate => Ok(admitted),
            Class::PassThrough => Err(AdminError::NotCacheable),
        }
    }
}
