//! Rules of the strictest stores: OBS, Ceph or S3 itself. A client whose requests this bucket
//! accepts works with all of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::http::request::Parts;
use md5::{Digest as _, Md5};

use super::BUCKET;
use super::front_end::Style;

/// Largest body of one PUT.
const MAX_PUT_BYTES: u64 = 5 << 30;
/// Largest size of all metadata names and values together.
const MAX_METADATA_BYTES: usize = 8 << 10;

/// Reason for a refusal: status, error code and message.
pub(super) type Refusal = (u16, &'static str, &'static str);

/// Checks the head of a request.
pub(super) fn head(head: &Parts, style: &Style, key: &str) -> Result<(), Refusal> {
    let text = |name: &str| {
        head.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    if let Style::VirtualHost(domain) = style
        && text("host") != format!("{BUCKET}.{domain}")
    {
        return Err((
            400,
            "VirtualHostDomainRequired",
            "the bucket's name has to stand in the host name",
        ));
    }
    if queries(head).any(|name| name == "x-id") {
        return Err((404, "NoSuchKey", "x-id is taken for a part of the name"));
    }
    if text("content-encoding").contains("aws-chunked")
        || text("x-amz-content-sha256").starts_with("STREAMING-")
    {
        return Err((
            400,
            "XAmzContentSHA256Mismatch",
            "bodies in signed chunks are not known here",
        ));
    }
    let is_checksum =
        |name: &str| name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm";
    if head.headers.keys().any(|name| is_checksum(name.as_str())) {
        return Err((
            400,
            "InvalidArgument",
            "checksums of this kind are not known here",
        ));
    }
    if key.is_empty() && matches!(head.method, Method::PUT | Method::DELETE) {
        return Err((
            403,
            "AccessDenied",
            "buckets are made and removed by their owners",
        ));
    }
    let is_too_long = |length: u64| length > MAX_PUT_BYTES;
    if head.method == Method::PUT && text("content-length").parse().is_ok_and(is_too_long) {
        return Err((400, "EntityTooLarge", "one PUT brings 5 GB at most"));
    }
    let needs_digest = match head.method {
        Method::PUT => !head.headers.contains_key("x-amz-copy-source"),
        Method::POST => queries(head).any(|name| name == "delete"),
        _ => false,
    };
    if needs_digest && !head.headers.contains_key("content-md5") {
        return Err((400, "InvalidRequest", "Content-MD5 is missing"));
    }
    metadata(head)
}

/// Checks a body against `Content-MD5`.
pub(super) fn body(head: &Parts, body: &[u8]) -> Result<(), Refusal> {
    let Some(expected) = head.headers.get("content-md5") else {
        return Ok(());
    };
    match STANDARD.decode(expected) {
        Ok(expected) if expected.len() != Md5::output_size() => {
            Err((400, "InvalidDigest", "Content-MD5 is no MD5"))
        }
        Ok(expected) if expected != Md5::digest(body)[..] => {
            Err((400, "BadDigest", "Content-MD5 is of another body"))
        }
        Ok(_) => Ok(()),
        Err(_) => Err((400, "InvalidDigest", "Content-MD5 is not base64")),
    }
}

fn metadata(head: &Parts) -> Result<(), Refusal> {
    let own = head
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-amz-meta-"));
    let mut size = 0;
    for (name, value) in own {
        if !value.as_bytes().is_ascii() {
            return Err((400, "InvalidArgument", "metadata has to be ASCII"));
        }
        size += name.as_str().len() + value.len();
    }
    if size > MAX_METADATA_BYTES {
        Err((400, "MetadataTooLarge", "metadata is 8 KB at most"))
    } else {
        Ok(())
    }
}

/// Returns the names of the query parameters.
fn queries(head: &Parts) -> impl Iterator<Item = &str> {
    let pairs = head.uri.query().unwrap_or_default().split('&');
    pairs.map(|pair| pair.split('=').next().unwrap_or_default())
}
