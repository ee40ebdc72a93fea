//! The gateway port: prefixed URLs, the built-in pages, the API, and the proxy requests that a
//! trusted nginx forwards.

use actix_web::http::Method;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};

use super::access_log::{LogUri, RequestLog};
use super::api::{self, ApiRequest};
use super::builtin_pages::{self, BuiltinPage};
use super::client_info::{RequestOrigin, TargetForm};
use super::parse_request::{read_cache_request, reject_loop};
use super::proxy_endpoint;
use super::responder::Responder;
use super::state::HttpService;
use crate::gateway::{CacheRequest, Endpoint, PrefixedUrl, RequestError};
use crate::limits::TransferKind;
use crate::model::Target;

/// Serves a request of the gateway port.
pub async fn serve(request: &HttpRequest, payload: Payload, service: &HttpService) -> HttpResponse {
    let origin = RequestOrigin::from_gateway_port(request, &service.settings.load());
    if origin.is_forwarded_proxy_request() {
        return Box::pin(proxy_endpoint::serve(request, payload, service, &origin)).await;
    }
    let respond = |endpoint, uri: LogUri| {
        let log = RequestLog::begin(origin.client, endpoint, request.method().as_str(), uri);
        Responder::new(request, service, Endpoint::Gateway, log)
    };
    let page = origin.path().and_then(BuiltinPage::from_path);
    let serve_page = |page: BuiltinPage| {
        let path = origin.path().unwrap_or_default().to_owned();
        respond(page.endpoint(), path.into()).send_page(builtin_pages::serve(
            page,
            request.method(),
            service,
        ))
    };
    if let Some(page) = page.filter(|page| page.is_health() && origin.is_loopback()) {
        return serve_page(page);
    }
    let client = match service
        .gateway
        .admit_client(origin.client, TransferKind::Download)
    {
        Ok(client) => client,
        Err(error) => {
            return respond("gateway", Target::redact(origin.form.as_str()).into())
                .send_error(&error);
        }
    };
    if let Some(page) = page {
        return serve_page(page);
    }
    if let Some((path, query)) = api::path_and_query(&origin.form) {
        let api_request = ApiRequest {
            service,
            request,
            payload,
            path,
            query,
        };
        let responder = respond("api", path.to_owned().into());
        return Box::pin(api::serve(api_request, client, responder)).await;
    }
    match read_gateway_request(request, &origin, service.name.as_str()) {
        Ok(cache_request) => {
            let log_uri = LogUri::Target(cache_request.target.clone());
            respond("gateway", log_uri)
                .serve(cache_request, client)
                .await
        }
        Err(error) => {
            respond("gateway", Target::redact(origin.form.as_str()).into()).send_error(&error)
        }
    }
}

/// Parses a request with a prefixed URL. `name` is the name of this node in `Via`.
fn read_gateway_request(
    request: &HttpRequest,
    origin: &RequestOrigin,
    name: &str,
) -> Result<CacheRequest, RequestError> {
    let TargetForm::Origin(path_and_query) = &origin.form else {
        return Err(RequestError::Misdirected(
            "this is a proxy request, and this port is no proxy: \
             use the proxy port, or ask like /https://host/path"
                .to_owned(),
        ));
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(RequestError::MethodNotSupported(
            request.method().to_string(),
        ));
    }
    reject_loop(request.headers(), name)?;
    // RFC 9112, section 3.2: the origin form begins with a slash. Every other request target comes
    // from a malformed request line.
    if !path_and_query.starts_with('/') {
        return Err(RequestError::BadRequest(
            "the request line is malformed; ask like /https://host/path".to_owned(),
        ));
    }
    // The parser gets the bytes as the client sent them. Percent-decoding here would change some
    // targets.
    let PrefixedUrl { target, expected } = PrefixedUrl::parse(path_and_query)?;
    read_cache_request(request, origin, Endpoint::Gateway, target, expected)
}
