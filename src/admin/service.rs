//! What operators decide about what is kept: which bytes a target means, what comes in by hand,
//! what goes.
//!
//! Whatever changes something wants an [`Operator`], which only the token makes.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::time::timeout;

use super::{AdminToken, Operator};
use crate::cache::{Cache, CacheError, EvictResult, ListedTarget, RecordStatus, RemovedTarget};
use crate::fetch::{Fetcher, Refreshed};
use crate::gateway::RequestError;
use crate::model::{
    Event, EventSink, ExpectedDigests, Hasher, Key, Record, RecordSource, Sha256, StoredHeaders,
    Target,
};
use crate::policy::{Admitted, Class, Policy, PolicyDenied};

/// What the record of an operator's copy names as its source.
const SOURCE: &str = "import";

/// How long an upload may rest.
const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_mins(1);

const NO_RECORD: RequestError = RequestError::NotFound("nothing is on record of this");

/// An operator's copy on its way in.
pub struct Upload<S> {
    pub target: Target,
    /// What the bytes must be.
    pub expected: ExpectedDigests,
    /// In bytes, if it was said.
    pub length: Option<u64>,
    pub body: S,
}

/// The store as operators see it.
pub struct AdminService {
    policy: Arc<Policy>,
    cache: Cache,
    fetcher: Fetcher,
    events: EventSink,
    token: ArcSwap<AdminToken>,
}

impl AdminService {
    #[must_use]
    pub fn new(
        policy: Arc<Policy>,
        cache: Cache,
        fetcher: Fetcher,
        events: EventSink,
        token: AdminToken,
    ) -> Self {
        Self {
            policy,
            cache,
            fetcher,
            events,
            token: ArcSwap::from_pointee(token),
        }
    }

    /// Puts another token in force.
    pub fn replace_token(&self, token: AdminToken) {
        self.token.store(Arc::new(token));
    }

    /// # Errors
    /// [`Problem::Unauthorized`] unless the token was shown.
    pub fn authorize(&self, shown: Option<&str>) -> Result<Operator, RequestError> {
        self.token.load().authorize(shown)
    }

    /// All that a target is known to have given.
    ///
    /// # Errors
    /// [`Problem::NotFound`] where that is nothing.
    pub async fn history(&self, target: &Target) -> Result<Vec<RecordStatus>, RequestError> {
        let history = self
            .cache
            .admin()
            .history(self.key_of(target))
            .await
            .map_err(|error| store_unavailable(&error))?;
        if history.is_empty() {
            Err(NO_RECORD)
        } else {
            Ok(history)
        }
    }

    /// What the operator's file says of a target.
    #[must_use]
    pub fn required_sha256(&self, target: &Target) -> Option<Sha256> {
        self.policy.required_sha256(target).or_else(|| {
            self.policy
                .required_sha256(&self.policy.cache_target(target))
        })
    }

    /// The key under which a target is kept.
    fn key_of(&self, target: &Target) -> Key {
        Key::new(&self.policy.cache_target(target))
    }

    /// # Errors
    /// [`Problem::Unavailable`].
    pub async fn list(
        &self,
        _: &Operator,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<ListedTarget>, RequestError> {
        self.cache
            .admin()
            .list(after, limit)
            .await
            .map_err(|error| store_unavailable(&error))
    }

    /// Pins a target to bytes that it has given, or to those that answer for it.
    ///
    /// # Errors
    /// [`Problem::NotFound`] where it has not given them.
    pub async fn pin(
        &self,
        _: &Operator,
        target: &Target,
        sha256: Option<Sha256>,
    ) -> Result<Sha256, RequestError> {
        let sha256 = if let Some(sha256) = sha256 {
            sha256
        } else {
            let history = self.history(target).await?;
            let answering = history.iter().find(|status| status.is_active);
            answering
                .map(|status| status.record.sha256)
                .ok_or(NO_RECORD)?
        };
        let is_known = self
            .cache
            .admin()
            .pin(self.key_of(target), sha256)
            .await
            .map_err(|error| store_unavailable(&error))?;
        if !is_known {
            return Err(RequestError::NotFound(
                "the target has not given these bytes",
            ));
        }
        tracing::info!(%target, %sha256, "an operator has pinned a target");
        Ok(sha256)
    }

    /// Takes away one pin of a target, or all of them.
    ///
    /// # Errors
    /// [`Problem::NotFound`] where there is none.
    pub async fn unpin(
        &self,
        _: &Operator,
        target: &Target,
        sha256: Option<Sha256>,
    ) -> Result<u64, RequestError> {
        let removed = self
            .cache
            .admin()
            .unpin(self.key_of(target), sha256)
            .await
            .map_err(|error| store_unavailable(&error))?;
        if removed == 0 {
            return Err(RequestError::NotFound("there is no such pin"));
        }
        tracing::info!(%target, removed, "an operator has unpinned a target");
        Ok(removed)
    }

    /// Removes a target with its records and bytes.
    ///
    /// # Errors
    /// [`Problem::NotFound`] where nothing is on record of it.
    pub async fn forget(
        &self,
        _: &Operator,
        target: &Target,
    ) -> Result<RemovedTarget, RequestError> {
        let removed_target = self
            .cache
            .admin()
            .remove_target(self.key_of(target))
            .await
            .map_err(|error| store_unavailable(&error))?;
        if removed_target.records == 0 {
            return Err(NO_RECORD);
        }
        tracing::info!(%target, records = removed_target.records, "an operator has removed a target");
        Ok(removed_target)
    }

    /// Removes an object. What is on record of it stays. Returns how many bytes that were.
    ///
    /// # Errors
    /// [`Problem::Pinned`]; [`Problem::NotFound`] where it is not held.
    pub async fn remove_object(&self, _: &Operator, sha256: Sha256) -> Result<u64, RequestError> {
        match self
            .cache
            .admin()
            .evict_object(sha256)
            .await
            .map_err(|error| store_unavailable(&error))?
        {
            EvictResult::Evicted { size_bytes } => {
                tracing::info!(%sha256, "an operator has removed an object");
                Ok(size_bytes)
            }
            EvictResult::Pinned => Err(RequestError::Pinned),
            EvictResult::NotFound => {
                Err(RequestError::NotFound("no object of this digest is held"))
            }
        }
    }

    /// Fetches a target again. Other bytes than before are kept and told, and answer only if they
    /// are accepted.
    ///
    /// # Errors
    /// What the fetch came to.
    pub async fn refresh(
        &self,
        _: &Operator,
        target: Target,
        expected: ExpectedDigests,
        accept: bool,
    ) -> Result<Refreshed, RequestError> {
        let admitted = self.admit_cacheable(target)?;
        let mut expected = expected;
        expected.extend(admitted.required_sha256());
        Ok(self.fetcher.refresh(admitted, expected, accept).await?)
    }

    /// Takes in an operator's copy of a target, whatever upstream says of it, and pins it.
    ///
    /// # Errors
    /// [`Problem::Mismatch`] if it is not what it must be, [`Problem::BadRequest`] if it is cut;
    /// nothing is stored then.
    pub async fn import<S, E>(
        &self,
        _: &Operator,
        upload: Upload<S>,
    ) -> Result<Record, RequestError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Display,
    {
        let Upload {
            target,
            mut expected,
            length,
            mut body,
        } = upload;
        let admitted = self.admit_cacheable(target)?;
        expected.extend(admitted.required_sha256());
        self.policy.admit_body(None, length)?;
        let staged = self
            .cache
            .stage(length, Hasher::with_all_algorithms())
            .await;
        let mut staging = staged.map_err(|error| map_store_error(&error))?;
        while let Some(piece) = next_piece(&mut body).await? {
            let size_bytes = staging.written_bytes() + piece.len() as u64;
            let limit = self.policy.max_object_size();
            if size_bytes > limit.bytes {
                return Err(PolicyDenied::TooLarge(limit).into());
            }
            staging
                .append(piece)
                .await
                .map_err(|error| map_store_error(&error.into()))?;
        }
        let size_bytes = staging.written_bytes();
        if size_bytes == 0 || length.is_some_and(|length| length != size_bytes) {
            return Err(RequestError::BadRequest(format!(
                "the upload ended after {size_bytes} bytes"
            )));
        }
        let finished = staging
            .finish()
            .map_err(|error| map_store_error(&error.into()))?;
        if finished.digests.first_mismatch(&expected).is_some() {
            return Err(RequestError::Mismatch {
                expected,
                found: finished.digests.sha256,
            });
        }
        let sealed = finished
            .seal()
            .await
            .map_err(|error| map_store_error(&error.into()))?;
        let target = admitted.target();
        let (digests, now) = (sealed.digests.clone(), SystemTime::now());
        let record = Record::new(
            target,
            digests,
            size_bytes,
            now,
            RecordSource {
                source: SOURCE.to_owned(),
                headers: StoredHeaders::default(),
            },
        );
        self.cache
            .admin()
            .publish_pinned(sealed, record.clone())
            .await
            .map_err(|error| map_store_error(&error))?;
        let sha256 = record.sha256;
        self.events.emit(Event::Stored {
            target: target.clone(),
            sha256,
            size_bytes,
        });
        tracing::info!(uri = %target, size_bytes, %sha256, "import");
        Ok(record)
    }

    /// Only what is read from the store when it is asked for can be put there.
    fn admit_cacheable(&self, target: Target) -> Result<Admitted, RequestError> {
        let admitted = self.policy.admit(target)?;
        if admitted.class() == Class::Immutable {
            return Ok(admitted);
        }
        let text = "a name like this is passed through and never read from the store: add a rule of class \"immutable\" first";
        Err(RequestError::BadRequest(text.to_owned()))
    }
}

/// The next bytes of an upload, or `None` behind its end.
async fn next_piece<E: Display>(
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<Option<Bytes>, RequestError> {
    match timeout(UPLOAD_IDLE_TIMEOUT, body.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(error))) => Err(RequestError::BadRequest(format!(
            "the upload broke off: {error}"
        ))),
        Err(_) => Err(RequestError::BadRequest(
            "the upload rested for too long".to_owned(),
        )),
    }
}

fn store_unavailable(error: &CacheError) -> RequestError {
    tracing::warn!(%error, "the cache could not be used for an operator");
    RequestError::Unavailable
}

fn map_store_error(error: &CacheError) -> RequestError {
    if error.is_no_space() {
        RequestError::NoSpace
    } else {
        store_unavailable(error)
    }
}
