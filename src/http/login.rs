//! The login of a download user: `Authorization` at the gateway port, `Proxy-Authorization` at the
//! proxy port (RFC 9110, section 11).
//!
//! The main function is [`require_user`].

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, PROXY_AUTHORIZATION};

use super::client_info::{Frontend, RequestOrigin, connection_facts};
use super::parse_request::single;
use super::state::HttpService;
use crate::admin::{AdminError, Permission};
use crate::gateway::{Endpoint, RequestError};
use crate::limits::TransferKind;
use crate::model::Login;
use crate::users::LoginError;

/// Value of the field that asks for a login (RFC 7617, section 2).
pub const CHALLENGE: &str = "Basic realm=\"millpond\"";

/// Checks the login of a request for a target, if downloads need one. A request inside a `CONNECT`
/// has that of the `CONNECT`.
///
/// # Errors
/// [`RequestError`] without a right login. A client that is denied or over its limits learns
/// nothing else.
pub async fn require_user(
    service: &HttpService,
    request: &HttpRequest,
    origin: &RequestOrigin,
    endpoint: Endpoint,
) -> Result<(), RequestError> {
    let is_inside = connection_facts(request).is_some_and(|facts| facts.connect.is_some());
    if is_inside {
        return Ok(());
    }
    let fields: &[HeaderName] = match (endpoint, origin.frontend) {
        (Endpoint::Proxy, _) => &[PROXY_AUTHORIZATION],
        // The client sees a proxy, and the URL of the gateway.
        (Endpoint::Gateway, Frontend::OwnProxy) => &[PROXY_AUTHORIZATION, AUTHORIZATION],
        (Endpoint::Gateway, Frontend::Direct | Frontend::TrustedNginx { .. }) => &[AUTHORIZATION],
    };
    let checked = check(service, origin.client, request.headers(), fields).await;
    checked.map_err(|error| {
        let kind = TransferKind::Download;
        let admitted = service.gateway.admit_client(origin.client, kind);
        admitted.err().unwrap_or(error)
    })
}

/// Checks the login in these fields, the first of which counts, if downloads need one. A token of
/// an operator or reader is a login too.
///
/// # Errors
/// [`RequestError::LoginRequired`], [`RequestError::WrongLogin`],
/// [`RequestError::TooManyWrongLogins`] or [`RequestError::Busy`].
pub async fn check(
    service: &HttpService,
    client: IpAddr,
    headers: &HeaderMap,
    fields: &[HeaderName],
) -> Result<(), RequestError> {
    let users = service.users.load_full();
    if !users.is_required() {
        return Ok(());
    }
    let value = fields.iter().find_map(|name| single(headers, name));
    if let Some(token) = value.and_then(bearer) {
        return match service.operators.admin.authorize(client, Some(token)) {
            Ok(Permission::Operate(_) | Permission::Read(_)) => Ok(()),
            Ok(Permission::Public) | Err(AdminError::WrongToken) => Err(RequestError::WrongLogin),
            Err(_) => Err(RequestError::TooManyWrongLogins),
        };
    }
    let login = value.and_then(Login::from_authorization);
    users
        .check(client, login)
        .await
        .map_err(|error| match error {
            LoginError::Missing => RequestError::LoginRequired,
            LoginError::Wrong => RequestError::WrongLogin,
            LoginError::TooManyWrong => RequestError::TooManyWrongLogins,
            LoginError::Busy => RequestError::Busy,
        })
}

/// Returns the token of the scheme `Bearer` (RFC 6750, section 2.1).
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
