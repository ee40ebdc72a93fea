//! Responses whose body is streamed from an in-flight fetch.

use std::sync::Arc;

use super::preconditions;
use super::representation::Representation;
use super::request::CacheRequest;
use super::response::{BodyResponse, BodySource, CacheResponse, CacheStatus};
use crate::fetch::{BodyReader, Head};
use crate::limits::UpstreamPermit;
use crate::model::{HttpVersion, RangeSpec};

/// Returns whether the body may be sent before the fetch has verified all of it.
pub fn can_stream_unverified(request: &CacheRequest, head: &Head) -> bool {
    // A range can be complete before the whole body has been verified. `If-Match` needs the entity
    // tag, which is known only then.
    let must_wait = request.range.is_some() && !request.expected.is_empty()
        || request.conditions.if_match.is_some();
    // Without a length, only HTTP/1.1 shows the end of the body, and a range cannot be selected.
    !must_wait
        && (head.length.is_some()
            || (request.range.is_none() && request.version == HttpVersion::Http11))
}

/// A body that arrives from the origin.
pub struct ArrivingBody {
    pub reader: BodyReader,
    pub head: Arc<Head>,
    pub permit: UpstreamPermit,
}

/// Returns the response that streams a body while it arrives.
pub fn stream_in_flight(
    request: &CacheRequest,
    representation: Representation,
    body: ArrivingBody,
    status: CacheStatus,
) -> CacheResponse {
    let ArrivingBody {
        reader,
        head,
        permit,
    } = body;
    let range: Option<RangeSpec> = request.range.filter(|_| head.length.is_some());
    let selection = preconditions::select(&request.conditions, range, &representation);
    CacheResponse::Body(Box::new(BodyResponse {
        representation,
        selection,
        source: BodySource::InFlight {
            reader,
            head,
            permit,
        },
        status,
    }))
}
