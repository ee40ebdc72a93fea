//! Request path of class `revalidate`: reuses a stored response as RFC 9111 allows, and asks the
//! origin otherwise.
//!
//! The rules are in `freshness`, and the exchange with the origin is in `fetch`. Requests that
//! share no exchange are in `ask_alone`, and the choice of the stored response is in `find_stored`.
//! This file must not know header fields beyond those. The main function is [`respond`].

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::ask_alone::{ask_alone, pass_on};
use super::error::RequestError;
use super::pass_through::{self, NOT_FORWARDED_WITH_DIGEST};
use super::request::{CacheRequest, Endpoint, RequestMethod};
use super::response::{CacheResponse, CacheStatus, ForwardReason};
use super::serve_observed::{ObservedResponder, Stored, StoredKind};
use super::services::GatewayServices;
use crate::fetch::{ExchangeReader, FetchError, FirstAnswer, SharedRequest, StoredObservation};
use crate::freshness::{Freshness, Redirects, RequestLimits, Reuse, Staleness, WithoutValidator};
use crate::limits::UpstreamPermit;
use crate::model::{Fields, FileType};
use crate::policy::Admitted;

/// Responds to a GET or HEAD for a target of class `revalidate`.
///
/// # Errors
/// [`RequestError`] if neither the origin nor the cache has a response that may be sent.
pub async fn respond(
    services: &GatewayServices,
    admitted: &Admitted,
    request: CacheRequest,
) -> Result<CacheResponse, RequestError> {
    let revalidation = Revalidation::new(services, admitted, request);
    match revalidation.find_stored().await {
        Some(stored) => revalidation.respond_from(stored).await,
        None => revalidation.respond_without_stored().await,
    }
}

/// One request for a target of class `revalidate`.
pub(super) struct Revalidation<'a> {
    pub(super) services: &'a GatewayServices,
    pub(super) admitted: &'a Admitted,
    pub(super) request: CacheRequest,
    /// File type that the name of the target promises.
    file_type: FileType,
    /// Fields of the request that may go to the origin for other clients too.
    pub(super) fields: Fields,
    limits: RequestLimits,
    arrived_at: Instant,
}

impl<'a> Revalidation<'a> {
    fn new(services: &'a GatewayServices, admitted: &'a Admitted, request: CacheRequest) -> Self {
        let forwarded = request.forwarded_headers.iter();
        let forwarded = forwarded.map(|(name, value)| (name.as_str(), value.as_slice()));
        let mut fields = SharedRequest::shared_fields(forwarded);
        if !request.expected.is_empty() {
            fields.retain(|name| !NOT_FORWARDED_WITH_DIGEST.contains(&name));
        }
        let file_type = if admitted.promises_file() {
            admitted.file_type()
        } else {
            FileType::UNCHECKED
        };
        if file_type != FileType::UNCHECKED {
            SharedRequest::keep_readable_codings(&mut fields);
        }
        Self {
            services,
            admitted,
            file_type,
            limits: RequestLimits::from_request(&fields),
            request,
            fields,
            arrived_at: Instant::now(),
        }
    }

    async fn respond_from(self, stored: Stored) -> Result<CacheResponse, RequestError> {
        let policy = self.services.cache.observations().reuse_policy();
        let now = SystemTime::now();
        let (reuse, freshness) = stored.observation.reuse(&self.limits, policy, now);
        match reuse {
            _ if self.admitted.is_offline() || self.is_pinned(&stored).await => {
                self.responder().serve(stored, reused(&freshness)).await
            }
            Reuse::Fresh | Reuse::WhileRevalidating if self.is_expected(&stored).await => {
                if reuse == Reuse::WhileRevalidating && !self.request.only_if_cached {
                    self.validate_in_background(&stored);
                }
                self.responder().serve(stored, reused(&freshness)).await
            }
            _ if self.request.only_if_cached => Err(RequestError::OnlyIfCachedMiss),
            Reuse::Fresh | Reuse::WhileRevalidating => {
                self.validate(stored, Staleness::MustNotServe).await
            }
            Reuse::Validate { .. } if stored.kind != StoredKind::Observation => {
                self.validate(stored, Staleness::MayServe).await
            }
            Reuse::Validate { if_unreachable } => self.validate(stored, if_unreachable).await,
        }
    }

    /// Whether an operator pinned the stored response, and it has the digests that the client
    /// expects.
    pub(super) async fn is_pinned(&self, stored: &Stored) -> bool {
        stored.kind == StoredKind::Pin && self.is_expected(stored).await
    }

    /// Returns the request to the origin. With a stored response it is conditional.
    fn shared_request(&self, stored: Option<(&Stored, Staleness)>) -> SharedRequest {
        SharedRequest {
            arrived_at: self.arrived_at,
            fields: self.fields.clone(),
            redirects: match self.request.endpoint {
                Endpoint::Gateway => Redirects::Followed,
                Endpoint::Proxy => Redirects::None,
            },
            stored: stored.map(|(stored, if_unreachable)| StoredObservation {
                observation: Arc::clone(&stored.observation),
                if_unreachable,
            }),
            without_validator: if self.admitted.promises_file() {
                WithoutValidator::Store
            } else {
                WithoutValidator::Refuse
            },
            file_type: self.file_type,
        }
    }

    /// Starts a validation that no client waits for. If none can start, a later request may start
    /// one.
    fn validate_in_background(&self, stored: &Stored) {
        let request = self.shared_request(Some((stored, Staleness::MayServe)));
        if let Err(error) = self.services.fetcher.exchange(self.admitted, request) {
            tracing::debug!(target = %self.admitted.target(), %error, "no validation started");
        }
    }

    async fn validate(
        self,
        stored: Stored,
        if_unreachable: Staleness,
    ) -> Result<CacheResponse, RequestError> {
        if !self.may_store() {
            return self.validate_alone(stored, if_unreachable).await;
        }
        let request = self.shared_request(Some((&stored, if_unreachable)));
        let (upstream, client) = (&self.services.upstream, self.admitted.pool_client());
        let permit = upstream.acquire_upstream_permit(client)?;
        let mut reader = match self.services.fetcher.exchange(self.admitted, request) {
            Ok(reader) => reader,
            Err(error) => {
                drop(permit);
                return self.answer_failure(stored, if_unreachable, error).await;
            }
        };
        match reader.first_answer().await {
            Ok(answer) => {
                let forwarding = Forwarding {
                    reader,
                    permit,
                    reason: ForwardReason::Stale,
                };
                self.forward(answer, Some(stored), forwarding).await
            }
            Err(error) => {
                drop(permit);
                self.answer_failure(stored, if_unreachable, error).await
            }
        }
    }

    /// Asks the origin alone if only the disk has failed, and serves the stored response otherwise.
    async fn answer_failure(
        self,
        stored: Stored,
        if_unreachable: Staleness,
        error: FetchError,
    ) -> Result<CacheResponse, RequestError> {
        if error.is_only_unstored() {
            self.validate_alone(stored, if_unreachable).await
        } else {
            self.serve_stale(stored, if_unreachable, error.into()).await
        }
    }

    /// Whether the response to the request may be stored for other clients.
    fn may_store(&self) -> bool {
        self.request.method == RequestMethod::Get && !self.limits.must_not_store
    }

    /// Asks the origin for this client only, and stores no body.
    async fn validate_alone(
        self,
        stored: Stored,
        if_unreachable: Staleness,
    ) -> Result<CacheResponse, RequestError> {
        let asked = ask_alone(
            self.services,
            self.admitted,
            &self.request,
            &stored,
            if_unreachable,
        )
        .await;
        let error = match asked {
            Ok(CacheResponse::PassThrough(passed))
                if if_unreachable == Staleness::MayServe && passed.as_error().is_away() =>
            {
                RequestError::Origin(passed.as_error())
            }
            Err(error) => error,
            passed => return passed,
        };
        self.serve_stale(stored, if_unreachable, error).await
    }

    /// Serves a stored response in place of an origin that is away, if that is allowed.
    async fn serve_stale(
        self,
        stored: Stored,
        if_unreachable: Staleness,
        error: RequestError,
    ) -> Result<CacheResponse, RequestError> {
        let allowed = match if_unreachable {
            _ if !error.is_away() => None,
            Staleness::MayServe => Some(stored),
            Staleness::MustNotServe => self.find_record().await,
        };
        let Some(stored) = allowed else {
            return Err(error);
        };
        tracing::debug!(target = %self.admitted.target(), %error, "served a stale response");
        let policy = self.services.cache.observations().reuse_policy();
        let response = stored.observation.response();
        let now = SystemTime::now();
        let freshness = Freshness::compute(&response, now, policy.heuristic_fraction);
        let ttl_seconds = freshness.ttl_seconds().min(0);
        self.responder()
            .serve(stored, CacheStatus::Reused { ttl_seconds })
            .await
    }

    async fn respond_without_stored(self) -> Result<CacheResponse, RequestError> {
        let request = &self.request;
        if request.only_if_cached {
            return Err(RequestError::OnlyIfCachedMiss);
        }
        if !self.may_store() || self.fields.contains("range") {
            return self.pass_through().await;
        }
        let (upstream, client) = (&self.services.upstream, self.admitted.pool_client());
        let permit = upstream.acquire_upstream_permit(client)?;
        let shared = self.shared_request(None);
        let failed = match self.services.fetcher.exchange(self.admitted, shared) {
            Ok(mut reader) => match reader.first_answer().await {
                Ok(answer) => {
                    let forwarding = Forwarding {
                        reader,
                        permit,
                        reason: ForwardReason::NothingStored,
                    };
                    return self.forward(answer, None, forwarding).await;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        drop(permit);
        if failed.is_only_unstored() {
            self.pass_through().await
        } else {
            Err(failed.into())
        }
    }

    /// Sends what the origin has answered.
    async fn forward(
        self,
        answer: FirstAnswer,
        stored: Option<Stored>,
        forwarding: Forwarding,
    ) -> Result<CacheResponse, RequestError> {
        let Forwarding {
            reader,
            permit,
            reason,
        } = forwarding;
        let responder = self.responder();
        let served = match answer {
            FirstAnswer::Streaming(response) => {
                let status = CacheStatus::Stored {
                    forwarded: reason,
                    collapsed: reader.is_collapsed(),
                };
                responder.stream(reader, response, permit, status).await?
            }
            FirstAnswer::PassOn(response) => {
                drop(permit);
                return pass_on(self.services, self.admitted, self.request, *response).await;
            }
            FirstAnswer::Current(observation) => {
                drop(permit);
                responder.serve_current(stored, observation, reason).await?
            }
            FirstAnswer::SendAlone => {
                drop(permit);
                None
            }
        };
        match served {
            Some(response) => Ok(response),
            None => self.pass_through().await,
        }
    }

    fn responder(&self) -> ObservedResponder<'_> {
        ObservedResponder {
            cache: &self.services.cache,
            request: &self.request,
            verification: self.services.verification(&self.request),
        }
    }

    async fn pass_through(self) -> Result<CacheResponse, RequestError> {
        let (services, admitted) = (self.services, self.admitted);
        let if_unreachable = Staleness::MustNotServe;
        pass_through::pass_through(services, admitted, self.request, if_unreachable).await
    }
}

/// Exchange whose answer goes to a client.
struct Forwarding {
    reader: ExchangeReader,
    permit: UpstreamPermit,
    reason: ForwardReason,
}

fn reused(freshness: &Freshness) -> CacheStatus {
    CacheStatus::Reused {
        ttl_seconds: freshness.ttl_seconds(),
    }
}
