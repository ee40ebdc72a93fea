//! Manifests and blobs for clients: from the store without a token, else from the registry with
//! one. The main type is [`ContainerImages`].

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::access_attempts::{AccessAttempts, is_denial};
use super::rate_limits::{RateLimit, RateLimits};
use super::reference::ImageReference;
use super::referrer_store::{ReferrerStore, Referrers};
use super::source::{ImageReader, ImageSource};
use super::table::RegistryTable;
use super::tag_store::KnownTag;
use super::tags::{ImageTags, SCHEMA_1_REFUSED, is_schema_1};
use super::tokens::RegistryTokens;
use crate::gateway::{
    CacheRequest, CacheResponse, CacheStatus, ClientDownload, EnsureOutcome, Gateway,
    RepresentationHead, RequestError,
};
use crate::model::{Digest, ExpectedDigests, Target};
use crate::policy::{Class, ContentAudience};

/// Error for a part of an image that is too large to be read, or not stored any more.
const NO_DOCUMENT: RequestError =
    RequestError::NotFound("the manifest or configuration is too large, or was evicted meanwhile");

/// Error for content that a job wants, while the disk cannot store it.
const NOT_STORED: RequestError =
    RequestError::RegistryFault("the content was not stored; the cache disk is full or fails");

/// Error for content that a peer wants, and that needs a login.
const LOGIN_WANTED: RequestError =
    RequestError::RegistryFault("the registry wants a login, which this node uses for its clients");

/// Access to the images of all registries.
pub struct ContainerImages {
    pub(super) gateway: Arc<Gateway>,
    registries: ArcSwap<RegistryTable>,
    pub(super) tokens: RegistryTokens,
    tags: ImageTags,
    pub(super) referrers: Referrers,
}

/// A manifest or a blob.
pub struct ImageContent {
    pub download: ClientDownload,
    pub digest: Digest,
}

impl ContainerImages {
    /// Creates the access. The known tags and referrers are in `state_dir`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, state_dir: &Path, registries: RegistryTable) -> Self {
        let limits = Arc::new(RateLimits::default());
        Self {
            registries: ArcSwap::from_pointee(registries),
            tokens: RegistryTokens::new(Arc::clone(&gateway), limits),
            tags: ImageTags::new(Arc::clone(&gateway), state_dir),
            referrers: Referrers::new(ReferrerStore::new(state_dir)),
            gateway,
        }
    }

    /// Returns the limits that registries have stated for the requests of this gateway.
    #[must_use]
    pub fn rate_limits(&self) -> Vec<RateLimit> {
        self.tokens.limits().list()
    }

    /// Replaces the registries. The new ones apply to later requests.
    pub fn replace_registries(&self, registries: RegistryTable) {
        self.registries.store(Arc::new(registries));
    }

    /// Returns the registries of the configuration.
    #[must_use]
    pub fn registries(&self) -> Arc<RegistryTable> {
        self.registries.load_full()
    }

    /// Serves content that the target of a request names by its digest.
    ///
    /// # Errors
    /// [`RequestError`] if the content is not stored and the registry does not give it.
    pub async fn content(
        &self,
        source: &ImageSource<'_>,
        request: &CacheRequest,
        digest: Digest,
    ) -> Result<ImageContent, RequestError> {
        let download = match self.stored(source, request).await {
            Err(RequestError::OnlyIfCachedMiss) if !request.only_if_cached => {
                match self.fetched(source, request).await {
                    Err(_) if self.is_withheld(source, request).await => {
                        return Err(RequestError::PrivateImage);
                    }
                    served => served?,
                }
            }
            served => served?,
        };
        if content_type(&download.response).is_some_and(is_schema_1) {
            return Err(SCHEMA_1_REFUSED);
        }
        Ok(ImageContent { download, digest })
    }

    /// Serves content that a node of the cluster requests by its target. `None` if the target is
    /// that of no registry.
    ///
    /// # Errors
    /// As [`ContainerImages::content`]. [`RequestError::RegistryFault`] if the registry wants a
    /// login: the peer may have it.
    pub async fn content_for_peer(
        &self,
        request: &CacheRequest,
    ) -> Option<Result<ClientDownload, RequestError>> {
        let part = self.registries().part_of(&request.target)?;
        let source = ImageSource {
            registry: &part.registry,
            name: &part.name,
            reader: ImageReader::Peer(request.client),
        };
        let mut request = request.without_body();
        request.expected.add(part.digest.clone());
        let served = Box::pin(self.content(&source, &request, part.digest)).await;
        Some(match served {
            Ok(content) => Ok(content.download),
            Err(RequestError::PrivateImage) => Err(LOGIN_WANTED),
            Err(error) if is_denial(&error) => Err(LOGIN_WANTED),
            Err(error) => Err(error),
        })
    }

    /// Serves the manifest that a tag names. The target of the request is that of the tag.
    ///
    /// # Errors
    /// As [`ContainerImages::content`].
    pub async fn tagged(
        &self,
        source: &ImageSource<'_>,
        request: &CacheRequest,
    ) -> Result<ImageContent, RequestError> {
        let tag = &request.target;
        let resolved = if request.only_if_cached {
            let known = self.tags.known(source, tag).await;
            known.ok_or(RequestError::OnlyIfCachedMiss)?
        } else {
            match self.tags.resolve(source, tag, &self.tokens).await {
                Err(_) if !source.allows_private() && self.tags.is_private(tag).await => {
                    return Err(RequestError::PrivateImage);
                }
                resolved => resolved?,
            }
        };
        let KnownTag {
            digest,
            previous,
            checked_at,
        } = resolved.known;
        let manifest = request_by_digest(source, request, &digest)?;
        let served = if resolved.is_stale {
            self.stored_content(source, &manifest, digest).await
        } else {
            Box::pin(self.content(source, &manifest, digest)).await
        };
        let (mut content, is_stale) = match (served, previous) {
            (Ok(content), _) => (content, resolved.is_stale),
            // The registry went away before its new manifest was stored.
            (Err(error), Some(previous)) if error.is_away() || resolved.is_stale => {
                let manifest = request_by_digest(source, request, &previous)?;
                let last = self.stored_content(source, &manifest, previous).await;
                (last.map_err(|_| error)?, true)
            }
            (Err(error), _) => return Err(error),
        };
        content.download.class = Class::Revalidate;
        if is_stale {
            mark_stale(&mut content.download, source, checked_at);
        }
        Ok(content)
    }

    /// Returns the digest of a tag. `tag` is its target.
    pub(super) async fn digest_of_tag(
        &self,
        source: &ImageSource<'_>,
        tag: &Target,
    ) -> Result<Digest, RequestError> {
        let resolved = self.tags.resolve(source, tag, &self.tokens).await?;
        Ok(resolved.known.digest)
    }

    /// Returns all known tags with their targets.
    pub(super) async fn known_tags(&self) -> io::Result<Vec<(Target, KnownTag)>> {
        self.tags.all().await
    }

    /// Returns whether a credential has given the digest of a tag. `tag` is its target.
    pub(super) async fn is_private_tag(&self, tag: &Target) -> bool {
        self.tags.is_private(tag).await
    }

    /// Has content stored, and returns the number of fetched bytes.
    pub(super) async fn ensure(
        &self,
        source: &ImageSource<'_>,
        target: &Target,
        digest: &Digest,
    ) -> Result<u64, RequestError> {
        let own = self.gateway.own();
        for access in source.stored_accesses() {
            if own.is_stored(target, &access).await? {
                return Ok(0);
            }
        }
        let expected = ExpectedDigests::from_iter([digest.clone()]);
        let mut attempts = AccessAttempts::new(&self.tokens, source);
        let ensured = loop {
            let attempt = attempts.next_attempt().await?;
            let ensured = own.ensure(target.clone(), expected.clone(), &attempt.access);
            match ensured.await {
                Err(error) if is_denial(&error) => attempts.note_denial(&attempt, error).await,
                ensured => break ensured,
            }
        };
        let limits = self.tokens.limits();
        match ensured.inspect_err(|error| limits.note_error(source.registry, error))? {
            EnsureOutcome::StoredBefore => Ok(0),
            EnsureOutcome::Fetched { size_bytes } => Ok(size_bytes),
            EnsureOutcome::NotStored => Err(NOT_STORED),
        }
    }

    /// Returns stored content as a whole.
    pub(super) async fn document(
        &self,
        source: &ImageSource<'_>,
        target: &Target,
        max_bytes: usize,
    ) -> Result<Vec<u8>, RequestError> {
        let own = self.gateway.own();
        for access in source.stored_accesses() {
            let document = own.stored_document(target, &access, max_bytes).await?;
            if let Some(document) = document {
                return Ok(document);
            }
        }
        Err(NO_DOCUMENT)
    }

    /// Serves content if it is stored. The registry is not asked.
    async fn stored(
        &self,
        source: &ImageSource<'_>,
        request: &CacheRequest,
    ) -> Result<ClientDownload, RequestError> {
        match self
            .stored_for(source, request, ContentAudience::Everyone)
            .await
        {
            Err(RequestError::OnlyIfCachedMiss) if source.allows_private() => {
                self.stored_for(source, request, ContentAudience::Permitted)
                    .await
            }
            served => served,
        }
    }

    async fn stored_for(
        &self,
        source: &ImageSource<'_>,
        request: &CacheRequest,
        audience: ContentAudience,
    ) -> Result<ClientDownload, RequestError> {
        let stored = CacheRequest {
            only_if_cached: true,
            access: Some(Arc::new(source.access(None, audience))),
            ..request.without_body()
        };
        self.gateway.handle(stored).await
    }

    /// Whether content is stored that a credential gave, and that the client must not have.
    async fn is_withheld(&self, source: &ImageSource<'_>, request: &CacheRequest) -> bool {
        if source.allows_private() {
            return false;
        }
        let stored = self
            .stored_for(source, request, ContentAudience::Permitted)
            .await;
        stored.is_ok()
    }

    async fn stored_content(
        &self,
        source: &ImageSource<'_>,
        request: &CacheRequest,
        digest: Digest,
    ) -> Result<ImageContent, RequestError> {
        let download = self.stored(source, request).await?;
        Ok(ImageContent { download, digest })
    }

    /// Serves content from the registry, without a login or with the first credential that gives
    /// it.
    async fn fetched(
        &self,
        source: &ImageSource<'_>,
        request: &CacheRequest,
    ) -> Result<ClientDownload, RequestError> {
        let mut attempts = AccessAttempts::new(&self.tokens, source);
        loop {
            let attempt = attempts.next_attempt().await?;
            let request = CacheRequest {
                access: Some(Arc::new(attempt.access.clone())),
                ..request.without_body()
            };
            match self.gateway.handle(request).await {
                Err(error) if is_denial(&error) => attempts.note_denial(&attempt, error).await,
                served => {
                    let limits = self.tokens.limits();
                    return served.inspect_err(|error| limits.note_error(source.registry, error));
                }
            }
        }
    }
}

/// Returns the request for the manifest with this digest, in place of that for a tag.
fn request_by_digest(
    source: &ImageSource<'_>,
    request: &CacheRequest,
    digest: &Digest,
) -> Result<CacheRequest, RequestError> {
    let reference = ImageReference::Digest(digest.clone());
    let mut by_digest = request.without_body();
    by_digest.target = source.registry.manifest(source.name, &reference)?;
    by_digest.expected.add(digest.clone());
    Ok(by_digest)
}

/// Makes the response say that the registry was not asked, or did not answer.
fn mark_stale(download: &mut ClientDownload, source: &ImageSource<'_>, checked_at: SystemTime) {
    let age = SystemTime::now().duration_since(checked_at);
    let stale = age
        .unwrap_or_default()
        .saturating_sub(source.registry.tag_ttl());
    let ttl_seconds = i64::try_from(stale.as_secs()).map_or(i64::MIN, |seconds| -seconds);
    if let CacheResponse::Body(body) = &mut download.response {
        body.status = CacheStatus::Reused { ttl_seconds };
    }
}

/// Returns the value of `Content-Type`.
fn content_type(response: &CacheResponse) -> Option<&str> {
    match response {
        CacheResponse::Body(body) => match &body.representation.head {
            RepresentationHead::Recorded(record) => record.headers.content_type.as_deref(),
            RepresentationHead::Stated(headers) => headers.content_type.as_deref(),
            RepresentationHead::Observed(observed) => observed.fields.first("content-type"),
        },
        CacheResponse::PassThrough(passed) => {
            let mut fields = passed.headers.iter();
            let (_, value) = fields.find(|(name, _)| name == "content-type")?;
            std::str::from_utf8(value).ok()
        }
        CacheResponse::Redirect(_)
        | CacheResponse::PageRedirect(_)
        | CacheResponse::BucketRedirect { .. } => None,
    }
}
