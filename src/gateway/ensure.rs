//! Stores a target for an operator's job. No client reads the bytes.
//!
//! The main type is [`EnsureOutcome`].

use std::net::{IpAddr, Ipv4Addr};

use super::error::RequestError;
use super::preconditions::Conditions;
use super::request::{CacheRequest, ClientRedirects, Endpoint, FileDelivery, RequestMethod};
use super::response::{BodyResponse, BodySource, CacheResponse};
use crate::limits::RequestCount;
use crate::model::{ExpectedDigests, HttpVersion, RangeSpec, Target};
use crate::policy::{Class, Requester};

/// Result of a target that a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnsureOutcome {
    /// The bytes were stored before.
    StoredBefore,
    /// A fetch has stored them.
    Fetched { size_bytes: u64 },
    /// The response of the origin must not be stored, or cannot be stored now.
    NotStored,
}

/// Waits until the body of a response is stored, and drops it.
///
/// # Errors
/// [`RequestError`], as for a client's request.
pub async fn finish(response: CacheResponse) -> Result<EnsureOutcome, RequestError> {
    match response {
        CacheResponse::Body(response) => wait_stored(*response).await,
        CacheResponse::PassThrough(passed) if passed.status >= 400 => {
            Err(RequestError::Origin(passed.as_error()))
        }
        _ => Ok(EnsureOutcome::NotStored),
    }
}

/// Returns a request of Millpond itself for a target of this class.
///
/// The last byte comes only after the whole file was verified, and a hit reads no more. A range of
/// a file that may change is not stored.
pub fn own_request(target: Target, expected: ExpectedDigests, class: Class) -> CacheRequest {
    CacheRequest {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        endpoint: Endpoint::Gateway,
        delivery: FileDelivery::Direct,
        redirects: ClientRedirects::Never,
        method: RequestMethod::Get,
        version: HttpVersion::Http11,
        target,
        expected,
        range: (class == Class::Immutable).then_some(RangeSpec::Suffix { length: 1 }),
        conditions: Conditions::default(),
        only_if_cached: false,
        requester: Requester::Client,
        user_agent: String::new(),
        has_credentials: false,
        access: None,
        count: RequestCount::New,
        forwarded_headers: Vec::new(),
        body: None,
    }
}

/// Waits until the body of a response is stored.
async fn wait_stored(response: BodyResponse) -> Result<EnsureOutcome, RequestError> {
    match response.source {
        BodySource::InFlight { mut reader, .. } => {
            let record = reader.wait_stored().await?;
            Ok(EnsureOutcome::Fetched {
                size_bytes: record.size_bytes,
            })
        }
        _ if response.status.is_hit() => Ok(EnsureOutcome::StoredBefore),
        _ => Ok(EnsureOutcome::Fetched {
            size_bytes: response.representation.length.unwrap_or_default(),
        }),
    }
}
