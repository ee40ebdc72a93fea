//! Tags: the digest that a registry gives for each, and the last known one while the registry is
//! away.
//!
//! A tag is a target of class `revalidate`. Its manifest is stored under its digest, so that only
//! the digest is asked for, by HEAD. The main type is [`ImageTags`].

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moka::future::Cache;
use tokio::sync::Mutex as TurnMutex;
use tokio::time::timeout;

use super::access_attempts::{AccessAttempts, is_denial};
use super::config::DeletedTag;
use super::rate_limits::RateLimits;
use super::reference::parse_digest;
use super::source::ImageSource;
use super::tag_age::{NewDigest, TagAges};
use super::tag_pauses::{TagPauses, is_away, is_deleted};
use super::tag_store::{KnownTag, TagStore};
use super::tokens::RegistryTokens;
use crate::gateway::{Gateway, Method, OriginAnswer, OriginQuestion, RequestError};
use crate::model::{Digest, Digests, ExpectedDigests, Hasher, MANIFEST_TYPES, Target};
use crate::policy::{ContentAudience, UpstreamAccess};

/// Wait for a registry if a digest is known. A client shall not wait for a dead registry.
const KNOWN_TAG_WAIT: Duration = Duration::from_secs(2);

/// Wait for a registry if no digest is known. Clients have given up or retried by then.
pub(super) const UNKNOWN_TAG_WAIT: Duration = Duration::from_secs(10);

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
    ages: TagAges,
    turns: Cache<Target, Arc<TurnMutex<()>>>,
    pauses: TagPauses,
}

/// Digest of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedTag {
    pub known: KnownTag,
    /// Whether the registry is away, or has deleted the tag.
    pub is_stale: bool,
}

/// Answer of a registry for a tag, and how it was asked.
struct TagAnswer {
    digest: Digest,
    access: UpstreamAccess,
}

/// Stored answers for a tag that a client may have.
struct KnownTags {
    /// Without a login.
    public: Option<KnownTag>,
    /// With a credential.
    private: Option<KnownTag>,
}

impl KnownTags {
    fn is_empty(&self) -> bool {
        self.public.is_none() && self.private.is_none()
    }

    fn fresh(&self, ttl: Duration) -> Option<KnownTag> {
        let mut known = [&self.public, &self.private].into_iter().flatten();
        known.find(|known| is_fresh(known, ttl)).cloned()
    }

    fn last(self) -> Option<KnownTag> {
        self.public.or(self.private)
    }

    fn at(self, audience: ContentAudience) -> Option<KnownTag> {
        match audience {
            ContentAudience::Everyone => self.public,
            ContentAudience::Permitted => self.private,
        }
    }
}

impl ImageTags {
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, state_dir: &Path) -> Self {
        let turns = Cache::builder().max_capacity(MAX_TURNS);
        let seen = TagStore::of_new_digests(state_dir);
        Self {
            ages: TagAges::new(Arc::clone(&gateway), seen),
            gateway,
            store: TagStore::new(state_dir),
            turns: turns.time_to_idle(TURN_TTL).build(),
            pauses: TagPauses::default(),
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
        if let Some(known) = self.read(source, target).await.fresh(ttl) {
            return Ok(ResolvedTag::current(known));
        }
        let turn = self.turns.get_with_by_ref(target, async { Arc::default() });
        let turn = turn.await;
        let _turn = turn.lock().await;
        let known = self.read(source, target).await;
        if let Some(known) = known.fresh(ttl) {
            return Ok(ResolvedTag::current(known));
        }
        let asked = if self.pauses.has(source, target, !known.is_empty()) {
            Err(PAUSED)
        } else {
            let wait = if known.is_empty() {
                UNKNOWN_TAG_WAIT
            } else {
                KNOWN_TAG_WAIT
            };
            let asked = timeout(wait, self.ask_each(source, target, tokens)).await;
            let asked = asked.unwrap_or(Err(RequestError::SilentRegistry));
            asked.inspect_err(|error| self.pauses.add(source, target, error))
        };
        match asked {
            Ok(answer) => {
                let known = known.at(answer.access.audience);
                self.take(source, target, (answer, known), tokens.limits())
                    .await
            }
            Err(error) => self.last_known(source, target, known.last(), error).await,
        }
    }

    /// Stores the answer for a tag, unless what it names is too young. Then the known digest stays.
    async fn take(
        &self,
        source: &ImageSource<'_>,
        target: &Target,
        (TagAnswer { digest, access }, known): (TagAnswer, Option<KnownTag>),
        limits: &RateLimits,
    ) -> Result<ResolvedTag, RequestError> {
        let Some(stored) = stored_target(target, access.audience) else {
            return Ok(ResolvedTag::current(KnownTag::now(digest, known)));
        };
        let new = NewDigest {
            stored: &stored,
            digest: &digest,
            access: &access,
            limits,
        };
        let checked = self.ages.check(source, new, known.as_ref());
        let checked = timeout(UNKNOWN_TAG_WAIT, checked).await;
        let known = match (checked.unwrap_or(Err(RequestError::SilentRegistry)), known) {
            (Ok(()), known) => KnownTag::now(digest, known),
            (Err(_), Some(known)) => KnownTag {
                checked_at: SystemTime::now(),
                ..known
            },
            (Err(error), None) => return Err(error),
        };
        self.store.write(&stored, known.clone()).await;
        Ok(ResolvedTag::current(known))
    }

    /// Returns the last known digest of a tag. The registry is not asked.
    pub async fn known(&self, source: &ImageSource<'_>, target: &Target) -> Option<ResolvedTag> {
        let known = self.read(source, target).await;
        known.last().map(ResolvedTag::current)
    }

    /// Returns whether a credential has given the digest of a tag.
    pub async fn is_private(&self, target: &Target) -> bool {
        match stored_target(target, ContentAudience::Permitted) {
            Some(private) => self.store.read(&private).await.is_some(),
            None => false,
        }
    }

    async fn read(&self, source: &ImageSource<'_>, target: &Target) -> KnownTags {
        let private = stored_target(target, ContentAudience::Permitted);
        KnownTags {
            public: self.store.read(target).await,
            private: match private.filter(|_| source.allows_private()) {
                Some(private) => self.store.read(&private).await,
                None => None,
            },
        }
    }

    /// Returns all known tags with their targets.
    pub async fn all(&self) -> io::Result<Vec<(Target, KnownTag)>> {
        self.store.all().await
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
            let private = stored_target(target, ContentAudience::Permitted);
            if let Some(private) = private.filter(|_| source.allows_private()) {
                self.store.remove(&private).await;
            }
            return Err(error);
        }
        let known = known.filter(|_| is_deleted || is_away(&error));
        let known = known.ok_or_else(|| error.clone())?;
        tracing::debug!(%target, %error, "served the last known digest of a tag");
        let is_stale = true;
        Ok(ResolvedTag { known, is_stale })
    }

    /// Asks the registry for the digest of a tag, without a login and then with each credential.
    async fn ask_each(
        &self,
        source: &ImageSource<'_>,
        target: &Target,
        tokens: &RegistryTokens,
    ) -> Result<TagAnswer, RequestError> {
        let mut attempts = AccessAttempts::new(tokens, source);
        loop {
            let attempt = attempts.next_attempt().await?;
            match self
                .ask(source, target, &attempt.access, tokens.limits())
                .await
            {
                Err(error) if is_denial(&error) => attempts.note_denial(&attempt, error).await,
                asked => {
                    let access = attempt.access;
                    return asked.map(|digest| TagAnswer { digest, access });
                }
            }
        }
    }

    /// Asks the registry for the digest of a tag.
    async fn ask(
        &self,
        source: &ImageSource<'_>,
        target: &Target,
        access: &UpstreamAccess,
        limits: &RateLimits,
    ) -> Result<Digest, RequestError> {
        let question = |method| OriginQuestion {
            client: source.client(),
            method,
            target: target.clone(),
            named: None,
            headers: vec![("accept".to_owned(), MANIFEST_TYPES.into())],
            access: access.clone(),
            form: None,
            max_body_bytes: MAX_MANIFEST_BYTES + 1,
        };
        let head = self.gateway.ask_origin(question(Method::Head)).await?;
        limits.note_answer(source.registry, &head);
        let head = check(head)?;
        if let Some(digest) = stated_digest(&head) {
            return Ok(digest);
        }
        let whole = self.gateway.ask_origin(question(Method::Get)).await?;
        limits.note_answer(source.registry, &whole);
        let whole = check(whole)?;
        if whole.body.len() > MAX_MANIFEST_BYTES {
            return Err(RequestError::RegistryFault("the manifest is too large"));
        }
        let mut hasher = Hasher::new(&ExpectedDigests::nothing());
        hasher.update(&whole.body);
        let Digests { sha256, .. } = hasher.finish();
        Ok(sha256.into())
    }
}

impl ResolvedTag {
    fn current(known: KnownTag) -> Self {
        let is_stale = false;
        Self { known, is_stale }
    }
}

/// Returns the target under which an answer for a tag is stored.
pub(super) fn stored_target(target: &Target, audience: ContentAudience) -> Option<Target> {
    match audience {
        ContentAudience::Everyone => Some(target.clone()),
        ContentAudience::Permitted => target.to_private(),
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
