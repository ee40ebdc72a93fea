//! The gateway port: prefixed URLs, the built-in pages, the API, and the proxy requests that a
//! trusted nginx forwards.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};

use super::access_log::LogUri;
use super::api::{self, ApiRequest};
use super::builtin_pages::{self, BuiltinPage};
use super::client_info::{RequestOrigin, TargetForm};
use super::host_mapping::MappedRequest;
use super::index_endpoint::{self, IndexRequest};
use super::login::require_user;
use super::metrics_page::{self, METRICS_PATH};
use super::mirror_endpoint;
use super::mirror_request::MirrorRequest;
use super::parse_request::{read_cache_request, reject_unreadable};
use super::proxy_endpoint::ProxyRequest;
use super::request_guard::RequestGuard;
use super::responder::Responder;
use super::state::HttpService;
use super::ui_endpoint::{self, UiRequest};
use super::{options, proxy_endpoint};
use crate::dialects::MirrorPath;
use crate::gateway::{CacheRequest, Endpoint, PrefixedUrl, RequestError};
use crate::limits::{PendingTransfer, TransferKind};
use crate::metrics::RequestEndpoint;
use crate::model::{ExpectedDigests, Target};

/// Serves a request of the gateway port, or one for it that came through the proxy port.
pub async fn serve(
    request: &HttpRequest,
    payload: Payload,
    service: &HttpService,
    origin: RequestOrigin,
    guard: RequestGuard,
) -> HttpResponse {
    let mapped = MappedRequest::of(request, &origin, &service.settings.load());
    if let Some(mapped) = mapped {
        return Box::pin(serve_mapped(request, service, &origin, &mapped, guard)).await;
    }
    if let Some(path) = index_endpoint::index_path(&origin.form) {
        let indexed = IndexRequest {
            service,
            request,
            origin: &origin,
            path,
        };
        return Box::pin(index_endpoint::serve(indexed, guard)).await;
    }
    if origin.is_forwarded_proxy_request() {
        let proxied = ProxyRequest {
            request,
            payload,
            origin: &origin,
        };
        return Box::pin(proxy_endpoint::serve(proxied, service, guard)).await;
    }
    Box::pin(serve_own_name(request, payload, service, &origin, guard)).await
}

/// Serves a request in origin form for the gateway itself: a page, the API, or a target.
async fn serve_own_name(
    request: &HttpRequest,
    payload: Payload,
    service: &HttpService,
    origin: &RequestOrigin,
    guard: RequestGuard,
) -> HttpResponse {
    let respond = |endpoint, uri: LogUri| {
        let log = service
            .begin_log(origin.client, endpoint, request.method().as_str(), uri)
            .with_user_agent(request.headers());
        Responder::new(request, service, Endpoint::Gateway, log, guard)
    };
    let error = match Destination::of(request, origin) {
        Destination::Metrics => {
            let responder = respond(RequestEndpoint::Metrics, METRICS_PATH.to_owned().into());
            let page = metrics_page::serve(request, service, origin.client, responder);
            return Box::pin(page).await;
        }
        Destination::Page(page) => match admit_page(page, origin, service) {
            Ok(()) => {
                let path = origin.path().unwrap_or_default().to_owned();
                let response = builtin_pages::serve(page, request, service);
                return respond(page.endpoint(), path.into()).send_page(response);
            }
            Err(error) => error,
        },
        Destination::Options => match admit_client(origin, service) {
            Ok(_) => {
                let page = options::page(Endpoint::Gateway);
                return respond(RequestEndpoint::Gateway, "*".to_owned().into()).send_page(page);
            }
            Err(error) => error,
        },
        Destination::Api { path, query } => match admit_client(origin, service) {
            Ok(transfer) => {
                let responder = respond(RequestEndpoint::Api, path.to_owned().into());
                let api_request = ApiRequest {
                    service,
                    request,
                    origin,
                    payload,
                    path,
                    query,
                };
                return Box::pin(api::serve(api_request, transfer, responder)).await;
            }
            Err(error) => error,
        },
        Destination::Ui { path, query } => match admit_client(origin, service) {
            Ok(_) => {
                let responder = respond(RequestEndpoint::Page, path.to_owned().into());
                let ui_request = UiRequest {
                    service,
                    request,
                    origin,
                    path,
                    query,
                };
                return Box::pin(ui_endpoint::serve(ui_request, responder)).await;
            }
            Err(error) => error,
        },
        Destination::Mirror(path) => {
            let uri = Target::redact(origin.form.as_str()).into();
            let responder = respond(RequestEndpoint::Mirror, uri);
            let mirror = MirrorRequest {
                service,
                request,
                origin,
                payload,
                path,
            };
            return Box::pin(mirror_endpoint::serve(mirror, responder)).await;
        }
        Destination::Target => match read_for_user(request, origin, service, None).await {
            Ok(cache_request) => {
                let log_uri = LogUri::Target(cache_request.target.clone());
                let responder = respond(RequestEndpoint::Gateway, log_uri);
                return responder.serve(cache_request).await;
            }
            Err(error) => error,
        },
    };
    let uri = Target::redact(origin.form.as_str()).into();
    respond(RequestEndpoint::Gateway, uri).send_error(&error)
}

/// Serves a request at a name of `[[hosts]]`.
async fn serve_mapped(
    request: &HttpRequest,
    service: &HttpService,
    origin: &RequestOrigin,
    mapped: &MappedRequest,
    guard: RequestGuard,
) -> HttpResponse {
    let read = read_for_user(request, origin, service, Some(mapped)).await;
    let log_uri = match &read {
        Ok(cache_request) => LogUri::Target(cache_request.target.clone()),
        Err(_) => Target::redact(origin.form.as_str()).into(),
    };
    let method = request.method().as_str();
    let log = service
        .begin_log(origin.client, RequestEndpoint::Gateway, method, log_uri)
        .with_user_agent(request.headers());
    let responder = Responder::new(request, service, Endpoint::Gateway, log, guard);
    match read {
        Ok(cache_request) => {
            let mut response = responder.serve(cache_request).await;
            mapped.correct_location(&mut response, &service.settings.load());
            response
        }
        Err(error) => responder.send_error(&error),
    }
}

/// The part of the gateway that a request is for.
enum Destination<'a> {
    Metrics,
    Page(BuiltinPage),
    /// `OPTIONS *`.
    Options,
    Api {
        path: &'a str,
        query: &'a str,
    },
    /// The operators' page.
    Ui {
        path: &'a str,
        query: &'a str,
    },
    /// A file or an index below `/mirror/`.
    Mirror(MirrorPath<'a>),
    Target,
}

impl<'a> Destination<'a> {
    fn of(request: &HttpRequest, origin: &'a RequestOrigin) -> Self {
        let path = origin
            .path()
            .filter(|_| !PrefixedUrl::is_parameter(origin.form.as_str()));
        if path == Some(METRICS_PATH) {
            Self::Metrics
        } else if let Some(page) = path.and_then(BuiltinPage::from_path) {
            Self::Page(page)
        } else if options::asks_gateway(request, &origin.form) {
            Self::Options
        } else if let Some((path, query)) = api::path_and_query(&origin.form) {
            Self::Api { path, query }
        } else if let Some((path, query)) = ui_endpoint::path_and_query(&origin.form) {
            Self::Ui { path, query }
        } else if let Some(path) = mirror_endpoint::mirror_path(&origin.form) {
            Self::Mirror(path)
        } else {
            Self::Target
        }
    }
}

/// Checks whether a client may see a page. Health checks of this machine do not count.
fn admit_page(
    page: BuiltinPage,
    origin: &RequestOrigin,
    service: &HttpService,
) -> Result<(), RequestError> {
    if page.is_health() && origin.is_loopback() {
        return Ok(());
    }
    admit_client(origin, service).map(drop)
}

fn admit_client(
    origin: &RequestOrigin,
    service: &HttpService,
) -> Result<PendingTransfer, RequestError> {
    let kind = TransferKind::Download;
    service.gateway.admit_client(origin.client, kind)
}

/// Checks the login of a request for a target, and parses the request.
async fn read_for_user(
    request: &HttpRequest,
    origin: &RequestOrigin,
    service: &HttpService,
    mapped: Option<&MappedRequest>,
) -> Result<CacheRequest, RequestError> {
    require_user(service, request, origin, Endpoint::Gateway).await?;
    let read = || {
        reject_unreadable(request, service.name.as_str())?;
        // The parser gets the bytes as the client sent them. Percent-decoding here would change
        // some targets.
        let PrefixedUrl { target, expected } = match mapped {
            Some(mapped) => PrefixedUrl {
                target: mapped.target()?,
                expected: ExpectedDigests::nothing(),
            },
            None => PrefixedUrl::parse(prefixed_path(origin)?)?,
        };
        read_cache_request(request, origin, Endpoint::Gateway, target, expected)
    };
    // A malformed request counts too, and a denied client learns nothing else.
    read().map_err(|error| admit_client(origin, service).err().unwrap_or(error))
}

/// Returns the path and query of a request with a prefixed URL.
fn prefixed_path(origin: &RequestOrigin) -> Result<&str, RequestError> {
    match &origin.form {
        // RFC 9112, section 3.2: the origin form begins with a slash. Every other request target
        // comes from a malformed request line.
        TargetForm::Origin(path_and_query) if path_and_query.starts_with('/') => Ok(path_and_query),
        TargetForm::Origin(_) => Err(RequestError::BadRequest(
            "the request line is malformed; ask like /https://host/path".to_owned(),
        )),
        TargetForm::Absolute(_) => Err(RequestError::Misdirected(
            "this is a proxy request, and this port is no proxy: \
             use the proxy port, or ask like /https://host/path"
                .to_owned(),
        )),
    }
}
