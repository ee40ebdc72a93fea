//! The gateway's own few pages.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use actix_web::http::{Method, StatusCode};
use std::sync::atomic::Ordering;

use super::HttpService;
use super::access_log::HEALTH_ENDPOINT;
use crate::cache::DiskHealth;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltinPage {
    Usage,
    /// The process answers.
    Health,
    /// The instance should get requests.
    Readiness,
    Version,
    Robots,
    /// What went wrong lately.
    Incidents,
}

impl BuiltinPage {
    pub fn of_path(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Usage),
            "/healthz" => Some(Self::Health),
            "/readyz" => Some(Self::Readiness),
            "/version" => Some(Self::Version),
            "/api/v1/incidents" => Some(Self::Incidents),
            "/robots.txt" => Some(Self::Robots),
            _ => None,
        }
    }
}

impl BuiltinPage {
    /// Asked for again and again by whoever watches over the service.
    pub fn is_health(self) -> bool {
        matches!(self, Self::Health | Self::Readiness)
    }

    /// The door's name in the log.
    pub fn endpoint(self) -> &'static str {
        if self.is_health() {
            HEALTH_ENDPOINT
        } else {
            "page"
        }
    }
}

impl HttpService {
    pub(super) fn page(&self, page: BuiltinPage, method: &Method) -> HttpResponse {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are for this\n".to_owned(),
            );
        }
        match page {
            BuiltinPage::Usage => text(StatusCode::OK, self.usage()),
            BuiltinPage::Health => text(StatusCode::OK, "alive\n".to_owned()),
            BuiltinPage::Readiness => self.readiness(),
            BuiltinPage::Version => text(
                StatusCode::OK,
                format!("millpond {}\n", env!("CARGO_PKG_VERSION")),
            ),
            // Open to all who may fetch: it shows what asking would show them too, and no secret.
            BuiltinPage::Incidents => {
                json(&serde_json::json!({ "incidents": self.reports.incidents.newest_first() }))
            }
            // What is fetched here by accident is fetched from somebody else.
            BuiltinPage::Robots => text(StatusCode::OK, "User-agent: *\nDisallow: /\n".to_owned()),
        }
    }

    fn readiness(&self) -> HttpResponse {
        if self.is_stopping.load(Ordering::Acquire) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
        }
        let warning = match self.gateway.readiness() {
            DiskHealth::Healthy => None,
            // What it cannot keep passes through it all the same.
            DiskHealth::Full => Some("the disk of the cache is full".to_owned()),
            DiskHealth::WriteError(_) => {
                return text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the cache cannot be written\n".to_owned(),
                );
            }
            DiskHealth::Unresponsive => {
                return text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the disk of the cache does not answer\n".to_owned(),
                );
            }
        };
        let warnings = warning
            .into_iter()
            .chain(self.gateway.bucket_error())
            .chain(self.reports.log.trouble());
        text(
            StatusCode::OK,
            warnings.fold("ready\n".to_owned(), |page, warning| {
                page + &format!("but {warning}\n")
            }),
        )
    }

    fn usage(&self) -> String {
        let settings = self.settings.load();
        let here = settings
            .public_authority
            .as_deref()
            .unwrap_or("this-gateway");
        format!(
            "Millpond keeps upstream source archives, so that builds get the same bytes every time.

Ask for a URL by putting it behind this gateway's own:

    wget http://{here}/https://example.org/x-1.0.tar.gz
    Source0: http://{here}/https://example.org/x-1.0.tar.gz

State what the bytes must be, and you get those or an error:

    curl -LO http://{here}/sha256:<64 hex digits>/https://example.org/x-1.0.tar.gz

Without a scheme https is meant: http://{here}/example.org/x-1.0.tar.gz
"
        )
    }
}

fn text(status: StatusCode, body: String) -> HttpResponse {
    page(status, "text/plain; charset=utf-8", body)
}

fn json(document: &serde_json::Value) -> HttpResponse {
    page(StatusCode::OK, "application/json", format!("{document}\n"))
}

fn page(status: StatusCode, content_type: &'static str, body: String) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(body)
}
