//! Age of what a tag names, for registries with `min_age`.
//!
//! A change of a known tag counts from the time at which this gateway has seen it, which no image
//! can forge. A tag that is not known counts from the creation date of its image, too. The main
//! type is [`TagAges`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moka::future::Cache;

use super::manifest::{ImageManifest, MAX_MANIFEST_BYTES, creation_time_of_config};
use super::rate_limits::RateLimits;
use super::reference::ImageReference;
use super::source::ImageSource;
use super::tag_store::{KnownTag, TagStore};
use crate::gateway::{Gateway, Method, OriginQuestion, RequestError};
use crate::model::{Digest, HumanDuration, MANIFEST_TYPES, Target};
use crate::policy::{PolicyDenied, UpstreamAccess};

/// Bound on the creation dates that are kept.
const MAX_DATES: u64 = 10_000;

/// Manifests that lead to the configuration of an image: an index, and one of its manifests.
const MAX_MANIFESTS: usize = 2;

/// Ages of tags.
pub struct TagAges {
    gateway: Arc<Gateway>,
    /// Digests of tags, each with the time at which it was first seen.
    seen: TagStore,
    /// Creation dates of images, by the digest of the manifest or index.
    created: Cache<Digest, Option<SystemTime>>,
}

/// A new digest of a tag, and how the registry gave it.
pub struct NewDigest<'a> {
    /// Target under which the tag is stored.
    pub stored: &'a Target,
    pub digest: &'a Digest,
    pub access: &'a UpstreamAccess,
    pub limits: &'a RateLimits,
}

impl TagAges {
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, seen: TagStore) -> Self {
        let created = Cache::builder().max_capacity(MAX_DATES).build();
        Self {
            gateway,
            seen,
            created,
        }
    }

    /// Checks that a digest which a tag did not name before is old enough.
    ///
    /// # Errors
    /// [`PolicyDenied::YoungTag`], or [`RequestError`] if the registry does not give the date.
    pub async fn check(
        &self,
        source: &ImageSource<'_>,
        new: NewDigest<'_>,
        known: Option<&KnownTag>,
    ) -> Result<(), RequestError> {
        let min_age = source.registry.min_age();
        if min_age.is_zero() || known.is_some_and(|known| known.digest == *new.digest) {
            return Ok(());
        }
        if self
            .first_seen(&new)
            .await
            .is_some_and(|since| is_older(since, min_age))
        {
            return Ok(());
        }
        if known.is_none() {
            let created = self.created_at(source, &new).await?;
            if created.is_some_and(|created| is_older(created, min_age)) {
                return Ok(());
            }
        }
        Err(PolicyDenied::YoungTag(HumanDuration(min_age)).into())
    }

    /// Returns the time at which the tag was first seen with the digest. `None` if that is now.
    async fn first_seen(&self, new: &NewDigest<'_>) -> Option<SystemTime> {
        let seen = self.seen.read(new.stored).await;
        if let Some(seen) = seen.filter(|seen| seen.digest == *new.digest) {
            return Some(seen.checked_at);
        }
        let now = KnownTag::now(new.digest.clone(), None);
        self.seen.write(new.stored, now).await;
        None
    }

    /// Returns the creation date that the configuration of an image states.
    async fn created_at(
        &self,
        source: &ImageSource<'_>,
        new: &NewDigest<'_>,
    ) -> Result<Option<SystemTime>, RequestError> {
        if let Some(created) = self.created.get(new.digest).await {
            return Ok(created);
        }
        let created = self.read_created(source, new).await?;
        self.created.insert(new.digest.clone(), created).await;
        Ok(created)
    }

    async fn read_created(
        &self,
        source: &ImageSource<'_>,
        new: &NewDigest<'_>,
    ) -> Result<Option<SystemTime>, RequestError> {
        let mut digest = new.digest.clone();
        for _ in 0..MAX_MANIFESTS {
            let reference = ImageReference::Digest(digest);
            let target = source.registry.manifest(source.name, &reference)?;
            let document = self.read_document(source, target, new).await?;
            let Ok(manifest) = ImageManifest::parse(&document) else {
                return Ok(None);
            };
            if let Some(config) = manifest.config() {
                let target = source.registry.blob(source.name, &config.digest)?;
                let config = self.read_document(source, target, new).await?;
                return Ok(creation_time_of_config(&config));
            }
            let Some(first) = manifest.manifests().first() else {
                return Ok(None);
            };
            digest = first.digest.clone();
        }
        Ok(None)
    }

    /// Returns a document of the registry.
    async fn read_document(
        &self,
        source: &ImageSource<'_>,
        target: Target,
        new: &NewDigest<'_>,
    ) -> Result<Vec<u8>, RequestError> {
        let question = OriginQuestion {
            client: source.client(),
            method: Method::Get,
            target,
            named: None,
            headers: vec![("accept".to_owned(), format!("{MANIFEST_TYPES}, */*").into())],
            access: new.access.clone(),
            form: None,
            max_body_bytes: MAX_MANIFEST_BYTES,
        };
        let answer = self.gateway.ask_origin(question).await?;
        new.limits.note_answer(source.registry, &answer);
        if answer.status != 200 {
            return Err(answer.into_error());
        }
        Ok(answer.body)
    }
}

fn is_older(time: SystemTime, min_age: Duration) -> bool {
    // A time in the future is that of another clock, or of a new image.
    let age = SystemTime::now().duration_since(time);
    age.is_ok_and(|age| age >= min_age)
}
