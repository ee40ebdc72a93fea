//! Requests that pass through to the origin. Nothing of their responses is stored.

use super::error::RequestError;
use super::request::{CacheRequest, Endpoint, RequestMethod};
use super::response::CacheResponse;
use super::services::GatewayServices;
use crate::freshness::Staleness;
use crate::limits::PassThroughPermit;
use crate::model::{ExpectedDigests, HttpVersion};
use crate::passthrough::{Method, PassThroughRequest, PassThroughResponse};
use crate::policy::{Admitted, Class};

/// Largest body of unknown length that is buffered for an HTTP/1.0 client, in bytes. Such a client
/// cannot distinguish its end from a broken connection.
const MAX_BUFFERED_BYTES: u64 = 1 << 20;

/// Header fields that are not forwarded if the body must have a digest. A digest is that of the
/// whole body without content coding.
pub const NOT_FORWARDED_WITH_DIGEST: [&str; 3] = ["range", "if-range", "accept-encoding"];

/// Passes a request through to the origin, once the host may be asked. A response that has begun
/// counts for its client only. `if_unreachable` says whether a stored response can answer.
///
/// # Errors
/// - [`RequestError::Busy`] without a permit
/// - [`RequestError::Origin`] if the origin fails, or answers the gateway endpoint with an error
/// - [`RequestError::WrongFileType`] if the first bytes do not match the name
/// - [`RequestError::BadRequest`] if an HTTP/1.0 client cannot get a body of unknown length
pub async fn pass_through(
    services: &GatewayServices,
    admitted: &Admitted,
    request: CacheRequest,
    if_unreachable: Staleness,
) -> Result<CacheResponse, RequestError> {
    // The permit of the host comes first: requests that wait for a slow host must not hold permits
    // that other hosts need.
    let fetcher = &services.fetcher;
    let host_permit = fetcher
        .acquire_lone_permit(admitted, if_unreachable)
        .await?;
    let (pool_client, host) = (admitted.pool_client(), admitted.target().host());
    let permit = services
        .upstream
        .acquire_pass_through_permit(pool_client, host);
    let permit = permit.await?;
    let client = ClientFacts::new(&request);
    let response = services
        .passthrough
        .send(admitted, to_origin_request(request))
        .await
        .map_err(RequestError::Origin)?;
    drop(host_permit);
    deliver(response, permit, admitted, &client).await
}

/// Facts about a request that the form of its response depends on.
pub struct ClientFacts {
    method: RequestMethod,
    endpoint: Endpoint,
    version: HttpVersion,
}

impl ClientFacts {
    pub fn new(request: &CacheRequest) -> Self {
        Self {
            method: request.method.clone(),
            endpoint: request.endpoint,
            version: request.version,
        }
    }
}

/// Checks a response of the origin, and passes it to the client.
///
/// If redirects led to a web page, a client of the gateway endpoint is sent to the last one. Links
/// in the page would be resolved against the wrong URL otherwise.
///
/// # Errors
/// As [`pass_through`].
pub async fn deliver(
    mut response: PassThroughResponse,
    permit: PassThroughPermit,
    admitted: &Admitted,
    client: &ClientFacts,
) -> Result<CacheResponse, RequestError> {
    response.permit = Some(permit);
    if client.endpoint == Endpoint::Gateway
        && let Some(page) = response.page_target.take()
    {
        return Ok(CacheResponse::PageRedirect(page));
    }
    match response.status {
        // The origin has evaluated the client's own range or condition.
        412 | 416 => {}
        400.. if client.endpoint == Endpoint::Gateway => {
            return Err(RequestError::Origin(response.as_error()));
        }
        200 | 203 | 226 if client.method == RequestMethod::Get => {
            check_file_type(admitted, &mut response).await?;
        }
        _ => {}
    }
    if client.version == HttpVersion::Http10 && client.method != RequestMethod::Head {
        require_length(&mut response).await?;
    }
    Ok(CacheResponse::PassThrough(Box::new(response)))
}

fn to_origin_request(request: CacheRequest) -> PassThroughRequest {
    let expected = match request.method {
        RequestMethod::Get => request.expected,
        RequestMethod::Head | RequestMethod::Other(_) => ExpectedDigests::nothing(),
    };
    let mut headers = request.forwarded_headers;
    if !expected.is_empty() {
        headers.retain(|(name, _)| !NOT_FORWARDED_WITH_DIGEST.contains(&name.as_str()));
    }
    PassThroughRequest {
        method: match request.method {
            RequestMethod::Get => Method::Get,
            RequestMethod::Head => Method::Head,
            RequestMethod::Other(name) => Method::Other(name),
        },
        version: request.version,
        headers,
        body: request.body,
        follow_redirects: request.endpoint == Endpoint::Gateway,
        expected,
    }
}

async fn check_file_type(
    admitted: &Admitted,
    response: &mut PassThroughResponse,
) -> Result<(), RequestError> {
    let is_checked = match admitted.class() {
        Class::Immutable => !admitted.may_be_page(),
        Class::Revalidate | Class::PassThrough => false,
    };
    if !is_checked {
        return Ok(());
    }
    let checked = response.check_file_type(admitted.file_type()).await;
    checked
        .map_err(RequestError::Origin)?
        .map_err(RequestError::WrongFileType)
}

/// Buffers a body of unknown length, so that its length is known.
async fn require_length(response: &mut PassThroughResponse) -> Result<(), RequestError> {
    if response.length.is_some() {
        return Ok(());
    }
    let is_complete = response.buffer_to_end(MAX_BUFFERED_BYTES).await;
    if is_complete.map_err(RequestError::Origin)? {
        Ok(())
    } else {
        Err(RequestError::BadRequest(
            "the origin does not state the length of this body, and HTTP/1.0 cannot mark its end; \
             use HTTP/1.1"
                .to_owned(),
        ))
    }
}
