//! Proxy requests: those of the proxy port, and those in absolute form that a trusted nginx
//! forwards to the gateway port. `CONNECT` is in [`super::tunnel`].

use std::net::IpAddr;

use actix_web::http::Method;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};

use super::access_log::{LogUri, RequestLog};
use super::client_info::{RequestOrigin, TargetForm, is_intercepted};
use super::intercepted;
use super::login::require_user;
use super::options;
use super::parse_request::{read_cache_request, reject_loop};
use super::request_body::forward_body;
use super::request_guard::RequestGuard;
use super::responder::Responder;
use super::state::HttpService;
use crate::gateway::{CacheRequest, Endpoint, RequestError, RequestMethod};
use crate::limits::TransferKind;
use crate::metrics::RequestEndpoint;
use crate::model::{ExpectedDigests, Target, TargetError};

/// A proxy request, before it is parsed.
pub struct ProxyRequest<'a> {
    pub request: &'a HttpRequest,
    pub payload: Payload,
    pub origin: &'a RequestOrigin,
}

/// Serves a proxy request of either port.
pub async fn serve(
    proxied: ProxyRequest<'_>,
    service: &HttpService,
    guard: RequestGuard,
) -> HttpResponse {
    let (request, origin) = (proxied.request, proxied.origin);
    if let Err(error) = require_user(service, request, origin, Endpoint::Proxy).await {
        let uri = Target::redact(origin.form.as_str()).into();
        let log = begin_log(service, origin.client, request, uri);
        return Responder::new(request, service, Endpoint::Proxy, log, guard).send_error(&error);
    }
    if options::asks_proxy(request, &origin.form) {
        return serve_options(&proxied, service, guard);
    }
    let ProxyRequest {
        request,
        payload,
        origin,
    } = proxied;
    let parsed = read_proxy_request(request, origin, service.name.as_str());
    let uri = match &parsed {
        Ok(cache_request) => LogUri::Target(cache_request.target.clone()),
        Err(_) => Target::redact(origin.form.as_str()).into(),
    };
    let log = begin_log(service, origin.client, request, uri);
    let responder = Responder::new(request, service, Endpoint::Proxy, log, guard);
    match parsed {
        Ok(mut cache_request) => {
            if matches!(cache_request.method, RequestMethod::Other(_)) {
                options::count_hop(request, &mut cache_request.forwarded_headers);
                add_body(&mut cache_request, request, payload, service);
            }
            responder.serve(cache_request).await
        }
        // A malformed request counts too, and a denied client learns nothing else.
        Err(error) => {
            let kind = TransferKind::Download;
            let admitted = service.gateway.admit_client(origin.client, kind);
            responder.send_error(&admitted.err().unwrap_or(error))
        }
    }
}

fn begin_log(
    service: &HttpService,
    client: IpAddr,
    request: &HttpRequest,
    uri: LogUri,
) -> RequestLog {
    let method = request.method().as_str();
    let mut log = service
        .begin_log(client, RequestEndpoint::Proxy, method, uri)
        .with_user_agent(request.headers());
    if is_intercepted(request) {
        log.mark_intercepted();
    }
    log
}

/// Answers a request for the options of this node, which counts as one of its client.
fn serve_options(
    proxied: &ProxyRequest<'_>,
    service: &HttpService,
    guard: RequestGuard,
) -> HttpResponse {
    let ProxyRequest {
        request, origin, ..
    } = proxied;
    let uri = Target::redact(origin.form.as_str()).into();
    let log = begin_log(service, origin.client, request, uri);
    let responder = Responder::new(request, service, Endpoint::Proxy, log, guard);
    match service
        .gateway
        .admit_client(origin.client, TransferKind::Download)
    {
        Ok(_) => responder.send_page(options::page(Endpoint::Proxy)),
        Err(error) => responder.send_error(&error),
    }
}

/// Adds the request body, with its length if the client stated one.
fn add_body(
    cache_request: &mut CacheRequest,
    request: &HttpRequest,
    payload: Payload,
    service: &HttpService,
) {
    let stall_timeout = service.settings.load().stall_timeout;
    cache_request.body = Some(forward_body(request, payload, stall_timeout));
    if let Some(length) = request.headers().get("content-length") {
        let field = ("content-length".to_owned(), length.as_bytes().to_vec());
        cache_request.forwarded_headers.push(field);
    }
}

/// Parses a proxy request. `name` is the name of this node in `Via`.
fn read_proxy_request(
    request: &HttpRequest,
    origin: &RequestOrigin,
    name: &str,
) -> Result<CacheRequest, RequestError> {
    reject_loop(request.headers(), name)?;
    // A CONNECT without a body is a tunnel and never comes here.
    if *request.method() == Method::CONNECT {
        return Err(RequestError::BadRequest("a CONNECT has no body".to_owned()));
    }
    let TargetForm::Absolute(uri) = &origin.form else {
        return Err(RequestError::BadRequest(
            "this port is a proxy: \
             set http_proxy to it, or ask the gateway port like /https://host/path"
                .to_owned(),
        ));
    };
    // The response to a TRACE contains the client's headers (RFC 9110, section 9.3.8).
    if *request.method() == Method::TRACE {
        return Err(RequestError::MethodNotSupported(
            request.method().to_string(),
        ));
    }
    let target = Target::parse(uri).map_err(|error| match error {
        TargetError::TooLong => RequestError::TargetTooLong(error.to_string()),
        error => RequestError::BadRequest(error.to_string()),
    })?;
    intercepted::check(request, &target)?;
    let expected = ExpectedDigests::nothing();
    read_cache_request(request, origin, Endpoint::Proxy, target, expected)
}
