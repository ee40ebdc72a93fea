//! The URL of this gateway, as the client of a request knows it. The main function is [`own_url`].

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, X_FORWARDED_PROTO};

use super::client_info::peer_address;
use super::parse_request::single;
use super::state::Settings;

/// Longest name of a host with its port (RFC 1035, section 2.3.4).
const MAX_AUTHORITY_BYTES: usize = 253 + ":65535".len();

/// URL of a gateway whose client has named no usable one.
const UNKNOWN_URL: &str = "http://this-gateway";

/// Returns scheme and authority under which a client has asked, or those that the operator has
/// configured. The scheme is that of `gateway.public_url`, or that which a trusted proxy states.
pub fn own_url(request: &HttpRequest, settings: &Settings) -> String {
    let headers = request.headers();
    let host = single(headers, HOST).filter(|host| is_plain_authority(host));
    let public = settings.public_url.as_deref();
    let public = public.filter(|url| {
        let authority = url.split_once("://").map(|(_, authority)| authority);
        authority.is_some_and(is_plain_authority)
    });
    let is_encrypted = settings.is_trusted_proxy(peer_address(request))
        && single(headers, X_FORWARDED_PROTO)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let scheme = if is_encrypted { "https" } else { "http" };
    match (host, public) {
        (Some(host), Some(public)) if has_authority(public, host) => public.to_owned(),
        (Some(host), _) => format!("{scheme}://{host}"),
        (None, public) => public.unwrap_or(UNKNOWN_URL).to_owned(),
    }
}

fn has_authority(url: &str, authority: &str) -> bool {
    url.split_once("://")
        .is_some_and(|(_, own)| own.eq_ignore_ascii_case(authority))
}

/// Whether a value of `Host` has only characters of names, addresses and ports.
fn is_plain_authority(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]_".contains(&byte);
    !host.is_empty() && host.len() <= MAX_AUTHORITY_BYTES && host.bytes().all(is_plain)
}
