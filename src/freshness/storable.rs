//! Which responses a shared cache may store (RFC 9111, section 3).

use std::time::Duration;

use super::{Directives, StoredResponse, VaryNames};
use crate::model::Fields;

/// Statuses that Millpond understands (RFC 9111, section 5.2.2.3). It treats an unknown one like
/// the x00 status of its class.
const UNDERSTOOD_STATUSES: [u16; 34] = [
    200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406,
    408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 500, 501, 503,
];

/// Reason for which a response is passed through and not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotStorable {
    #[error("the response is partial or belongs to a condition")]
    Partial,
    #[error("Cache-Control: no-store")]
    NoStore,
    #[error("Cache-Control: private")]
    Private,
    #[error("Cache-Control: must-understand, with an unknown status")]
    NotUnderstood,
    #[error("the request has credentials")]
    Credentials,
    #[error("Vary: *")]
    VaryAny,
    #[error("Set-Cookie")]
    SetCookie,
    #[error("no validator and no freshness lifetime")]
    NothingToReuse,
}

/// How a response without lifetime and validator is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutValidator {
    Refuse,
    /// The name of the target promises a file, which is worth having when the origin is away.
    Store,
}

/// Checks whether a shared cache may store the response to a request and can reuse it.
///
/// # Errors
/// [`NotStorable`] with the reason.
pub fn check_storable(
    request: &Fields,
    response: &StoredResponse<'_>,
    without_validator: WithoutValidator,
) -> Result<(), NotStorable> {
    let directives = Directives::from_response(response.fields);
    if !(200..=599).contains(&response.status)
        || matches!(response.status, 206 | 304)
        || request.contains("range")
    {
        return Err(NotStorable::Partial);
    }
    if directives.has("must-understand") {
        if !UNDERSTOOD_STATUSES.contains(&response.status) {
            return Err(NotStorable::NotUnderstood);
        }
    } else if directives.has("no-store") {
        return Err(NotStorable::NoStore);
    }
    if directives.has("private") {
        return Err(NotStorable::Private);
    }
    // RFC 9111, section 3.5.
    let is_shareable = ["public", "must-revalidate", "s-maxage"];
    if request.contains("authorization") && !is_shareable.iter().any(|name| directives.has(name)) {
        return Err(NotStorable::Credentials);
    }
    if VaryNames::from_response(response.fields).is_any() {
        return Err(NotStorable::VaryAny);
    }
    // A cookie belongs to one client.
    if response.fields.contains("set-cookie") {
        return Err(NotStorable::SetCookie);
    }
    check_reusable(response, without_validator)
}

fn check_reusable(
    response: &StoredResponse<'_>,
    without_validator: WithoutValidator,
) -> Result<(), NotStorable> {
    let has_lifetime = response
        .explicit_lifetime()
        .is_some_and(|lifetime| lifetime > Duration::ZERO);
    let has_validator = response.status == 200
        && ["etag", "last-modified"]
            .iter()
            .any(|name| response.fields.contains(name));
    let is_file = response.status == 200 && without_validator == WithoutValidator::Store;
    if has_lifetime || has_validator || is_file {
        Ok(())
    } else {
        Err(NotStorable::NothingToReuse)
    }
}
