//! Request path: admits a request, looks the target up, and serves, redirects, fetches or passes
//! through.
//!
//! Both endpoints create a [`CacheRequest`]. The result is a [`CacheResponse`], which the HTTP
//! module renders. This module knows no HTTP server. Its main type is [`Gateway`].

mod ask_alone;
mod by_digest;
mod config;
mod digest_check;
mod error;
mod in_flight;
mod invalidation;
mod lookup;
mod pass_through;
mod preconditions;
mod representation;
mod request;
mod required_digest;
mod response;
mod revalidate;
mod serve_hit;
mod serve_observed;
mod services;
mod url_prefix;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use crate::passthrough::{
    OriginError, PassThroughResponse, Tunnel, TunnelEnd, is_end_to_end_header,
};
pub use by_digest::DigestRequest;
pub use config::{Config, MissPolicy, check_address};
pub use error::RequestError;
pub use preconditions::{Conditions, Selection};
pub use representation::{Representation, RepresentationHead};
pub use request::{CacheRequest, Endpoint, FileDelivery, HttpVersion, RequestMethod};
pub use response::{BodyResponse, BodySource, CacheResponse, CacheStatus, ForwardReason};
pub use services::GatewayServices;
pub use url_prefix::{PrefixedUrl, PrefixedUrlError};

use crate::cache::{DiskHealth, Hit};
use crate::fetch::{FetchError, FirstResult};
use crate::limits::{TransferKind, TransferPermit, UpstreamPermit};
use crate::model::{ExpectedDigests, Key, Record, Scheme, Target};
use crate::policy::{Admitted, AdmittedTunnel, Class, Client, PolicyDenied};
use in_flight::{ArrivingBody, can_stream_unverified, stream_in_flight};
use lookup::{Lookup, MissKind, lookup};
use required_digest::{is_path_digest_optional, reject_checksum_violation, without_path_digest};
use serve_hit::HitResponder;

/// Request path of the gateway and of the proxy.
pub struct Gateway {
    services: GatewayServices,
    config: ArcSwap<Config>,
}

impl Gateway {
    #[must_use]
    pub fn new(services: GatewayServices, config: Config) -> Self {
        Self {
            services,
            config: ArcSwap::from_pointee(config),
        }
    }

    /// Replaces the configuration. It applies to later requests.
    pub fn replace_config(&self, config: Config) {
        self.config.store(Arc::new(config));
    }

    /// Admits a client and counts its request. Every endpoint calls this first.
    ///
    /// # Errors
    /// [`RequestError::Denied`] for an address that policy denies, [`RequestError::OverLimit`] for
    /// a client over one of its limits.
    pub fn admit_client(&self, client: IpAddr, kind: TransferKind) -> Result<Client, RequestError> {
        let client = self.services.policy.admit_client(client)?;
        self.services.policy.count_request(client, kind)?;
        Ok(client)
    }

    /// Counts a transfer of a client until the [`TransferPermit`] is dropped.
    ///
    /// # Errors
    /// [`RequestError::OverLimit`].
    pub fn acquire_transfer_permit(
        &self,
        client: Client,
        kind: TransferKind,
    ) -> Result<TransferPermit, RequestError> {
        Ok(self.services.policy.acquire_transfer_permit(client, kind)?)
    }

    /// Handles a request for a target.
    pub async fn handle(&self, request: CacheRequest) -> CacheResponse {
        self.respond(request)
            .await
            .unwrap_or_else(CacheResponse::Error)
    }

    async fn respond(&self, mut request: CacheRequest) -> Result<CacheResponse, RequestError> {
        // The response to such a request belongs to its client.
        let is_private =
            request.has_credentials || matches!(request.method, RequestMethod::Other(_));
        let admitted = self.admit(&request, is_private)?;
        if let Some(required) = admitted.required_sha256() {
            request.require_sha256(required)?;
        }
        request.expected.extend(admitted.path_digest());
        if is_private {
            return Box::pin(self.serve_uncacheable(&admitted, request)).await;
        }
        // A hit must not carry the large futures of the other paths.
        match admitted.class() {
            Class::Immutable => {}
            Class::Revalidate => {
                return Box::pin(revalidate::respond(&self.services, &admitted, request)).await;
            }
            Class::PassThrough => {
                return Box::pin(self.serve_uncacheable(&admitted, request)).await;
            }
        }
        match lookup(&self.services, &admitted, &request).await {
            Lookup::Hit(hit) => self.serve_hit(&admitted, request, hit).await,
            Lookup::Miss(kind) => Box::pin(self.serve_miss(&admitted, request, kind)).await,
        }
    }

    fn admit(&self, request: &CacheRequest, is_private: bool) -> Result<Admitted, RequestError> {
        let (policy, target) = (&self.services.policy, request.target.clone());
        let admitted = if is_private {
            policy.admit_unaliased(target)?
        } else {
            policy.admit(target)?
        };
        match &request.method {
            RequestMethod::Other(method) if admitted.target().scheme() == Scheme::Ftp => {
                Err(RequestError::MethodNotSupported(method.clone()))
            }
            _ => Ok(admitted),
        }
    }

    async fn serve_uncacheable(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
    ) -> Result<CacheResponse, RequestError> {
        if request.only_if_cached {
            return Err(RequestError::OnlyIfCachedMiss);
        }
        let method = request.method.clone();
        let response = self.pass_through(admitted, request).await?;
        invalidation::invalidate(&self.services, admitted.target(), &method, &response).await;
        Ok(response)
    }

    async fn serve_hit(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
        hit: Hit,
    ) -> Result<CacheResponse, RequestError> {
        let sha256 = hit.record().sha256;
        reject_checksum_violation(&self.services.events, admitted, sha256)?;
        let status = match hit {
            Hit::OnDisk(_) => CacheStatus::Hit,
            Hit::InBucket(_) => CacheStatus::BucketHit,
        };
        match self.hit_responder(&request).serve(hit, status).await? {
            Some(response) => Ok(response),
            None => Box::pin(self.serve_miss(admitted, request, MissKind::Evicted(sha256))).await,
        }
    }

    async fn serve_miss(
        &self,
        admitted: &Admitted,
        mut request: CacheRequest,
        kind: MissKind,
    ) -> Result<CacheResponse, RequestError> {
        // The checksum file takes precedence over bytes that are no longer stored.
        if let (MissKind::Evicted(sha256), None) = (kind, admitted.required_sha256()) {
            request.require_sha256(sha256)?;
        }
        if request.only_if_cached {
            return Err(RequestError::OnlyIfCachedMiss);
        }
        if request.method == RequestMethod::Head {
            return self.pass_through(admitted, request).await;
        }
        if kind == MissKind::NeverStored && self.can_redirect_to_origin(&request, admitted) {
            return Ok(self.redirect_and_fetch(admitted));
        }
        self.join_fetch(admitted, request).await
    }

    /// Returns whether the client may be redirected to the origin. It must be known to follow
    /// redirects, and must get the same bytes there.
    fn can_redirect_to_origin(&self, request: &CacheRequest, admitted: &Admitted) -> bool {
        let config = self.config.load();
        config.miss == MissPolicy::Redirect
            && request.endpoint == Endpoint::Gateway
            && request.method == RequestMethod::Get
            && request.range.is_none()
            && request.expected.is_empty()
            && config.follows_redirects(&request.user_agent)
            // Few clients follow a redirect from http to ftp.
            && admitted.target().scheme() != Scheme::Ftp
            && !admitted.needs_server_side_fetch()
            && self.services.fetcher.has_no_state_for(admitted.target())
    }

    /// Redirects the client to the origin, and starts a fetch for later clients.
    fn redirect_and_fetch(&self, admitted: &Admitted) -> CacheResponse {
        // The fetch continues without the reader, which is dropped at once. If no fetch can start,
        // a later request may start one.
        if let Err(error) = self
            .services
            .fetcher
            .join_or_start(admitted, &ExpectedDigests::nothing())
        {
            tracing::debug!(
                target = %admitted.target(),
                %error,
                "redirected a client without starting a fetch"
            );
        }
        CacheResponse::Redirect(admitted.target().clone())
    }

    /// Joins or starts the fetch of the target, and streams its body.
    async fn join_fetch(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
    ) -> Result<CacheResponse, RequestError> {
        let permit = self.acquire_upstream_permit()?;
        let fetcher = &self.services.fetcher;
        let mut reader = match fetcher.join_or_start(admitted, &request.expected) {
            // A foreign site may mean something else by a digest in the path.
            Ok(reader) if is_path_digest_optional(admitted, &request) => {
                reader.accepting_mismatch()
            }
            Ok(reader) => reader,
            Err(error) => {
                drop(permit);
                return self.serve_after_failure(admitted, request, error).await;
            }
        };
        let status = CacheStatus::Miss {
            collapsed: reader.is_collapsed(),
        };
        let record = match reader.first_result().await {
            Ok(FirstResult::Streaming(head)) if can_stream_unverified(&request, &head) => {
                let representation = Representation::from_head(&head);
                let body = ArrivingBody {
                    reader,
                    head,
                    permit,
                };
                return Ok(stream_in_flight(&request, representation, body, status));
            }
            Ok(FirstResult::Stored(record)) => Ok(record),
            Ok(FirstResult::Streaming(_)) => reader.wait_stored().await,
            Err(error) => Err(error),
        };
        drop(permit);
        match record {
            Ok(record) => {
                self.serve_completed(admitted, request, record, status)
                    .await
            }
            Err(error) => self.serve_after_failure(admitted, request, error).await,
        }
    }

    /// Serves what a fetch has stored. If the object has been evicted since, or the bucket does not
    /// have it, the request passes through.
    async fn serve_completed(
        &self,
        admitted: &Admitted,
        mut request: CacheRequest,
        record: Arc<Record>,
        status: CacheStatus,
    ) -> Result<CacheResponse, RequestError> {
        let key = Key::new(admitted.target());
        let opened = self.services.cache.open_record(key, Arc::clone(&record));
        match opened.await {
            Ok(Some(hit)) => {
                if let Some(response) = self.hit_responder(&request).serve(hit, status).await? {
                    return Ok(response);
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, %key, "opening an object failed directly after its fetch");
            }
        }
        request.require_sha256(record.sha256)?;
        self.pass_through(admitted, request).await
    }

    /// Passes the request through if that can still succeed, and returns the error otherwise.
    async fn serve_after_failure(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
        error: FetchError,
    ) -> Result<CacheResponse, RequestError> {
        match error {
            FetchError::Page => self.pass_through(admitted, request).await,
            error if error.is_only_unstored() => self.pass_through(admitted, request).await,
            FetchError::Mismatch { .. } if is_path_digest_optional(admitted, &request) => {
                let request = without_path_digest(admitted, request);
                self.pass_through(admitted, request).await
            }
            // The client's digest makes the downgrade safe for this client only.
            FetchError::Origin(OriginError::Denied(PolicyDenied::Downgrade))
                if request.expected.has_strong_digest() =>
            {
                self.pass_through(admitted, request).await
            }
            error => Err(error.into()),
        }
    }

    async fn pass_through(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
    ) -> Result<CacheResponse, RequestError> {
        let services = &self.services;
        pass_through::pass_through(&services.passthrough, &services.upstream, admitted, request)
            .await
    }

    fn hit_responder<'a>(&'a self, request: &'a CacheRequest) -> HitResponder<'a> {
        HitResponder {
            cache: &self.services.cache,
            policy: &self.services.policy,
            config: &self.config,
            request,
        }
    }

    /// Serves an object by its digest.
    pub async fn serve_object(&self, request: DigestRequest) -> CacheResponse {
        by_digest::serve_object(&self.services.cache, request)
            .await
            .unwrap_or_else(CacheResponse::Error)
    }

    /// Counts a response or a tunnel that gets its bytes from upstream, without waiting.
    ///
    /// # Errors
    /// [`RequestError::Busy`] if the limit is reached.
    pub fn acquire_upstream_permit(&self) -> Result<UpstreamPermit, RequestError> {
        Ok(self.services.upstream.acquire_upstream_permit()?)
    }

    /// Checks a `CONNECT`. `target` is the https URL of its authority.
    ///
    /// # Errors
    /// [`RequestError::Denied`].
    pub fn admit_tunnel(&self, target: Target) -> Result<AdmittedTunnel, RequestError> {
        Ok(self.services.policy.admit_tunnel(target)?)
    }

    /// Connects an admitted tunnel.
    ///
    /// # Errors
    /// [`RequestError::Origin`] if the connection fails, or policy denies the resolved address.
    pub async fn open_tunnel(&self, admitted: &AdmittedTunnel) -> Result<Tunnel, RequestError> {
        self.services
            .passthrough
            .open_tunnel(admitted)
            .await
            .map_err(|error| RequestError::Origin(error.into()))
    }

    /// Returns the health of the cache disk.
    #[must_use]
    pub fn disk_health(&self) -> DiskHealth {
        self.services.cache.health()
    }

    /// Describes what is wrong with the bucket, if anything. The gateway works without the bucket.
    #[must_use]
    pub fn bucket_error(&self) -> Option<String> {
        self.services.cache.bucket()?.last_error()
    }
}
