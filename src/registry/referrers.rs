//! Referrers of a manifest, such as its signatures: asked for once within `tag_ttl`, and kept for
//! the time in which the registry is away.
//!
//! A registry without the interface has them below a tag (OCI distribution specification 1.1,
//! "Referrers Tag Schema"). This file extends [`ContainerImages`].

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::access_attempts::{AccessAttempts, is_denial};
use super::images::ContainerImages;
use super::manifest::{ImageManifest, MAX_MANIFEST_BYTES};
use super::reference::{ImageReference, ImageTag};
use super::referrer_store::KnownReferrers;
use super::source::ImageSource;
use super::tags::{UNKNOWN_TAG_WAIT, stored_target};
use crate::gateway::{Method, OriginAnswer, OriginError, OriginQuestion, RequestError};
use crate::model::{Digest, Target};
use crate::policy::{ContentAudience, UpstreamAccess};

/// Media type of the list.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// Wait for a registry if the referrers are known.
const KNOWN_WAIT: Duration = Duration::from_secs(2);

/// Bound on the pages of a list that are read.
const MAX_PAGES: usize = 20;

/// Error for a list that cannot be read.
const INVALID_LIST: RequestError =
    RequestError::RegistryFault("the list of referrers of the registry cannot be read");

/// List of the referrers of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferrerList {
    /// Index of OCI.
    pub body: Vec<u8>,
    /// Whether only the referrers of one type are listed.
    pub is_filtered: bool,
}

impl ContainerImages {
    /// Returns the referrers of a manifest, or those of one type. `only_if_known` asks no registry.
    ///
    /// # Errors
    /// [`RequestError`] if none are known and the registry gives no list.
    pub async fn referrers(
        &self,
        source: &ImageSource<'_>,
        subject: &Digest,
        artifact_type: Option<&str>,
        only_if_known: bool,
    ) -> Result<ReferrerList, RequestError> {
        let target = source.registry.referrers(source.name, subject)?;
        let manifests = if only_if_known {
            let known = self.known_referrers(source, &target).await;
            known.ok_or(RequestError::OnlyIfCachedMiss)?.manifests
        } else {
            Box::pin(self.known_or_asked(source, subject, &target)).await?
        };
        let is_meant = |entry: &&Value| match artifact_type {
            Some(wanted) => entry["artifactType"] == *wanted,
            None => true,
        };
        let manifests: Vec<&Value> = manifests.iter().filter(is_meant).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests});
        Ok(ReferrerList {
            body: index.to_string().into_bytes(),
            is_filtered: artifact_type.is_some(),
        })
    }

    /// Returns the list of the store while it is fresh, or else of the registry. Requests for the
    /// same list ask once.
    async fn known_or_asked(
        &self,
        source: &ImageSource<'_>,
        subject: &Digest,
        target: &Target,
    ) -> Result<Vec<Value>, RequestError> {
        let store = &self.referrers.store;
        let ttl = source.registry.tag_ttl();
        let turn = self.referrers.turn(target).await;
        let _turn = turn.lock().await;
        let known = self.known_referrers(source, target).await;
        let is_paused = self.referrers.paused.contains_key(target);
        let is_used = |known: &&KnownReferrers| known.is_fresh(ttl) || is_paused;
        if let Some(known) = known.as_ref().filter(is_used) {
            return Ok(known.manifests.clone());
        }
        let wait = match known {
            Some(_) => KNOWN_WAIT,
            None => UNKNOWN_TAG_WAIT,
        };
        let asked = timeout(wait, self.ask_each_referrers(source, subject, target)).await;
        match (asked.unwrap_or(Err(RequestError::SilentRegistry)), known) {
            (Ok((manifests, audience)), _) => {
                let known = KnownReferrers::now(manifests);
                if let Some(stored) = stored_target(target, audience) {
                    store.write(&stored, &known).await;
                }
                Ok(known.manifests)
            }
            (Err(error), Some(known)) => {
                tracing::debug!(%target, %error, "served the last known referrers");
                self.referrers.paused.insert(target.clone(), ()).await;
                Ok(known.manifests)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Returns the list of the store that the reader may have, the newest if there are two.
    async fn known_referrers(
        &self,
        source: &ImageSource<'_>,
        target: &Target,
    ) -> Option<KnownReferrers> {
        let store = &self.referrers.store;
        let public = store.read(target).await;
        let private = stored_target(target, ContentAudience::Permitted);
        let private = match private.filter(|_| source.allows_private()) {
            Some(private) => store.read(&private).await,
            None => None,
        };
        let known = public.into_iter().chain(private);
        known.max_by_key(|known| known.checked_at)
    }

    /// Asks the registry without a login, and then with each credential. Returns who may have the
    /// list, too.
    async fn ask_each_referrers(
        &self,
        source: &ImageSource<'_>,
        subject: &Digest,
        target: &Target,
    ) -> Result<(Vec<Value>, ContentAudience), RequestError> {
        let mut attempts = AccessAttempts::new(&self.tokens, source);
        loop {
            let attempt = attempts.next_attempt().await?;
            let access = &attempt.access;
            match self.ask_referrers(source, subject, target, access).await {
                Err(error) if is_denial(&error) => attempts.note_denial(&attempt, error).await,
                asked => {
                    let limits = self.tokens.limits();
                    return asked.inspect_err(|error| limits.note_error(source.registry, error));
                }
            }
        }
    }

    async fn ask_referrers(
        &self,
        source: &ImageSource<'_>,
        subject: &Digest,
        target: &Target,
        access: &UpstreamAccess,
    ) -> Result<(Vec<Value>, ContentAudience), RequestError> {
        let (mut manifests, mut next) = (Vec::new(), Some(target.clone()));
        for _ in 0..MAX_PAGES {
            let Some(page) = next.take() else { break };
            let question = OriginQuestion {
                client: source.client(),
                method: Method::Get,
                target: page.clone(),
                named: None,
                headers: vec![("accept".to_owned(), INDEX_TYPE.into())],
                access: access.clone(),
                form: None,
                max_body_bytes: MAX_MANIFEST_BYTES + 1,
            };
            let answer = self.gateway.ask_origin(question).await?;
            self.tokens.limits().note_answer(source.registry, &answer);
            match answer.status {
                200 => {}
                // A registry without the interface.
                404 | 405 | 501 => return self.tagged_referrers(source, subject, access).await,
                _ => return Err(answer.into_error()),
            }
            next = next_page(&answer, &page);
            manifests.extend(entries_of(&answer.body)?);
        }
        Ok((manifests, access.audience))
    }

    /// Returns the referrers that an index below the tag of the subject lists.
    async fn tagged_referrers(
        &self,
        source: &ImageSource<'_>,
        subject: &Digest,
        access: &UpstreamAccess,
    ) -> Result<(Vec<Value>, ContentAudience), RequestError> {
        let tag = format!("{}-{}", subject.algorithm().as_str(), subject.hex());
        // Tags have at most 128 characters, also those of longer digests.
        let tag: String = tag.chars().take(128).collect();
        let reference = ImageReference::Tag(ImageTag::parse(&tag)?);
        let tag = source.registry.manifest(source.name, &reference)?;
        let digest = match self.digest_of_tag(source, &tag).await {
            Ok(digest) => digest,
            Err(error) if is_unknown(&error) => return Ok((Vec::new(), access.audience)),
            Err(error) => return Err(error),
        };
        let by_digest = ImageReference::Digest(digest.clone());
        let manifest = source.registry.manifest(source.name, &by_digest)?;
        self.ensure(source, &manifest, &digest).await?;
        let index = self.document(source, &manifest, MAX_MANIFEST_BYTES).await?;
        // A registry may want a login for the tag only.
        let audience = if self.is_private_tag(&tag).await {
            ContentAudience::Permitted
        } else {
            access.audience
        };
        Ok((entries_of(&index)?, audience))
    }
}

fn is_unknown(error: &RequestError) -> bool {
    match error {
        RequestError::Origin(OriginError::Status { status, .. }) => matches!(status, 404 | 410),
        RequestError::NotFound(_) => true,
        _ => false,
    }
}

/// Returns the entries of an index as they are.
fn entries_of(body: &[u8]) -> Result<Vec<Value>, RequestError> {
    // The parser checks digests and bounds.
    ImageManifest::parse(body).map_err(|_| INVALID_LIST)?;
    let mut index: Value = serde_json::from_slice(body).map_err(|_| INVALID_LIST)?;
    match index["manifests"].take() {
        Value::Array(entries) => Ok(entries),
        _ => Err(INVALID_LIST),
    }
}

/// Returns the next page of a list, at the same registry (RFC 8288).
fn next_page(answer: &OriginAnswer, page: &Target) -> Option<Target> {
    let link = answer
        .fields("link")
        .find(|link| link.contains("rel=\"next\""))?;
    let (_, rest) = link.split_once('<')?;
    let (reference, _) = rest.split_once('>')?;
    let url = page.url().join(reference).ok()?;
    let next = Target::parse(url.as_str()).ok()?;
    next.has_same_authority(page).then_some(next)
}
