//! Requests of nodes of the cluster for targets.
//!
//! A peer proves the secret by a mark. It then needs no login, gets the bytes from this node only,
//! and a proof of the head of each answer.

use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};

use super::access_log::LogUri;
use super::client_info::RequestOrigin;
use super::parse_request::{read_cache_request, reject_loop, single};
use super::request_guard::RequestGuard;
use super::responder::Responder;
use super::state::HttpService;
use crate::cluster::{
    FETCH_METHOD, MARK_FIELD, MarkedRequest, PROOF_FIELD, PeerProof, PeerTraffic, SENDER_FIELD,
    proven_content,
};
use crate::gateway::{
    CacheRequest, ClientRedirects, Endpoint, FileDelivery, PrefixedUrl, RequestError, RequestMethod,
};
use crate::limits::TransferKind;
use crate::metrics::RequestEndpoint;
use crate::model::Target;
use crate::policy::Requester;

/// Returns whether a request states that it comes from a node of the cluster.
pub fn has_mark(request: &HttpRequest, service: &HttpService) -> bool {
    service.cluster.key().is_some() && request.headers().contains_key(MARK_FIELD)
}

/// Returns the counts of the peer that has sent a request, whose mark was checked.
pub fn sender_of(headers: &HeaderMap, service: &HttpService) -> Option<Arc<PeerTraffic>> {
    let id = single(headers, SENDER_FIELD)?;
    service.cluster.traffic_with(id)
}

/// Request of a peer whose mark was checked.
struct PeerRequest {
    proof: PeerProof,
    cache_request: CacheRequest,
}

/// Serves a request of a node of the cluster for the target in a path.
pub async fn serve(
    request: &HttpRequest,
    service: &HttpService,
    origin: &RequestOrigin,
    path: Result<&str, RequestError>,
    guard: RequestGuard,
) -> HttpResponse {
    let read = path.and_then(|path| read(request, service, origin, path));
    let log_uri = match &read {
        Ok(peer) => LogUri::Target(peer.cache_request.target.clone()),
        Err(_) => Target::redact(origin.form.as_str()).into(),
    };
    let method = request.method().as_str();
    let log = service
        .begin_log(origin.client, RequestEndpoint::Gateway, method, log_uri)
        .with_user_agent(request.headers());
    let responder = Responder::new(request, service, Endpoint::Gateway, log, guard).for_peer();
    let PeerRequest {
        proof,
        cache_request,
    } = match read {
        Ok(peer) => peer,
        Err(error) => {
            // A denied client learns nothing else.
            let kind = TransferKind::Download;
            let denied = service.gateway.admit_client(origin.client, kind).err();
            return responder.send_error(&denied.unwrap_or(error));
        }
    };
    let responder = responder.counted_for(sender_of(request.headers(), service));
    let target = cache_request.target.clone();
    let mut response = if *request.method() == Method::POST {
        match service.gateway.accept_peer(&cache_request).await {
            Ok(()) => responder.send_page(HttpResponse::new(StatusCode::ACCEPTED)),
            Err(error) => responder.send_error(&error),
        }
    } else {
        match service.images.content_for_peer(&cache_request).await {
            Some(Ok(download)) => responder.send_download(download),
            Some(Err(error)) => responder.send_error(&error),
            None => responder.serve(cache_request).await,
        }
    };
    add_proof(&mut response, service, proof, &target);
    response
}

/// Checks the mark of a request, and reads the request.
fn read(
    request: &HttpRequest,
    service: &HttpService,
    origin: &RequestOrigin,
    path: &str,
) -> Result<PeerRequest, RequestError> {
    let PrefixedUrl { target, expected } = PrefixedUrl::parse(path)?;
    let received = MarkedRequest {
        recipient: &service.cluster.own().run,
        method: request.method().as_str(),
        target: target.as_str(),
    };
    let mark = single(request.headers(), MARK_FIELD).unwrap_or_default();
    let proof = service.cluster.verify(received, mark)?;
    reject_loop(request.headers(), service.name.as_str())?;
    let read = read_cache_request(request, origin, Endpoint::Gateway, target, expected)?;
    let method = match read.method {
        // The peer requests the bytes next.
        RequestMethod::Other(method) if method == FETCH_METHOD => RequestMethod::Get,
        RequestMethod::Other(method) => return Err(RequestError::MethodNotSupported(method)),
        method => method,
    };
    let cache_request = CacheRequest {
        requester: Requester::Peer,
        redirects: ClientRedirects::Never,
        delivery: FileDelivery::Direct,
        method,
        ..read
    };
    Ok(PeerRequest {
        proof,
        cache_request,
    })
}

/// Adds the proof of the head of an answer.
fn add_proof(
    response: &mut HttpResponse,
    service: &HttpService,
    proof: PeerProof,
    target: &Target,
) {
    let Some(key) = service.cluster.key() else {
        return;
    };
    let field = |name: &str| {
        let values = response.headers().get_all(name);
        let values = values.filter_map(|value| value.to_str().ok());
        values.collect::<Vec<_>>().join(",")
    };
    let content = proven_content(target, response.status().as_u16(), field);
    let proof = key.prove(proof, &content);
    if let Ok(proof) = HeaderValue::from_str(&proof) {
        let name = HeaderName::from_static(PROOF_FIELD);
        response.headers_mut().insert(name, proof);
    }
}
