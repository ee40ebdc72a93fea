//! What operators decide about what is kept: which bytes a target means, what comes in by hand, what goes.
//!
//! Whatever changes something wants an [`Operator`], which only the token makes.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::time::timeout;

use super::{AdminToken, Operator, Problem};
use crate::cache::{Cache, CacheError, EvictResult, ListedTarget, RecordStatus, RemovedTarget};
use crate::fetch::{Fetcher, Refreshed};
use crate::model::{Event, EventSink, Expected, Hasher, KeptHeaders, Key, Record, Sha256, Target};
use crate::policy::{Admitted, Class, Policy, Refusal};

/// What the record of an operator's copy names as its source.
const SOURCE: &str = "import";

/// How long an upload may rest.
const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_mins(1);

const NOTHING_ON_RECORD: Problem = Problem::Unknown("nothing is on record of this");

/// An operator's copy on its way in.
pub struct Upload<S> {
    pub target: Target,
    /// What the bytes must be.
    pub expected: Expected,
    /// In bytes, if it was said.
    pub length: Option<u64>,
    pub body: S,
}

/// The store as operators see it.
pub struct Custody {
    policy: Arc<Policy>,
    cache: Cache,
    fetcher: Fetcher,
    events: EventSink,
    token: ArcSwap<AdminToken>,
}

impl Custody {
    #[must_use]
    pub fn new(policy: Arc<Policy>, cache: Cache, fetcher: Fetcher, events: EventSink, token: AdminToken) -> Self {
        Self { policy, cache, fetcher, events, token: ArcSwap::from_pointee(token) }
    }

    /// Puts another token in force.
    pub fn replace_token(&self, token: AdminToken) {
        self.token.store(Arc::new(token));
    }

    /// # Errors
    /// [`Problem::Unauthorized`] unless the token was shown.
    pub fn authorize(&self, shown: Option<&str>) -> Result<Operator, Problem> {
        self.token.load().authorize(shown)
    }

    /// All that a target is known to have given.
    ///
    /// # Errors
    /// [`Problem::Unknown`] where that is nothing.
    pub async fn history(&self, target: &Target) -> Result<Vec<RecordStatus>, Problem> {
        let history = self.cache.admin().history(self.key_of(target)).await.map_err(|error| unusable(&error))?;
        if history.is_empty() { Err(NOTHING_ON_RECORD) } else { Ok(history) }
    }

    /// What the operator's file says of a target.
    #[must_use]
    pub fn stated(&self, target: &Target) -> Option<Sha256> {
        self.policy.stated(target).or_else(|| self.policy.stated(&self.policy.kept_as(target)))
    }

    /// The key under which a target is kept.
    fn key_of(&self, target: &Target) -> Key {
        Key::of(&self.policy.kept_as(target))
    }

    /// # Errors
    /// [`Problem::Unavailable`].
    pub async fn list(&self, _: &Operator, after: Option<Key>, limit: usize) -> Result<Vec<ListedTarget>, Problem> {
        self.cache.admin().list(after, limit).await.map_err(|error| unusable(&error))
    }

    /// Pins a target to bytes that it has given, or to those that answer for it.
    ///
    /// # Errors
    /// [`Problem::Unknown`] where it has not given them.
    pub async fn pin(&self, _: &Operator, target: &Target, sha256: Option<Sha256>) -> Result<Sha256, Problem> {
        let sha256 = if let Some(sha256) = sha256 {
            sha256
        } else {
            let history = self.history(target).await?;
            let answering = history.iter().find(|witness| witness.is_active);
            answering.map(|witness| witness.record.sha256).ok_or(NOTHING_ON_RECORD)?
        };
        let is_known = self.cache.admin().pin(self.key_of(target), sha256).await.map_err(|error| unusable(&error))?;
        if !is_known {
            return Err(Problem::Unknown("the target has not given these bytes"));
        }
        tracing::info!(%target, %sha256, "an operator has pinned a target");
        Ok(sha256)
    }

    /// Takes away one pin of a target, or all of them.
    ///
    /// # Errors
    /// [`Problem::Unknown`] where there is none.
    pub async fn unpin(&self, _: &Operator, target: &Target, sha256: Option<Sha256>) -> Result<u64, Problem> {
        let removed = self.cache.admin().unpin(self.key_of(target), sha256).await.map_err(|error| unusable(&error))?;
        if removed == 0 {
            return Err(Problem::Unknown("there is no such pin"));
        }
        tracing::info!(%target, removed, "an operator has unpinned a target");
        Ok(removed)
    }

    /// Removes a target with its records and bytes.
    ///
    /// # Errors
    /// [`Problem::Unknown`] where nothing is on record of it.
    pub async fn forget(&self, _: &Operator, target: &Target) -> Result<RemovedTarget, Problem> {
        let forgotten =
            self.cache.admin().remove_target(self.key_of(target)).await.map_err(|error| unusable(&error))?;
        if forgotten.records == 0 {
            return Err(NOTHING_ON_RECORD);
        }
        tracing::info!(%target, records = forgotten.records, "an operator has removed a target");
        Ok(forgotten)
    }

    /// Removes an object. What is on record of it stays. Returns how many bytes that were.
    ///
    /// # Errors
    /// [`Problem::Pinned`]; [`Problem::Unknown`] where it is not held.
    pub async fn remove_object(&self, _: &Operator, sha256: Sha256) -> Result<u64, Problem> {
        match self.cache.admin().evict_object(sha256).await.map_err(|error| unusable(&error))? {
            EvictResult::Evicted { size_bytes } => {
                tracing::info!(%sha256, "an operator has removed an object");
                Ok(size_bytes)
            }
            EvictResult::Pinned => Err(Problem::Pinned),
            EvictResult::NotFound => Err(Problem::Unknown("no object of this digest is held")),
        }
    }

    /// Fetches a target again. Other bytes than before are kept and told, and answer only if they are accepted.
    ///
    /// # Errors
    /// What the fetch came to.
    pub async fn refresh(
        &self,
        _: &Operator,
        target: Target,
        expected: Expected,
        accept: bool,
    ) -> Result<Refreshed, Problem> {
        let admitted = self.admit_kept(target)?;
        let mut expected = expected;
        expected.extend(admitted.stated());
        Ok(self.fetcher.refresh(admitted, expected, accept).await?)
    }

    /// Takes in an operator's copy of a target, whatever upstream says of it, and pins it.
    ///
    /// # Errors
    /// [`Problem::Mismatch`] if it is not what it must be, [`Problem::BadRequest`] if it is cut; nothing is stored then.
    pub async fn import<S, E>(&self, _: &Operator, upload: Upload<S>) -> Result<Record, Problem>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Display,
    {
        let Upload { target, mut expected, length, mut body } = upload;
        let admitted = self.admit_kept(target)?;
        expected.extend(admitted.stated());
        self.policy.admit_body(None, length)?;
        let staged = self.cache.stage(length, Hasher::of_all()).await;
        let mut staging = staged.map_err(|error| unkept(&error))?;
        while let Some(piece) = next_piece(&mut body).await? {
            let size_bytes = staging.written_bytes() + piece.len() as u64;
            let limit = self.policy.max_object_size();
            if size_bytes > limit.bytes {
                return Err(Refusal::TooLarge(limit).into());
            }
            staging.append(piece).await.map_err(|error| unkept(&error.into()))?;
        }
        let size_bytes = staging.written_bytes();
        if size_bytes == 0 || length.is_some_and(|length| length != size_bytes) {
            return Err(Problem::BadRequest(format!("the upload ended after {size_bytes} bytes")));
        }
        let finished = staging.finish().map_err(|error| unkept(&error.into()))?;
        if finished.digests.violated(&expected).is_some() {
            return Err(Problem::Mismatch { expected, found: finished.digests.sha256 });
        }
        let sealed = finished.seal().await.map_err(|error| unkept(&error.into()))?;
        let target = admitted.target();
        let (digests, now) = (sealed.digests.clone(), SystemTime::now());
        let record = Record::new(target, digests, size_bytes, now, SOURCE.to_owned(), KeptHeaders::default());
        self.cache.admin().publish_pinned(sealed, record.clone()).await.map_err(|error| unkept(&error))?;
        let sha256 = record.sha256;
        self.events.tell(Event::Stored { target: target.clone(), sha256, size_bytes });
        tracing::info!(uri = %target, size_bytes, %sha256, "import");
        Ok(record)
    }

    /// Only what is read from the store when it is asked for can be put there.
    fn admit_kept(&self, target: Target) -> Result<Admitted, Problem> {
        let admitted = self.policy.admit(target)?;
        if admitted.class() == Class::Frozen {
            return Ok(admitted);
        }
        let text =
            "a name like this is passed through and never read from the store: add a rule of class \"frozen\" first";
        Err(Problem::BadRequest(text.to_owned()))
    }
}

/// The next bytes of an upload, or `None` behind its end.
async fn next_piece<E: Display>(
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<Option<Bytes>, Problem> {
    match timeout(UPLOAD_IDLE_TIMEOUT, body.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(error))) => Err(Problem::BadRequest(format!("the upload broke off: {error}"))),
        Err(_) => Err(Problem::BadRequest("the upload rested for too long".to_owned())),
    }
}

fn unusable(error: &CacheError) -> Problem {
    tracing::warn!(%error, "the cache could not be used for an operator");
    Problem::Unavailable
}

fn unkept(error: &CacheError) -> Problem {
    if error.is_no_space() { Problem::NoSpace } else { unusable(error) }
}
