//! The built-in pages of the gateway port: usage, health, readiness, version, `robots.txt`, and
//! the page of the API.
//!
//! The main type is [`BuiltinPage`].

use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};

use super::error_response::allowed_methods;
use super::state::HttpService;
use super::swagger::{self, SwaggerFile};
use super::usage_page::UsagePage;
use crate::cache::DiskHealth;
use crate::gateway::Endpoint;
use crate::metrics::RequestEndpoint;

/// A page that Millpond serves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltinPage {
    Usage,
    /// Whether the process answers at all.
    Health,
    /// Whether this instance should get requests.
    Readiness,
    Version,
    Robots,
    /// A file of the page that describes the API.
    Swagger(SwaggerFile),
}

impl BuiltinPage {
    /// Returns the page at a path without its query, if there is one.
    pub fn from_path(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Usage),
            "/healthz" => Some(Self::Health),
            "/readyz" => Some(Self::Readiness),
            "/version" => Some(Self::Version),
            "/robots.txt" => Some(Self::Robots),
            _ => SwaggerFile::from_path(path).map(Self::Swagger),
        }
    }

    /// Whether monitoring systems request the page periodically.
    pub fn is_health(self) -> bool {
        matches!(self, Self::Health | Self::Readiness)
    }

    /// Returns the endpoint in the access log and the metrics.
    pub fn endpoint(self) -> RequestEndpoint {
        if self.is_health() {
            RequestEndpoint::Health
        } else {
            RequestEndpoint::Page
        }
    }
}

/// Renders a page.
pub fn serve(page: BuiltinPage, request: &HttpRequest, service: &HttpService) -> HttpResponse {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let body = "only GET and HEAD are for this\n".to_owned();
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, body);
        let allowed = HeaderValue::from_static(allowed_methods(Endpoint::Gateway));
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match page {
        BuiltinPage::Usage => UsagePage::for_request(request, &service.settings.load()).render(),
        BuiltinPage::Health => text(StatusCode::OK, "alive\n".to_owned()),
        BuiltinPage::Readiness => match readiness(service) {
            Ok(warnings) => text(StatusCode::OK, ready_page(&warnings)),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        },
        BuiltinPage::Version => {
            let version = env!("CARGO_PKG_VERSION");
            text(StatusCode::OK, format!("millpond {version}\n"))
        }
        // A search engine would make Millpond fetch the targets of links.
        BuiltinPage::Swagger(file) => swagger::serve(file, request),
        BuiltinPage::Robots => text(StatusCode::OK, "User-agent: *\nDisallow: /\n".to_owned()),
    }
}

/// Returns the warnings of an instance that should get requests.
///
/// # Errors
/// The reason why the instance should get no requests.
pub fn readiness(service: &HttpService) -> Result<Vec<String>, &'static str> {
    if service.is_stopping() {
        return Err("stopping");
    }
    let warning = match service.gateway.disk_health() {
        DiskHealth::Healthy => None,
        // Requests still pass through.
        DiskHealth::Full => Some("the disk of the cache is full".to_owned()),
        DiskHealth::WriteError(_) => return Err("the cache cannot be written"),
        DiskHealth::Unresponsive => return Err("the disk of the cache does not answer"),
    };
    let warnings = warning
        .into_iter()
        .chain(service.gateway.index_error())
        .chain(service.operators.admin.token_trouble())
        .chain(service.gateway.bucket_error())
        .chain(index_trouble(service))
        .chain(service.reports.log.trouble());
    Ok(warnings.collect())
}

/// Returns a warning if the nodes' index cannot be used. Address and reason are in the log only.
fn index_trouble(service: &HttpService) -> Option<String> {
    let failure = service.cluster.shared_index()?.failure()?;
    let reason = failure.summary();
    Some(format!("the cluster has no shared index, because {reason}"))
}

/// Returns the body of `/readyz` of an instance that is ready.
fn ready_page(warnings: &[String]) -> String {
    warnings.iter().fold("ready\n".to_owned(), |page, warning| {
        page + &format!("but {warning}\n")
    })
}

fn text(status: StatusCode, body: String) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body)
}
