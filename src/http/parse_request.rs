//! Reading a request into what the request path understands.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;

use super::client_info::{Frontend, RequestOrigin};
use crate::gateway::{
    CacheRequest, Conditions, Delivery, Endpoint, RequestError, RequestMethod, is_end_to_end_header,
};
use crate::model::{Algorithm, Digest, ExpectedDigests, Login, RangeSpec, Scheme, Target};

/// Header fields that say what the bytes must be.
const EXPECTATIONS: [(&str, Algorithm); 4] = [
    ("x-expected-sha256", Algorithm::Sha256),
    ("x-expected-sha512", Algorithm::Sha512),
    ("x-expected-sha1", Algorithm::Sha1),
    ("x-expected-md5", Algorithm::Md5),
];

/// A header field as text, if it occurs once and is text.
pub fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    if values.next().is_some() {
        None
    } else {
        value.to_str().ok()
    }
}

/// All values of a list header as one.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all(name)
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// # Errors
/// [`Problem::LoopDetected`] if `name` is in the request's `Via`: it has been here before (RFC
/// 9110, section 7.6.3).
pub fn reject_loop(headers: &HeaderMap, name: &str) -> Result<(), RequestError> {
    let via = joined(headers, "via").unwrap_or_default();
    let is_ours = |hop: &str| hop.split_whitespace().nth(1) == Some(name);
    if via.split(',').any(is_ours) {
        Err(RequestError::LoopDetected(name.to_owned()))
    } else {
        Ok(())
    }
}

/// Adds what the header says that the bytes must be.
///
/// # Errors
/// [`Problem::BadRequest`] where a stated digest is none.
pub fn read_expected(
    headers: &HeaderMap,
    expected: &mut ExpectedDigests,
) -> Result<(), RequestError> {
    for (name, algorithm) in EXPECTATIONS {
        if !headers.contains_key(name) {
            continue;
        }
        let digest =
            single(headers, name).and_then(|hex| Digest::parse(algorithm, hex.trim()).ok());
        expected.add(
            digest.ok_or_else(|| {
                RequestError::BadRequest(format!("{name} does not hold a digest"))
            })?,
        );
    }
    Ok(())
}

/// Ranges are defined for GET alone (RFC 9110, section 14.2).
pub fn read_range(request: &HttpRequest) -> Option<RangeSpec> {
    let headers = request.headers();
    // A condition that cannot be read must not make one file of two.
    let is_readable = !headers.contains_key("if-range") || single(headers, "if-range").is_some();
    let is_wanted = *request.method() == Method::GET && is_readable;
    single(headers, "range")
        .filter(|_| is_wanted)
        .and_then(RangeSpec::parse)
}

pub fn read_conditions(headers: &HeaderMap) -> Conditions {
    let text = |name: &str| single(headers, name).map(str::to_owned);
    Conditions {
        if_match: joined(headers, "if-match"),
        if_none_match: joined(headers, "if-none-match"),
        if_modified_since: text("if-modified-since"),
        if_unmodified_since: text("if-unmodified-since"),
        if_range: text("if-range"),
    }
}

/// Makes the [`CacheRequest`] of a request for `target`.
///
/// # Errors
/// [`Problem::BadRequest`] where a stated digest is none.
pub fn read_cache_request(
    request: &HttpRequest,
    request_origin: &RequestOrigin,
    endpoint: Endpoint,
    target: Target,
    mut expected: ExpectedDigests,
) -> Result<CacheRequest, RequestError> {
    let headers = request.headers();
    let text = |name: &str| single(headers, name).map(str::to_owned);
    read_expected(headers, &mut expected)?;
    let method = match *request.method() {
        Method::GET => RequestMethod::Get,
        Method::HEAD => RequestMethod::Head,
        ref other => RequestMethod::Other(other.as_str().to_owned()),
    };
    let range = read_range(request);
    // There are clients that always name a login for ftp.
    let login = text("authorization").filter(|_| target.scheme() == Scheme::Ftp);
    let is_anonymous = login
        .as_deref()
        .and_then(Login::from_authorization)
        .is_some_and(|login| login.is_anonymous());
    let is_authorized = headers.contains_key("authorization") && !is_anonymous;
    Ok(CacheRequest {
        endpoint,
        delivery: delivery_to(request_origin, headers, range),
        method,
        version: request_origin.version,
        target,
        expected,
        range,
        conditions: read_conditions(headers),
        only_if_cached: joined(headers, "cache-control").is_some_and(|list| {
            list.split(',')
                .any(|directive| directive.trim().eq_ignore_ascii_case("only-if-cached"))
        }),
        user_agent: text("user-agent").unwrap_or_default(),
        has_credentials: endpoint == Endpoint::Proxy
            && (is_authorized || headers.contains_key("cookie")),
        forwarded_headers: forwarded_headers(headers, endpoint),
        body: None,
    })
}

/// nginx applies ranges and conditions by rules of its own where it sends a file: what it would
/// take for something else stays with us.
fn delivery_to(
    request_origin: &RequestOrigin,
    headers: &HeaderMap,
    range: Option<RangeSpec>,
) -> Delivery {
    let is_plain = !headers.contains_key("if-match")
        && !headers.contains_key("if-unmodified-since")
        && match single(headers, "range") {
            Some(text) => range.is_some() && nginx_reads_range(text),
            None => !headers.contains_key("range"),
        };
    match request_origin.frontend {
        Frontend::TrustedNginx {
            file_missing: false,
        } if is_plain => Delivery::AccelRedirect,
        Frontend::TrustedNginx { .. } | Frontend::Direct => Delivery::Direct,
    }
}

/// Whether nginx makes of a range what we do: to it a number that it cannot hold, or a space, is
/// another thing.
fn nginx_reads_range(text: &str) -> bool {
    let is_number = |text: &str| text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_prefix("bytes=")
        .and_then(|text| text.split_once('-'))
        .is_some_and(|(first, last)| is_number(first) && is_number(last))
}

/// What of a client's header goes on to the origin from the rewrite door. Whatever else there is,
/// is meant for us or for nobody: a token of somebody's private header must not reach a host that a
/// redirect has chosen.
const FORWARDED_BY_GATEWAY: [&str; 12] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "user-agent",
    "via",
];

/// What goes on to the origin if the request is passed through.
fn forwarded_headers(headers: &HeaderMap, endpoint: Endpoint) -> Vec<(String, Vec<u8>)> {
    // nginx has a Connection of its own with us, and hands on the client's.
    let own = joined(headers, "connection").unwrap_or_default();
    let clients = joined(headers, "x-millpond-connection").unwrap_or_default();
    let connection = format!("{own},{clients}");
    let keeps = |name: &str| match endpoint {
        Endpoint::Gateway => {
            FORWARDED_BY_GATEWAY.contains(&name) && is_end_to_end_header(name, &connection)
        }
        Endpoint::Proxy => {
            let is_ours = ["x-expected-", "x-forwarded-", "x-millpond-"]
                .iter()
                .any(|start| name.starts_with(start));
            !is_ours && is_end_to_end_header(name, &connection)
        }
    };
    headers
        .iter()
        .filter(|(name, _)| keeps(name.as_str()))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}
