//! Tags: the digest that a registry gives for each, and the last known one while the registry is
//! away.
//!
//! A tag is a target of class `revalidate`. Its manifest is stored under its digest, so that only
//! the digest is asked for, by HEAD. The main type is [`ImageTags`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use moka::future::Cache;
use tokio::sync::Mutex as TurnMutex;
use tokio::time::timeout;

use super::config::DeletedTag;
use super::reference::parse_digest;
use super::source::ImageSource;
use super::tag_store::{KnownTag, TagStore};
use super::tokens::RegistryTokens;
use crate::gateway::{Gateway, Method, OriginAnswer, OriginError, OriginQuestion, RequestError};
use crate::model::{Digest, Digests, ExpectedDigests, Hasher, MANIFEST_TYPES, Target, lock};

/// Wait for a registry if a digest is known. A client shall not wait for a dead registry.
const KNOWN_TAG_WAIT: Duration = Duration::from_secs(2);

/// Time after a failure for which a registry is not asked for tags that are known, and for the tag
/// of the failure.
const AWAY_PAUSE: Duration = Duration::from_secs(10);

/// Bound on the registries and tags that are not asked.
const MAX_PAUSES: usize = 1000;

/// Status of a registry that limits requests.
const TOO_MANY_REQUESTS: u16 = 429;

/// Error for an unknown tag that is not asked for.
const PAUSED: RequestError =
    RequestError::RegistryFault("the registry has just failed; retry in a few seconds");

/// Bound on the tags that are asked for at the same time, and the time for which each is kept.
const MAX_TURNS: u64 = 10_000;
const TURN_TTL: Duration = Duration::from_mins(10);

/// Bound on a manifest that is hashed because the registry does not state its digest (OCI
/// distribution specification 1.1, "Pushing Manifests").
const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// Media types of manifests of schema 1. Their digest is not that of their bytes.
const SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// Error for a manifest of schema 1.
pub const SCHEMA_1_REFUSED: RequestError = RequestError::NotFound(
    "the manifest has schema 1, which cannot be verified; ask for a newer image",
);

/// Asks registries for tags.
pub struct ImageTags {
    gateway: Arc<Gateway>,
    store: TagStore,
    turns: Cache<Target, Arc<TurnMutex<()>>>,
    /// The base URLs of registries, and the tags, that are not asked until this time.
    away: Mutex<HashMap<String, Instant>>,
}

/// Digest of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedTag {
    pub known: KnownTag,
    /// Whether the registry is away, or has deleted the tag.
    pub is_stale: bool,
}

impl ImageTags {
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, store: TagStore) -> Self {
        let turns = Cache::builder().max_capacity(MAX_TURNS);
        Self {
            gateway,
            store,
            turns: turns.time_to_idle(TURN_TTL).build(),
            away: Mutex::default(),
        }
    }

    /// Returns the digest of a tag. `target` is its manifest at the registry. Requests for the same
    /// tag ask the registry once.
    ///
    /// # Errors
    /// [`RequestError`] if no digest is known and the registry gives none.
    pub async fn resolve(
        &self,
        source: &ImageSource<'_>,
        target: &Target,
        tokens: &RegistryTokens,
    ) -> Result<ResolvedTag, RequestError> {
        let ttl = source.registry.tag_ttl();
        if let Some(known) = self
            .store
            .read(target)
            .await
            .filter(|known| is_fresh(known, ttl))
        {
            return Ok(ResolvedTag::current(known));
        }
        let turn = self.turns.get_with_by_ref(target, async { Arc::default() });
        let turn = turn.await;
        let _turn = turn.lock().await;
        let known = self.store.read(target).await;
        if let Some(known) = known.clone().filter(|known| is_fresh(known, ttl)) {
            return Ok(ResolvedTag::current(known));
        }
        let asked = if self.is_paused(source, target, known.is_some()) {
            Err(PAUSED)
        } else {
            let asked = self.ask(source, target, tokens);
            let asked = match known {
                Some(_) => timeout(KNOWN_TAG_WAIT, asked).await,
                None => Ok(asked.await),
            };
            let asked = asked.unwrap_or(Err(RequestError::DeadlineExceeded));
            asked.inspect_err(|error| self.pause(source, target, error))
        };
        match asked {
            Ok(digest) => {
                let known = KnownTag::now(digest, known);
                self.store.write(target, known.clone()).await;
                Ok(ResolvedTag::current(known))
            }
            Err(error) => self.last_known(source, target, known, error).await,
        }
    }

    /// Returns the last known digest of a tag. The registry is not asked.
    pub async fn known(&self, target: &Target) -> Option<ResolvedTag> {
        self.store.read(target).await.map(ResolvedTag::current)
    }

    /// Returns the last known digest, if it may answer in place of this error.
    async fn last_known(
        &self,
        source: &ImageSource<'_>,
        target: &Target,
        known: Option<KnownTag>,
        error: RequestError,
    ) -> Result<ResolvedTag, RequestError> {
        let is_deleted = is_deleted(&error);
        if is_deleted && source.registry.on_deleted() == DeletedTag::Follow {
            self.store.remove(target).await;
            return Err(error);
        }
        let known = known.filter(|_| is_deleted || is_away(&error));
        let known = known.ok_or_else(|| error.clone())?;
        tracing::debug!(%target, %error, "served the last known digest of a tag");
        let is_stale = true;
        Ok(ResolvedTag { known, is_stale })
    }

    /// Asks the registry for the digest of a tag.
    async fn ask(
        &self,
        source: &ImageSource<'_>,
        target: &Target,
        tokens: &RegistryTokens,
    ) -> Result<Digest, RequestError> {
        let authorization = tokens.authorization(source).await?;
        let question = |method| OriginQuestion {
            client: source.client,
            method,
            target: target.clone(),
            named: None,
            headers: vec![("accept".to_owned(), MANIFEST_TYPES.into())],
            authorization: authorization.clone(),
            max_body_bytes: MAX_MANIFEST_BYTES + 1,
        };
        let head = self.gateway.ask_origin(question(Method::Head)).await?;
        if head.status == 401 {
            tokens.forget(source).await;
        }
        let head = check(head)?;
        if let Some(digest) = stated_digest(&head) {
            return Ok(digest);
        }
        let whole = check(self.gateway.ask_origin(question(Method::Get)).await?)?;
        if whole.body.len() > MAX_MANIFEST_BYTES {
            return Err(RequestError::RegistryFault("the manifest is too large"));
        }
        let mut hasher = Hasher::new(&ExpectedDigests::nothing());
        hasher.update(&whole.body);
        let Digests { sha256, .. } = hasher.finish();
        Ok(sha256.into())
    }

    /// Notes that a registry has failed for a tag. An error status counts for this tag only.
    fn pause(&self, source: &ImageSource<'_>, target: &Target, error: &RequestError) {
        if is_deleted(error) || !is_away(error) {
            return;
        }
        let is_of_tag = match error {
            RequestError::Origin(OriginError::Status { status, .. }) => {
                *status != TOO_MANY_REQUESTS
            }
            RequestError::Origin(_) | RequestError::DeadlineExceeded => false,
            _ => true,
        };
        let base = (!is_of_tag).then(|| source.registry.base());
        let until = Instant::now() + AWAY_PAUSE;
        let mut away = lock(&self.away);
        if away.len() >= MAX_PAUSES {
            away.clear();
        }
        let paused = base.into_iter().chain([target.as_str()]);
        away.extend(paused.map(|paused| (paused.to_owned(), until)));
    }

    /// Whether a tag is not asked for now. One that is not known is asked for although its registry
    /// has failed for another tag.
    fn is_paused(&self, source: &ImageSource<'_>, target: &Target, is_known: bool) -> bool {
        let mut away = lock(&self.away);
        away.retain(|_, until| *until > Instant::now());
        away.contains_key(target.as_str()) || is_known && away.contains_key(source.registry.base())
    }
}

impl ResolvedTag {
    fn current(known: KnownTag) -> Self {
        let is_stale = false;
        Self { known, is_stale }
    }
}

fn is_fresh(known: &KnownTag, ttl: Duration) -> bool {
    // A time in the future is that of another clock.
    let age = SystemTime::now().duration_since(known.checked_at);
    age.is_ok_and(|age| age < ttl)
}

/// Checks that an answer is a manifest that can be verified.
fn check(answer: OriginAnswer) -> Result<OriginAnswer, RequestError> {
    if answer.status != 200 {
        return Err(answer.into_error());
    }
    if answer.fields("content-type").any(is_schema_1) {
        return Err(SCHEMA_1_REFUSED);
    }
    Ok(answer)
}

/// Whether a value of `Content-Type` is that of a manifest of schema 1.
pub fn is_schema_1(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    SCHEMA_1.contains(&media_type.trim())
}

fn stated_digest(answer: &OriginAnswer) -> Option<Digest> {
    parse_digest(answer.fields("docker-content-digest").next()?).ok()
}

/// Whether a registry says that it has no such tag for this gateway.
fn is_deleted(error: &RequestError) -> bool {
    match error {
        RequestError::Origin(OriginError::Status { status, .. }) => {
            matches!(status, 401 | 403 | 404 | 410)
        }
        RequestError::NotFound(_) => true,
        _ => false,
    }
}

/// Whether a registry has given no answer that can be used.
fn is_away(error: &RequestError) -> bool {
    let is_status = matches!(error, RequestError::Origin(OriginError::Status { .. }));
    is_status || error.is_away()
}
