//! How another gateway is asked for what it has, and what it says of that.
//!
//! It is never made to fetch: then two gateways that name each other would ask in a circle, and a
//! target that nobody has would be asked for by each of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::{Algorithm, ExpectedDigests, Sha256};
use crate::origin::{OriginError, ProtocolFault, Response};
use crate::policy::{Source, SourceKind};

/// What a parent is told besides the target; nothing for other sources.
pub fn request_headers(source: &Source, expected: &ExpectedDigests) -> Vec<(String, Vec<u8>)> {
    if source.kind() != SourceKind::Parent {
        return Vec::new();
    }
    let mut headers = vec![("cache-control".to_owned(), b"only-if-cached".to_vec())];
    if let Some(digest) = expected
        .iter()
        .find(|digest| digest.algorithm() == Algorithm::Sha256)
    {
        headers.push(("x-expected-sha256".to_owned(), digest.hex().into_bytes()));
    }
    headers
}

/// It has not got it.
pub fn not_found() -> OriginError {
    OriginError::Status {
        status: 404,
        retry_after: None,
    }
}

/// It does not say what its bytes are, so that nothing could be held against it.
pub fn missing_digest() -> OriginError {
    ProtocolFault::NoParentDigest.into()
}

/// The SHA-256 that an answer states for the whole of its bytes: in `Repr-Digest` (RFC 9530,
/// section 3), or as our own entity tags do.
pub fn response_digest(response: &Response) -> Option<Sha256> {
    let digests = response.list_header("repr-digest");
    let by_field = digests.split(',').find_map(|digest| {
        let coded = digest.trim().strip_prefix("sha-256=:")?.strip_suffix(':')?;
        Some(Sha256::from_bytes(
            STANDARD.decode(coded).ok()?.try_into().ok()?,
        ))
    });
    by_field.or_else(|| response.header("etag")?.trim_matches('"').parse().ok())
}
