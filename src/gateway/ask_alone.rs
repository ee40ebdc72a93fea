//! Requests of class `revalidate` that no other request shares: HEAD, and requests whose responses
//! must not be stored.
//!
//! The response to a HEAD updates or invalidates the stored response (RFC 9111, section 4.3.5). The
//! main function is [`ask_alone`].

use std::sync::Arc;
use std::time::SystemTime;

use super::error::RequestError;
use super::pass_through::{self, ClientFacts, deliver};
use super::request::{CacheRequest, Endpoint, RequestMethod};
use super::response::CacheResponse;
use super::serve_observed::{Stored, StoredKind};
use super::services::GatewayServices;
use crate::cache::{Cache, CacheError};
use crate::fetch::SharedRequest;
use crate::freshness::{
    HeadResponse, HeadUse, Redirects, RequestLimits, Staleness, StoredResponse, VaryNames,
    WithoutValidator, check_storable, freshen, judge_head,
};
use crate::model::Fields;
use crate::origin::ReceivedResponse;
use crate::passthrough::PassThroughResponse;
use crate::policy::Admitted;

/// Sends a request to the origin for its client only. Stores no body.
///
/// # Errors
/// As [`pass_through::pass_through`].
pub async fn ask_alone(
    services: &GatewayServices,
    admitted: &Admitted,
    request: &CacheRequest,
    stored: &Stored,
    if_unreachable: Staleness,
) -> Result<CacheResponse, RequestError> {
    let own = request.without_body();
    let requested_at = SystemTime::now();
    let response = pass_through::pass_through(services, admitted, own, if_unreachable).await?;
    if let CacheResponse::PassThrough(passed) = &response
        && request.method == RequestMethod::Head
        && stored.kind == StoredKind::Observation
    {
        let update = HeadUpdate {
            request,
            passed,
            requested_at,
        };
        update.apply(&services.cache, stored).await;
    }
    Ok(response)
}

/// Response to a HEAD, and the request that brought it.
struct HeadUpdate<'a> {
    request: &'a CacheRequest,
    passed: &'a PassThroughResponse,
    requested_at: SystemTime,
}

impl HeadUpdate<'_> {
    /// Updates or invalidates a stored response. A failure is logged.
    async fn apply(&self, cache: &Cache, stored: &Stored) {
        let fields = self.fields();
        let response = HeadResponse {
            status: self.passed.status,
            fields: &fields,
            length: self.passed.length,
        };
        let observation = &stored.observation;
        let size_bytes = observation.size_bytes;
        let applied = match judge_head(&response, &observation.response(), size_bytes) {
            HeadUse::Ignore => return,
            HeadUse::Freshen => self.freshen(cache, stored, &fields).await,
            HeadUse::Invalidate => {
                let keys = vec![observation.key()];
                cache.observations().invalidate(keys).await
            }
        };
        if let Err(error) = applied {
            tracing::warn!(%error, "stored response could not be updated after a HEAD");
        }
    }

    async fn freshen(
        &self,
        cache: &Cache,
        stored: &Stored,
        fields: &Fields,
    ) -> Result<(), CacheError> {
        let observation = &stored.observation;
        let fields = freshen(&observation.fields, fields);
        let head = StoredResponse {
            status: observation.status,
            fields: &fields,
            requested_at: self.requested_at,
            received_at: SystemTime::now(),
        };
        let sent = self.shared_fields();
        // The gateway follows redirects, and the lifetime of the file says nothing about those.
        let is_known_redirect = self.request.endpoint == Endpoint::Proxy
            || observation.redirects == Redirects::Followed;
        let may_store = is_known_redirect
            && !RequestLimits::from_request(&sent).must_not_store
            && check_storable(&sent, &head, WithoutValidator::Store).is_ok();
        let vary = VaryNames::from_response(&fields).select(&sent);
        if let Some(vary) = vary.filter(|vary| may_store && *vary == observation.vary) {
            let validated = Arc::clone(observation);
            let freshened = observation.validated(vary, &head);
            let observations = cache.observations();
            observations.replace_head(validated, freshened).await?;
        }
        Ok(())
    }

    fn fields(&self) -> Fields {
        let fields = self.passed.headers.iter();
        let fields = fields.map(|(name, value)| (name.as_str(), value.as_slice()));
        fields.collect()
    }

    fn shared_fields(&self) -> Fields {
        let sent = self.request.forwarded_headers.iter();
        let sent = sent.map(|(name, value)| (name.as_str(), value.as_slice()));
        SharedRequest::shared_fields(sent)
    }
}

/// Passes on a response that only this request may get.
///
/// # Errors
/// As [`pass_through::pass_through`].
pub async fn pass_on(
    services: &GatewayServices,
    admitted: &Admitted,
    request: CacheRequest,
    received: ReceivedResponse,
) -> Result<CacheResponse, RequestError> {
    let (client, host) = (admitted.pool_client(), admitted.target().host());
    let permit = services.upstream.acquire_pass_through_permit(client, host);
    let permit = permit.await?;
    let facts = ClientFacts::new(&request);
    let passed = services
        .passthrough
        .pass_on(admitted, received, request.expected)
        .map_err(RequestError::Origin)?;
    deliver(passed, permit, admitted, &facts).await
}
