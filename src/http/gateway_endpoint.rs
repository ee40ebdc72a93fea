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
use super::registry_endpoint::{self, RegistryRequest};
use super::request_guard::RequestGuard;
use super::responder::Responder;
use super::state::HttpService;
use super::ui_endpoint::{self, UiRequest};
use super::{options, peer_request, proxy_endpoint};
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
    if let Some(path) = registry_endpoint::registry_path(&origin.form, service) {
        let registry = RegistryRequest {
            service,
            request,
            origin: &origin,
            path,
        };
        return Box::pin(registry_endpoint::serve(registry, guard)).await;
    }
    if origin.is_forwarded_proxy_request() {
        let proxied = ProxyRequest {
            request,
            payload,
            origin: &origin,
        };
        return Box::pin(proxy_endpoint::serve(proxied, service, guard)).await;
    }
    let own = OwnRequest {
        request,
        service,
        origin: &origin,
        guard,
    };
    Box::pin(serve_own_name(own, payload)).await
}

/// Serves a request in origin form for the gateway itself: a page, the API, or a target.
async fn serve_own_name(own: OwnRequest<'_>, payload: Payload) -> HttpResponse {
    match Destination::of(own.request, own.origin) {
        Destination::Metrics => own.serve_metrics().await,
        Destination::Page(page) => own.serve_page(page),
        Destination::Options => own.serve_options(),
        Destination::Api(place) => own.serve_api(place, payload).await,
        Destination::Ui(place) => own.serve_ui(place).await,
        Destination::Mirror(path) => own.serve_mirror(path, payload).await,
        Destination::Target => own.serve_target().await,
    }
}

/// A request for the gateway itself.
struct OwnRequest<'a> {
    request: &'a HttpRequest,
    service: &'a HttpService,
    origin: &'a RequestOrigin,
    guard: RequestGuard,
}

impl<'a> OwnRequest<'a> {
    async fn serve_metrics(self) -> HttpResponse {
        let (request, service, client) = (self.request, self.service, self.origin.client);
        let responder = self.respond(RequestEndpoint::Metrics, METRICS_PATH.to_owned().into());
        Box::pin(metrics_page::serve(request, service, client, responder)).await
    }

    fn serve_page(self, page: BuiltinPage) -> HttpResponse {
        if let Err(error) = admit_page(page, self.origin, self.service) {
            return self.reject(&error);
        }
        let path = self.origin.path().unwrap_or_default().to_owned();
        let response = builtin_pages::serve(page, self.request, self.service);
        self.respond(page.endpoint(), path.into())
            .send_page(response)
    }

    fn serve_options(self) -> HttpResponse {
        if let Err(error) = admit_client(self.origin, self.service) {
            return self.reject(&error);
        }
        let page = options::page(Endpoint::Gateway);
        self.respond(RequestEndpoint::Gateway, "*".to_owned().into())
            .send_page(page)
    }

    async fn serve_api(self, (path, query): (&str, &str), payload: Payload) -> HttpResponse {
        let transfer = match admit_client(self.origin, self.service) {
            Ok(transfer) => transfer,
            Err(error) => return self.reject(&error),
        };
        let api_request = ApiRequest {
            service: self.service,
            request: self.request,
            origin: self.origin,
            payload,
            path,
            query,
        };
        let responder = self.respond(RequestEndpoint::Api, path.to_owned().into());
        Box::pin(api::serve(api_request, transfer, responder)).await
    }

    async fn serve_ui(self, (path, query): (&str, &str)) -> HttpResponse {
        if let Err(error) = admit_client(self.origin, self.service) {
            return self.reject(&error);
        }
        let ui_request = UiRequest {
            service: self.service,
            request: self.request,
            origin: self.origin,
            path,
            query,
        };
        let responder = self.respond(RequestEndpoint::Page, path.to_owned().into());
        Box::pin(ui_endpoint::serve(ui_request, responder)).await
    }

    async fn serve_mirror(self, path: MirrorPath<'_>, payload: Payload) -> HttpResponse {
        let mirror = MirrorRequest {
            service: self.service,
            request: self.request,
            origin: self.origin,
            payload,
            path,
        };
        let uri = Target::redact(self.origin.form.as_str()).into();
        let responder = self.respond(RequestEndpoint::Mirror, uri);
        Box::pin(mirror_endpoint::serve(mirror, responder)).await
    }

    async fn serve_target(self) -> HttpResponse {
        if peer_request::has_mark(self.request, self.service) {
            let path = prefixed_path(self.origin);
            let (request, service, origin) = (self.request, self.service, self.origin);
            let serving = peer_request::serve(request, service, origin, path, self.guard);
            return Box::pin(serving).await;
        }
        match read_for_user(self.request, self.origin, self.service, None).await {
            Ok(cache_request) => {
                let log_uri = LogUri::Target(cache_request.target.clone());
                let responder = self.respond(RequestEndpoint::Gateway, log_uri);
                responder.serve(cache_request).await
            }
            Err(error) => self.reject(&error),
        }
    }

    fn reject(self, error: &RequestError) -> HttpResponse {
        let uri = Target::redact(self.origin.form.as_str()).into();
        self.respond(RequestEndpoint::Gateway, uri)
            .send_error(error)
    }

    /// Begins the log entry of the response.
    fn respond(self, endpoint: RequestEndpoint, uri: LogUri) -> Responder<'a> {
        let method = self.request.method().as_str();
        let log = self
            .service
            .begin_log(self.origin.client, endpoint, method, uri)
            .with_user_agent(self.request.headers());
        Responder::new(
            self.request,
            self.service,
            Endpoint::Gateway,
            log,
            self.guard,
        )
    }
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
    /// Path and query below the API.
    Api((&'a str, &'a str)),
    /// Path and query below the operators' page.
    Ui((&'a str, &'a str)),
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
        } else if let Some(place) = api::path_and_query(&origin.form) {
            Self::Api(place)
        } else if let Some(place) = ui_endpoint::path_and_query(&origin.form) {
            Self::Ui(place)
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
