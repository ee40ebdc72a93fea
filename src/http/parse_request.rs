//! Parses an HTTP request into the [`CacheRequest`] of the gateway.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{
    AUTHORIZATION, AsHeaderName, CACHE_CONTROL, CONNECTION, HeaderMap, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, USER_AGENT, VIA,
};

use super::client_info::{Frontend, RequestOrigin};
use crate::gateway::{
    CacheRequest, ClientRedirects, Conditions, Endpoint, FileDelivery, RequestError, RequestMethod,
    is_end_to_end_header,
};
use crate::limits::RequestCount;
use crate::model::{Algorithm, Digest, ExpectedDigests, Login, RangeSpec, Scheme, Target};
use crate::policy::{Requester, is_credential_field};

/// Header fields that state an expected digest of the body.
const EXPECTED_DIGEST_HEADERS: [(HeaderName, Algorithm); 4] = [
    (
        HeaderName::from_static("x-expected-sha256"),
        Algorithm::Sha256,
    ),
    (
        HeaderName::from_static("x-expected-sha512"),
        Algorithm::Sha512,
    ),
    (HeaderName::from_static("x-expected-sha1"), Algorithm::Sha1),
    (HeaderName::from_static("x-expected-md5"), Algorithm::Md5),
];

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// The client's `Connection` field, which a trusted nginx forwards in this field.
const FORWARDED_CONNECTION: HeaderName = HeaderName::from_static("x-millpond-connection");

/// Returns the value of a header field, if the field occurs once and its value is text.
pub fn single(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    if values.next().is_some() {
        None
    } else {
        value.to_str().ok()
    }
}

/// Returns all values of a list field as one value.
fn joined(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all(name)
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Rejects a request that has passed through this node before (RFC 9110, section 7.6.3).
///
/// # Errors
/// [`RequestError::LoopDetected`] if `Via` or `CDN-Loop` (RFC 8586) contains `name`.
pub fn reject_loop(headers: &HeaderMap, name: &str) -> Result<(), RequestError> {
    let via = joined(headers, VIA).unwrap_or_default();
    let cdn_loop = joined(headers, CDN_LOOP).unwrap_or_default();
    let has_received = |hop: &str| hop.split_whitespace().nth(1) == Some(name);
    let is_this_node = |hop: &str| hop.split(';').next().is_some_and(|id| id.trim() == name);
    if via.split(',').any(has_received) || cdn_loop.split(',').any(is_this_node) {
        Err(RequestError::LoopDetected(name.to_owned()))
    } else {
        Ok(())
    }
}

/// Rejects other methods than those of the gateway port, and loops. `name` is the name of this node
/// in `Via`.
///
/// # Errors
/// [`RequestError::MethodNotSupported`] or [`RequestError::LoopDetected`].
pub fn reject_unreadable(request: &HttpRequest, name: &str) -> Result<(), RequestError> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(RequestError::MethodNotSupported(
            request.method().to_string(),
        ));
    }
    reject_loop(request.headers(), name)
}

/// Adds the digests that the header states to `expected`.
///
/// # Errors
/// [`RequestError::BadRequest`] if a value is no digest.
pub fn read_expected(
    headers: &HeaderMap,
    expected: &mut ExpectedDigests,
) -> Result<(), RequestError> {
    for (name, algorithm) in EXPECTED_DIGEST_HEADERS {
        if !headers.contains_key(&name) {
            continue;
        }
        let digest =
            single(headers, &name).and_then(|hex| Digest::parse(algorithm, hex.trim()).ok());
        expected.add(
            digest.ok_or_else(|| {
                RequestError::BadRequest(format!("{name} does not hold a digest"))
            })?,
        );
    }
    Ok(())
}

/// Returns the range of a request. `Range` is defined for GET only (RFC 9110, section 14.2).
pub fn read_range(request: &HttpRequest) -> Option<RangeSpec> {
    let headers = request.headers();
    // Without its condition, a range could join parts of two different files.
    let is_readable = !headers.contains_key(IF_RANGE) || single(headers, IF_RANGE).is_some();
    let is_wanted = *request.method() == Method::GET && is_readable;
    single(headers, RANGE)
        .filter(|_| is_wanted)
        .and_then(RangeSpec::parse)
}

pub fn read_conditions(headers: &HeaderMap) -> Conditions {
    let text = |name: HeaderName| single(headers, name).map(str::to_owned);
    Conditions {
        if_match: joined(headers, IF_MATCH),
        if_none_match: joined(headers, IF_NONE_MATCH),
        if_modified_since: text(IF_MODIFIED_SINCE),
        if_unmodified_since: text(IF_UNMODIFIED_SINCE),
        if_range: text(IF_RANGE),
    }
}

/// Returns the [`CacheRequest`] of a request for `target`, whose URL states the digests `expected`.
///
/// # Errors
/// [`RequestError::BadRequest`] if a header field for a digest holds none.
pub fn read_cache_request(
    request: &HttpRequest,
    origin: &RequestOrigin,
    endpoint: Endpoint,
    target: Target,
    mut expected: ExpectedDigests,
) -> Result<CacheRequest, RequestError> {
    let headers = request.headers();
    let text = |name: HeaderName| single(headers, name).map(str::to_owned);
    read_expected(headers, &mut expected)?;
    let method = match *request.method() {
        Method::GET => RequestMethod::Get,
        Method::HEAD => RequestMethod::Head,
        ref other => RequestMethod::Other(other.as_str().to_owned()),
    };
    let range = read_range(request);
    // Some clients send an anonymous login with every FTP URL. It is no credential.
    let login = text(AUTHORIZATION).filter(|_| target.scheme() == Scheme::Ftp);
    let is_anonymous = login
        .as_deref()
        .and_then(Login::from_authorization)
        .is_some_and(|login| login.is_anonymous());
    let forwarded_headers = forwarded_headers(headers, endpoint);
    // A field that stays here, such as a login for nginx, has no effect on the response.
    // None of the fields that the gateway endpoint forwards is a credential.
    let has_credentials = endpoint == Endpoint::Proxy
        && forwarded_headers.iter().any(|(name, _)| {
            is_credential_field(name) && !(is_anonymous && name == "authorization")
        });
    Ok(CacheRequest {
        client: origin.client,
        endpoint,
        delivery: choose_delivery(origin, headers, range),
        redirects: match (endpoint, origin.frontend) {
            (Endpoint::Proxy, _) | (_, Frontend::OwnProxy) => ClientRedirects::Never,
            (Endpoint::Gateway, Frontend::Direct | Frontend::TrustedNginx { .. }) => {
                ClientRedirects::Allowed
            }
        },
        method,
        version: origin.version,
        target,
        expected,
        range,
        conditions: read_conditions(headers),
        only_if_cached: joined(headers, CACHE_CONTROL).is_some_and(|list| {
            list.split(',')
                .any(|directive| directive.trim().eq_ignore_ascii_case("only-if-cached"))
        }),
        requester: Requester::Client,
        user_agent: text(USER_AGENT).unwrap_or_default(),
        has_credentials,
        access: None,
        count: RequestCount::New,
        forwarded_headers,
        body: None,
    })
}

/// Returns who sends a stored file.
///
/// nginx evaluates ranges and conditions itself when it sends a file. Millpond sends the file if
/// nginx would evaluate them differently.
fn choose_delivery(
    origin: &RequestOrigin,
    headers: &HeaderMap,
    range: Option<RangeSpec>,
) -> FileDelivery {
    let is_plain = || {
        !headers.contains_key(IF_MATCH)
            && !headers.contains_key(IF_UNMODIFIED_SINCE)
            && match single(headers, RANGE) {
                Some(text) => range.is_some() && nginx_parses_range(text),
                None => !headers.contains_key(RANGE),
            }
    };
    match origin.frontend {
        Frontend::TrustedNginx {
            file_missing: false,
        } if is_plain() => FileDelivery::AccelRedirect,
        Frontend::TrustedNginx { .. } | Frontend::Direct | Frontend::OwnProxy => {
            FileDelivery::Direct
        }
    }
}

/// Whether nginx parses a range as Millpond does. It differs for spaces, and for numbers that
/// overflow its integers.
fn nginx_parses_range(text: &str) -> bool {
    let is_number = |text: &str| text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_prefix("bytes=")
        .and_then(|text| text.split_once('-'))
        .is_some_and(|(first, last)| is_number(first) && is_number(last))
}

/// Request header fields that the gateway endpoint forwards to the origin. Other fields could carry
/// a credential for Millpond, which must not reach a host that a redirect has chosen.
const FORWARDED_BY_GATEWAY: [&str; 13] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "cdn-loop",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "user-agent",
    "via",
];

/// Returns the header fields that go to the origin if the request is passed through.
fn forwarded_headers(headers: &HeaderMap, endpoint: Endpoint) -> Vec<(String, Vec<u8>)> {
    // `Connection` is that of nginx, which forwards the client's own in another field.
    let connection = match (
        joined(headers, CONNECTION),
        joined(headers, FORWARDED_CONNECTION),
    ) {
        (Some(direct), Some(forwarded)) => format!("{direct},{forwarded}"),
        (direct, forwarded) => direct.or(forwarded).unwrap_or_default(),
    };
    let is_forwarded = |name: &str| match endpoint {
        Endpoint::Gateway => {
            FORWARDED_BY_GATEWAY.contains(&name) && is_end_to_end_header(name, &connection)
        }
        Endpoint::Proxy => {
            let is_for_millpond = ["x-expected-", "x-forwarded-", "x-millpond-"]
                .iter()
                .any(|start| name.starts_with(start));
            !is_for_millpond && is_end_to_end_header(name, &connection)
        }
    };
    headers
        .iter()
        .filter(|(name, _)| is_forwarded(name.as_str()))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_endpoint_forwards_no_credentials() {
        for name in FORWARDED_BY_GATEWAY {
            assert!(!is_credential_field(name), "{name}");
        }
    }
}
