//! THE request path: admit, look up, answer.
//!
//! Whatever the door, a request for a target comes here as a [`CacheRequest`] and leaves as an
//! [`CacheResponse`], which the HTTP room only renders. This room knows no server. Its main type is
//! [`Gateway`].

mod by_digest;
mod config;
mod error;
mod pass_through;
mod preconditions;
mod request;
mod required_digest;
mod response;
mod serve_hit;
mod url_prefix;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::OwnedSemaphorePermit;

pub use crate::passthrough::{
    OriginError, PassThroughResponse, Tunnel, TunnelEnd, is_end_to_end_header,
};
pub use by_digest::DigestRequest;
pub use config::{Config, MissPolicy, check_address};
pub use error::RequestError;
pub use preconditions::{Conditions, Selection};
pub use request::{CacheRequest, Delivery, Endpoint, HttpVersion, RequestMethod};
pub use response::{BodyResponse, BodySource, CacheResponse, CacheStatus, Representation};
pub use url_prefix::{PrefixedUrl, PrefixedUrlError};

use crate::cache::{Cache, DiskHealth, Hit, TargetLookup};
use crate::fetch::{BodyReader, FetchError, Fetcher, FirstResult, Head};
use crate::limits::{TransferKind, TransferPermit};
use crate::model::{
    Algorithm, Digest, EventSink, ExpectedDigests, Key, RangeSpec, Record, Scheme, Sha256, Target,
};
use crate::passthrough::PassThrough;
use crate::policy::{Admitted, AdmittedTunnel, Class, Client, Policy, PolicyDenied};
use pass_through::UpstreamLimits;

/// What the request path works with.
pub struct Gateway {
    policy: Arc<Policy>,
    cache: Cache,
    fetcher: Fetcher,
    passthrough: PassThrough,
    events: EventSink,
    config: ArcSwap<Config>,
    upstream: UpstreamLimits,
}

/// What a look into the store finds.
enum Lookup {
    Hit(Hit),
    /// The bytes were here once. When they come back they must be the same, unless the target may
    /// change.
    Evicted {
        record: Arc<Record>,
        allows_change: bool,
    },
    Miss,
}

impl Gateway {
    #[must_use]
    pub fn new(
        policy: Arc<Policy>,
        cache: Cache,
        fetcher: Fetcher,
        passthrough: PassThrough,
        events: EventSink,
        config: Config,
        max_upstream: usize,
    ) -> Self {
        Self {
            policy,
            cache,
            fetcher,
            passthrough,
            events,
            config: ArcSwap::from_pointee(config),
            upstream: UpstreamLimits::new(max_upstream),
        }
    }

    /// Puts another configuration in force for the requests to come.
    pub fn replace_config(&self, config: Config) {
        self.config.store(Arc::new(config));
    }

    /// Whether a client is served at all, and now. Every door asks this first.
    ///
    /// # Errors
    /// [`Problem::Denied`] or [`Problem::OverLimit`].
    pub fn admit_client(&self, client: IpAddr, kind: TransferKind) -> Result<Client, RequestError> {
        let client = self.policy.admit_client(client)?;
        self.policy.count_request(client, kind)?;
        Ok(client)
    }

    /// Counts what a client opens, for as long as the [`TransferPermit`] lives.
    ///
    /// # Errors
    /// [`Problem::OverLimit`].
    pub fn acquire_transfer_permit(
        &self,
        client: Client,
        kind: TransferKind,
    ) -> Result<TransferPermit, RequestError> {
        Ok(self.policy.acquire_transfer_permit(client, kind)?)
    }

    /// Answers a request for a target.
    pub async fn handle(&self, request: CacheRequest) -> CacheResponse {
        self.respond(request)
            .await
            .unwrap_or_else(CacheResponse::Error)
    }

    async fn respond(&self, mut request: CacheRequest) -> Result<CacheResponse, RequestError> {
        let is_own = request.has_credentials || matches!(request.method, RequestMethod::Other(_));
        let target = request.target.clone();
        let admitted = if is_own {
            self.policy.admit_unaliased(target)?
        } else {
            self.policy.admit(target)?
        };
        if let (RequestMethod::Other(method), Scheme::Ftp) =
            (&request.method, admitted.target().scheme())
        {
            return Err(RequestError::MethodNotSupported(method.clone()));
        }
        let is_pass_through = is_own || admitted.class() == Class::PassThrough;
        required_digest::apply_required_digest(&admitted, &mut request)?;
        let found = if is_pass_through {
            Lookup::Miss
        } else {
            self.lookup(&admitted, &request).await
        };
        if let Lookup::Hit(hit) = &found {
            self.reject_checksum_violation(&admitted, hit.record().sha256)?;
        }
        let evicted = match found {
            Lookup::Hit(Hit::OnDisk(hit)) => {
                return self.serve_from_disk(&request, hit, CacheStatus::Hit).await;
            }
            Lookup::Hit(Hit::InBucket(hit)) => {
                match self
                    .serve_from_bucket(&request, &hit, CacheStatus::BucketHit)
                    .await?
                {
                    Some(response) => return Ok(response),
                    None => Some((hit.record, false)),
                }
            }
            Lookup::Evicted {
                record,
                allows_change,
            } => Some((record, allows_change)),
            Lookup::Miss => None,
        };
        // What is stated counts more than bytes that are gone.
        if let (Some((record, false)), None) = (&evicted, admitted.required_sha256()) {
            reject_conflicting_digest(&request.expected, record.sha256)?;
            request.expected.add(record.sha256.into());
        }
        if request.only_if_cached {
            return Err(RequestError::OnlyIfCachedMiss);
        }
        if is_pass_through {
            return self.pass_through(&admitted, request).await;
        }
        match request.method {
            RequestMethod::Head => self.pass_through(&admitted, request).await,
            _ if evicted.is_none() && self.can_redirect_to_origin(&request, &admitted) => {
                Ok(self.redirect_and_fetch(&admitted))
            }
            _ => self.join_fetch(&admitted, request).await,
        }
    }

    async fn lookup(&self, admitted: &Admitted, request: &CacheRequest) -> Lookup {
        let key = Key::new(admitted.target());
        let known = match self.cache.lookup(key).await {
            Ok(TargetLookup::Known(known)) => known,
            Ok(TargetLookup::NeverStored) => return Lookup::Miss,
            Err(error) => {
                tracing::warn!(%error, "the cache could not be read; the request is a miss");
                return Lookup::Miss;
            }
        };
        let required = admitted
            .required_sha256()
            .map(|required| ExpectedDigests::from_iter([required.into()]));
        let record = known.active_for(required.as_ref().unwrap_or(&request.expected));
        let opened = match self.cache.open_record(key, Arc::clone(record)).await {
            Ok(None) => {
                self.cache
                    .open_latest_variant(key, &known, &request.expected)
                    .await
            }
            opened => opened,
        };
        match opened {
            Ok(Some(hit)) => return Lookup::Hit(hit),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "an object could not be opened; the request is a miss");
            }
        }
        Lookup::Evicted {
            record: Arc::clone(record),
            allows_change: self.cache.allows_change(&known),
        }
    }

    /// A redirect is only for a client that is known to follow it and that loses nothing by it.
    fn can_redirect_to_origin(&self, request: &CacheRequest, admitted: &Admitted) -> bool {
        let config = self.config.load();
        config.miss == MissPolicy::Redirect
            && request.endpoint == Endpoint::Gateway
            && request.method == RequestMethod::Get
            && request.range.is_none()
            && request.expected.is_empty()
            && config.follows_redirects(&request.user_agent)
            // Few clients go on from http to ftp.
            && admitted.target().scheme() != Scheme::Ftp
            && !admitted.needs_server_side_fetch()
            && self.fetcher.has_no_state_for(admitted.target())
    }

    /// Sends the client upstream, and fetches for those who come after it.
    fn redirect_and_fetch(&self, admitted: &Admitted) -> CacheResponse {
        // The follower is dropped at once: the flight goes on without it. If there is no place for
        // one, the next may have it.
        if let Err(error) = self
            .fetcher
            .join_or_start(admitted, &ExpectedDigests::nothing())
        {
            tracing::debug!(target = %admitted.target(), %error, "a client was redirected without a fetch");
        }
        CacheResponse::Redirect(admitted.target().clone())
    }

    /// Lets the client read along while the target is fetched.
    async fn join_fetch(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
    ) -> Result<CacheResponse, RequestError> {
        let permit = self.acquire_upstream_permit()?;
        let mut reader = match self.fetcher.join_or_start(admitted, &request.expected) {
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
                return Ok(stream_in_flight(&request, reader, head, status, permit));
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

    /// Answers from what a flight has found or stored. If it is gone again, by an eviction or with
    /// the bucket, it passes through.
    async fn serve_completed(
        &self,
        admitted: &Admitted,
        mut request: CacheRequest,
        record: Arc<Record>,
        status: CacheStatus,
    ) -> Result<CacheResponse, RequestError> {
        let hit = self
            .cache
            .open_record(Key::new(admitted.target()), Arc::clone(&record))
            .await;
        match hit {
            Ok(Some(Hit::OnDisk(hit))) => return self.serve_from_disk(&request, hit, status).await,
            Ok(Some(Hit::InBucket(hit))) => {
                if let Some(response) = self.serve_from_bucket(&request, &hit, status).await? {
                    return Ok(response);
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "an object that was just stored could not be opened");
            }
        }
        reject_conflicting_digest(&request.expected, record.sha256)?;
        request.expected.add(record.sha256.into());
        self.pass_through(admitted, request).await
    }

    /// What cannot be kept is passed through, and so is what only this client's digest makes safe;
    /// every other failure is told.
    async fn serve_after_failure(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
        error: FetchError,
    ) -> Result<CacheResponse, RequestError> {
        match error {
            FetchError::NoSpace | FetchError::StoreFailed => {
                self.pass_through(admitted, request).await
            }
            FetchError::Origin(OriginError::Denied(PolicyDenied::Downgrade))
                if request.expected.has_strong_digest() =>
            {
                self.pass_through(admitted, request).await
            }
            error => Err(error.into()),
        }
    }

    /// Judges a `CONNECT`, given as the https target of its authority.
    ///
    /// # Errors
    /// [`Problem::Denied`].
    pub fn admit_tunnel(&self, target: Target) -> Result<AdmittedTunnel, RequestError> {
        Ok(self.policy.admit_tunnel(target)?)
    }

    /// Opens an admitted tunnel.
    ///
    /// # Errors
    /// [`Problem::Origin`] where nobody answers there, [`Problem::Denied`] where its address is not
    /// allowed.
    pub async fn open_tunnel(&self, admitted: &AdmittedTunnel) -> Result<Tunnel, RequestError> {
        self.passthrough
            .open_tunnel(admitted)
            .await
            .map_err(|error| RequestError::Origin(error.into()))
    }

    /// How the disk of the cache does: what a load balancer wants to know.
    #[must_use]
    pub fn readiness(&self) -> DiskHealth {
        self.cache.health()
    }

    /// What is wrong with the bucket, for the operator. Without it this instance goes on.
    #[must_use]
    pub fn bucket_error(&self) -> Option<String> {
        self.cache.bucket()?.last_error()
    }
}

/// Whether a client can be served while the body comes. One that needs the length, or whose
/// protocol shows no end, waits for it.
fn can_stream_unverified(request: &CacheRequest, head: &Head) -> bool {
    // A part is whole before the body is: who expects a digest, or names ours, waits until the
    // whole has been checked.
    let must_wait = request.range.is_some() && !request.expected.is_empty()
        || request.conditions.if_match.is_some();
    !must_wait
        && (head.length.is_some()
            || (request.range.is_none() && request.version == HttpVersion::Http11))
}

/// The bytes on record are the only ones that this target means; who expects others need not wait
/// for them.
fn reject_conflicting_digest(
    expected: &ExpectedDigests,
    sha256: Sha256,
) -> Result<(), RequestError> {
    let is_other =
        |digest: &Digest| digest.algorithm() == Algorithm::Sha256 && *digest != sha256.into();
    if expected.iter().any(is_other) {
        return Err(RequestError::Mismatch {
            expected: expected.clone(),
            found: sha256,
        });
    }
    Ok(())
}

fn stream_in_flight(
    request: &CacheRequest,
    reader: BodyReader,
    head: Arc<Head>,
    status: CacheStatus,
    permit: OwnedSemaphorePermit,
) -> CacheResponse {
    let representation = Representation::of_head(&head);
    let range: Option<RangeSpec> = request.range.filter(|_| head.length.is_some());
    let selection = preconditions::select(&request.conditions, range, &representation);
    CacheResponse::Body(Box::new(BodyResponse {
        representation,
        selection,
        source: BodySource::InFlight {
            reader,
            head,
            permit,
        },
        status,
    }))
}
