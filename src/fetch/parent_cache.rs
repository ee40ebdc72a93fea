//! Requests to a parent, which is another Millpond gateway.
//!
//! A parent returns stored objects only. If it fetched, two gateways that are parents of each other
//! would cause a loop, and each parent would ask the origin for a missing target.

use crate::model::{Algorithm, ExpectedDigests, Sha256};
use crate::origin::{OriginError, ProtocolFault, Response};
use crate::policy::{Source, SourceKind};

/// Returns the header fields of a request to a parent. Other sources need none.
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

/// Returns the error of a parent that has not stored the target.
pub fn not_found() -> OriginError {
    OriginError::Status {
        status: 404,
        retry_after: None,
        challenge: None,
    }
}

/// Returns the error of a source, as it concerns the fetch. A parent that would ask this node in
/// turn has not stored the target.
pub fn read_error(source: &Source, error: OriginError) -> OriginError {
    match error {
        OriginError::InvalidResponse(ProtocolFault::RequestLoop)
            if source.kind() == SourceKind::Parent =>
        {
            not_found()
        }
        error => error,
    }
}

/// Returns the error of a parent that states no digest. Its body cannot be checked.
pub fn missing_digest() -> OriginError {
    ProtocolFault::NoParentDigest.into()
}

/// Returns the SHA-256 that a response states for the whole body: in `Repr-Digest` (RFC 9530,
/// section 3), or as the entity tag of a Millpond gateway.
pub fn response_digest(response: &Response) -> Option<Sha256> {
    let from_field = Sha256::from_repr_digest(&response.list_header("repr-digest"));
    from_field.or_else(|| response.header("etag")?.trim_matches('"').parse().ok())
}
