//! Request path: admits a request, looks the target up, and serves, redirects, fetches or passes
//! through.
//!
//! Both endpoints create a [`CacheRequest`]. The result is a [`ClientDownload`], which the HTTP
//! module renders. Each request visits policy once, in [`Gateway::handle`]. This module knows no
//! HTTP server. Its main type is [`Gateway`].

mod ask_alone;
mod by_digest;
mod catalog_files;
mod config;
mod digest_check;
mod ensure;
mod error;
mod fetch_response;
mod find_stored;
mod host_names;
mod in_flight;
mod invalidation;
mod lookup;
mod new_target;
mod object_description;
mod origin_question;
mod own_requests;
mod pass_through;
mod peer_request;
mod preconditions;
mod representation;
mod request;
mod required_digest;
mod response;
mod revalidate;
mod serve_hit;
mod serve_miss;
mod serve_observed;
mod services;
mod url_prefix;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use crate::passthrough::{
    FailureKind, IdleLimit, Method, OriginError, PassThroughResponse, STOPPING_IDLE_TIMEOUT,
    Tunnel, TunnelEnd, is_end_to_end_header,
};
pub use by_digest::DigestRequest;
pub use config::{Config, MissPolicy, check_address};
pub use ensure::EnsureOutcome;
pub use error::RequestError;
pub use host_names::{HostMapping, HostTable, host_name};
pub use object_description::{ObjectDescription, describe_object};
pub use origin_question::{OriginAnswer, OriginQuestion};
pub use own_requests::OwnRequests;
pub use preconditions::{Conditions, Selection, select};
pub use representation::{Representation, RepresentationHead};
pub use request::{CacheRequest, ClientRedirects, Endpoint, FileDelivery, RequestMethod};
pub use response::{
    BodyResponse, BodySource, CacheResponse, CacheStatus, ClientDownload, ForwardReason,
};
pub use services::GatewayServices;
pub use url_prefix::{PrefixedUrl, PrefixedUrlError};

use crate::cache::{Bucket, DiskHealth, Hit};
use crate::catalog::{CatalogQuery, KnownFile};
use crate::freshness::Staleness;
use crate::limits::{PendingTransfer, PoolClient, TransferKind, TunnelPermit, UpstreamLevels};
use crate::model::{Scheme, Target};
use crate::policy::{Admission, Admitted, AdmittedConnect, AdmittedTunnel, Class, Reason, Sharing};
use digest_check::report_wrong_statement;
use lookup::{Lookup, MissKind, lookup};
use required_digest::reject_checksum_violation;
use serve_hit::{HitResponder, ServedHit};

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

    /// Admits a client and counts its request. A request for a target is admitted by
    /// [`Gateway::handle`].
    ///
    /// # Errors
    /// [`RequestError::Denied`] for an address that policy denies, [`RequestError::OverLimit`] for
    /// a client over one of its limits.
    pub fn admit_client(
        &self,
        client: IpAddr,
        kind: TransferKind,
    ) -> Result<PendingTransfer, RequestError> {
        Ok(self.services.policy.admit_client(client, kind)?)
    }

    /// Handles a request for a target. The transfer counts from the response on.
    ///
    /// # Errors
    /// [`RequestError`] if there is no response.
    pub async fn handle(&self, request: CacheRequest) -> Result<ClientDownload, RequestError> {
        self.handle_as(request, Admitted::class).await
    }

    /// Handles a request for an index, which changes also if its name is like that of a release.
    ///
    /// # Errors
    /// As [`Gateway::handle`].
    pub async fn handle_index(
        &self,
        request: CacheRequest,
    ) -> Result<ClientDownload, RequestError> {
        let class_of_index = |admitted: &Admitted| match admitted.classified().reason() {
            Reason::Rule(_) => admitted.class(),
            _ if admitted.class() == Class::Immutable => Class::Revalidate,
            _ => admitted.class(),
        };
        self.handle_as(request, class_of_index).await
    }

    async fn handle_as(
        &self,
        mut request: CacheRequest,
        class_of: impl FnOnce(&Admitted) -> Class,
    ) -> Result<ClientDownload, RequestError> {
        let Admission { admitted, transfer } = self.admit(&request)?;
        if request.is_relayed() {
            self.services.passthrough.note_relayed_request();
        }
        if transfer.is_bandwidth_limited() {
            request.delivery = FileDelivery::Direct;
        }
        let stated = request.expected.clone();
        let class = match request.sharing() {
            Sharing::Shared => admitted.stored_class(class_of(&admitted)),
            Sharing::Private => Class::PassThrough,
        };
        let response = self.respond(&admitted, class, request).await;
        if let Err(RequestError::Mismatch { found, .. }) = &response {
            report_wrong_statement(&self.services.events, &admitted, &stated, *found);
        }
        Ok(ClientDownload {
            response: response?,
            class,
            permit: transfer.begin()?,
        })
    }

    /// Returns the access for requests that count for Millpond itself.
    #[must_use]
    pub fn own(&self) -> OwnRequests<'_> {
        OwnRequests { gateway: self }
    }

    /// Returns whether this node fetches a target for a peer, which requests the body next.
    ///
    /// # Errors
    /// [`RequestError::PeerRefused`] if this node asks another peer, or does not keep the target.
    pub async fn accept_peer(&self, request: &CacheRequest) -> Result<(), RequestError> {
        peer_request::accept(&self.services, &self.admit(request)?.admitted).await
    }

    /// Visits policy once: client, target, effective rule and class, and the transfer.
    fn admit(&self, request: &CacheRequest) -> Result<Admission, RequestError> {
        let (policy, target) = (&self.services.policy, request.target.clone());
        let counted = (request.sharing(), request.count);
        let mut admission = policy.admit_request(request.client, target, counted)?;
        admission.admitted = admission.admitted.for_requester(request.requester);
        match &request.method {
            RequestMethod::Other(method) if admission.admitted.target().scheme() == Scheme::Ftp => {
                Err(RequestError::MethodNotSupported(method.clone()))
            }
            _ => match &request.access {
                None => Ok(admission),
                Some(access) => Ok(admission.with_access(&request.target, access)?),
            },
        }
    }

    /// Responds by the class of the request. A hit must not carry the large futures of the other
    /// paths.
    async fn respond(
        &self,
        admitted: &Admitted,
        class: Class,
        request: CacheRequest,
    ) -> Result<CacheResponse, RequestError> {
        let request = request.requiring_digests_of(admitted)?;
        self.services
            .policy
            .check_digests(request.expected.iter())?;
        match class {
            Class::Immutable => self.respond_immutable(admitted, request).await,
            Class::Revalidate => {
                Box::pin(revalidate::respond(&self.services, admitted, request)).await
            }
            Class::PassThrough => Box::pin(self.pass_uncacheable(admitted, request)).await,
        }
    }

    /// Looks the target up, then serves the object, or redirects, joins a fetch or passes through.
    async fn respond_immutable(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
    ) -> Result<CacheResponse, RequestError> {
        if request.asks_for_digest() {
            Box::pin(self.services.fetcher.wait_finished(admitted.target())).await;
        }
        let miss = match lookup(&self.services, admitted, &request).await {
            Lookup::Hit(hit) => match self.serve_hit(admitted, &request, hit).await? {
                ServedHit::Response(response) => return Ok(response),
                ServedHit::Unavailable(sha256) => MissKind::Evicted(sha256),
                ServedHit::OtherBytes(found) => {
                    return Box::pin(self.serve_stated_digest(admitted, request, found)).await;
                }
            },
            Lookup::Miss(kind) => kind,
        };
        Box::pin(self.serve_miss(admitted, request, miss)).await
    }

    async fn serve_hit(
        &self,
        admitted: &Admitted,
        request: &CacheRequest,
        hit: Hit,
    ) -> Result<ServedHit, RequestError> {
        let sha256 = hit.record().sha256;
        reject_checksum_violation(&self.services.events, admitted, sha256)?;
        let status = match hit {
            Hit::OnDisk(_) => CacheStatus::Hit,
            Hit::InBucket(_) => CacheStatus::BucketHit,
        };
        match self.hit_responder(request).serve(hit, status).await {
            Ok(Some(response)) => Ok(ServedHit::Response(response)),
            Ok(None) => Ok(ServedHit::Unavailable(sha256)),
            Err(RequestError::Mismatch { found, .. }) => Ok(ServedHit::OtherBytes(found)),
            Err(error) => Err(error),
        }
    }

    fn hit_responder<'a>(&'a self, request: &'a CacheRequest) -> HitResponder<'a> {
        HitResponder {
            services: &self.services,
            config: &self.config,
            request,
            verification: self.services.verification(request),
        }
    }

    /// Passes a request through whose response is not stored.
    async fn pass_uncacheable(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
    ) -> Result<CacheResponse, RequestError> {
        request.reject_only_if_cached()?;
        let method = request.method.clone();
        let response = self.pass_through(admitted, request).await?;
        invalidation::invalidate(&self.services, admitted.target(), &method, &response).await;
        Ok(response)
    }

    async fn pass_through(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
    ) -> Result<CacheResponse, RequestError> {
        let if_unreachable = Staleness::MustNotServe;
        pass_through::pass_through(&self.services, admitted, request, if_unreachable).await
    }

    /// Returns the targets that may have a file, stored ones first.
    ///
    /// # Errors
    /// [`RequestError::Unavailable`] if the catalog cannot be read.
    pub async fn known_files(&self, query: &CatalogQuery) -> Result<Vec<KnownFile>, RequestError> {
        catalog_files::known_files(&self.services.cache, query).await
    }

    /// Serves an object by its digest, if `may_have` allows it by the targets on record.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if the object is not stored, [`RequestError::Unavailable`] if the
    /// cache cannot be read, [`RequestError::OverLimit`] for a client over its daily quota.
    pub async fn serve_object(
        &self,
        request: DigestRequest,
        may_have: impl FnOnce(&[Target]) -> bool,
    ) -> Result<CacheResponse, RequestError> {
        if request.has_quota {
            self.services.policy.check_quota(request.client)?;
        }
        by_digest::serve_object(&self.services, request, may_have).await
    }

    /// Asks an origin for a small document of Millpond's own.
    ///
    /// # Errors
    /// [`RequestError`] without an answer.
    pub async fn ask_origin(&self, question: OriginQuestion) -> Result<OriginAnswer, RequestError> {
        origin_question::ask(&self.services, question).await
    }

    /// Returns the client that permits of pools count for.
    #[must_use]
    pub fn pool_client(&self, address: IpAddr) -> PoolClient {
        self.services.policy.pool_client(address)
    }

    /// Counts a tunnel of a client, without waiting.
    ///
    /// # Errors
    /// [`RequestError::Busy`] if no permit is free for the client.
    pub fn acquire_tunnel_permit(&self, client: PoolClient) -> Result<TunnelPermit, RequestError> {
        Ok(self.services.upstream.acquire_tunnel_permit(client)?)
    }

    /// Checks the `CONNECT` of a client. `target` is the https URL of its authority.
    ///
    /// # Errors
    /// [`RequestError::Denied`].
    pub fn admit_connect(
        &self,
        target: Target,
        client: IpAddr,
    ) -> Result<AdmittedConnect, RequestError> {
        Ok(self.services.policy.admit_connect(target, client)?)
    }

    /// Checks the `CONNECT` of a client to a host whose TLS Millpond can end.
    ///
    /// # Errors
    /// [`RequestError::Denied`].
    pub fn admit_intercepted_connect(
        &self,
        target: Target,
        client: IpAddr,
    ) -> Result<AdmittedConnect, RequestError> {
        let policy = &self.services.policy;
        Ok(policy.admit_intercepted_connect(target, client)?)
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

    /// Returns the levels of the pools of responses from upstream.
    #[must_use]
    pub fn upstream_levels(&self) -> UpstreamLevels {
        self.services.upstream.levels()
    }

    /// Returns the bucket, if there is one.
    #[must_use]
    pub fn bucket(&self) -> Option<&Bucket> {
        self.services.cache.bucket()
    }

    /// Returns the health of the cache disk.
    #[must_use]
    pub fn disk_health(&self) -> DiskHealth {
        self.services.cache.health()
    }

    /// Describes what is wrong with the index, if anything. The gateway works without its file.
    #[must_use]
    pub fn index_error(&self) -> Option<String> {
        self.services.cache.index_error()
    }

    /// Describes what is wrong with the bucket, if anything. The gateway works without the bucket.
    #[must_use]
    pub fn bucket_error(&self) -> Option<String> {
        self.services.cache.bucket()?.last_error()
    }
}
