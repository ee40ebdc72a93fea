//! Decides what an exchange does with a response. [`judge`] is the entry point.

use std::time::SystemTime;

use super::head::{end_to_end_fields, replaces_file_by_page};
use super::request::{SharedRequest, StoredObservation};
use crate::fetch::FetchError;
use crate::freshness::{
    NotStorable, Observation, Redirects, Staleness, StoredResponse, VaryNames, WithoutValidator,
    check_storable, freshen, is_about,
};
use crate::model::{Fields, Target, WrongFile};
use crate::origin::{OriginError, ProtocolFault, Response};

/// Times of a request and its response.
#[derive(Clone, Copy)]
pub struct Times {
    pub requested_at: SystemTime,
    pub received_at: SystemTime,
}

impl Times {
    fn head(self, status: u16, fields: &Fields) -> StoredResponse<'_> {
        StoredResponse {
            status,
            fields,
            requested_at: self.requested_at,
            received_at: self.received_at,
        }
    }
}

/// Treatment of a response.
pub enum Verdict {
    /// The stored response is valid, and its new head is stored.
    NotModified(Observation),
    /// The stored response is valid for the request that started the exchange.
    NotModifiedForFirst(Observation),
    /// The stored response answers in place of this one.
    Away(FetchError),
    /// The response goes to the request that started the exchange.
    PassOn,
    Store(Observation),
}

/// Returns whether a 304 is about another response than the stored one.
pub fn is_foreign_not_modified(request: &SharedRequest, response: &Response) -> bool {
    let fields = end_to_end_fields(response);
    request
        .stored
        .as_ref()
        .filter(|_| response.status() == 304)
        .is_some_and(|stored| !is_about(&fields, &stored.observation.response()))
}

/// Decides what happens to the response to a request for `target`.
pub fn judge(
    target: &Target,
    request: &SharedRequest,
    response: &Response,
    times: Times,
) -> Verdict {
    let fields = end_to_end_fields(response);
    let stored = request.stored.as_ref();
    // Without any condition, a client would take the 304 for an empty file.
    let is_unasked = response.status() == 304 && stored.is_none() && !request.is_conditional();
    if is_unasked || is_foreign_not_modified(request, response) {
        return Verdict::Away(OriginError::from(ProtocolFault::ForeignNotModified).into());
    }
    if let Some(stored) = stored.filter(|_| response.status() == 304) {
        let fields = freshen(&stored.observation.fields, &fields);
        return validate(request, stored, response, &times.head(200, &fields));
    }
    if let Some(stored) = stored.filter(|stored| stored.if_unreachable == Staleness::MayServe) {
        let status = response.as_error();
        if status.is_away() {
            return Verdict::Away(status.into());
        }
        if replaces_file_by_page(response, &stored.observation) {
            return Verdict::Away(FetchError::WrongFileType(WrongFile::OtherType));
        }
    }
    if response.is_redirected() && response.is_page() {
        // The links of the page are relative to the last redirect, to which its client is sent.
        return Verdict::PassOn;
    }
    match observe(
        target,
        request,
        response,
        &times.head(response.status(), &fields),
    ) {
        Ok(observation) => Verdict::Store(observation),
        Err(reason) => {
            tracing::debug!(%target, %reason, "response is not shared");
            Verdict::PassOn
        }
    }
}

/// Returns the stored response with the head that a 304 has updated.
fn validate(
    request: &SharedRequest,
    stored: &StoredObservation,
    response: &Response,
    head: &StoredResponse<'_>,
) -> Verdict {
    let observation = &stored.observation;
    let sent = request.unconditional_fields();
    let storable = check_storable(&sent, head, WithoutValidator::Store);
    let vary = VaryNames::from_response(head.fields).select(&request.fields);
    match (storable, vary) {
        (Ok(()), Some(vary)) => {
            let redirects = redirects_of(response);
            let validated = observation.validated(vary, head).with_redirects(redirects);
            Verdict::NotModified(validated)
        }
        _ => Verdict::NotModifiedForFirst(observation.validated(observation.vary.clone(), head)),
    }
}

/// Returns the observation of a response that may be stored.
fn observe(
    target: &Target,
    request: &SharedRequest,
    response: &Response,
    head: &StoredResponse<'_>,
) -> Result<Observation, NotStorable> {
    let sent = request.unconditional_fields();
    check_storable(&sent, head, request.without_validator)?;
    let vary = VaryNames::from_response(head.fields)
        .select(&request.fields)
        .ok_or(NotStorable::VaryAny)?;
    let observation = Observation::new(target, vary, head, response.source());
    Ok(observation.with_redirects(redirects_of(response)))
}

fn redirects_of(response: &Response) -> Redirects {
    if response.is_redirected() {
        Redirects::Followed
    } else {
        Redirects::None
    }
}
