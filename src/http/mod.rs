//! The doors: the only room that knows actix.
//!
//! It reads requests into what the request path understands and renders what comes back. It decides
//! nothing about caching: statuses are made in one match, in [`error_response`]. Its main type is
//! [`HttpService`].

mod access_log;
mod api;
mod body;
mod builtin_pages;
mod client_info;
mod config;
mod connection;
mod error_response;
mod gateway_endpoint;
mod parse_request;
mod proxy_endpoint;
mod proxy_header;
mod render;
mod request_scanner;
mod server;
mod service;
mod tunnel;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix_web::HttpResponse;
use arc_swap::ArcSwap;
use ipnet::IpNet;

pub use config::ProxyConfig;
pub use proxy_header::{ProxyHeaderError, read_proxy_header};
pub use request_scanner::{FramingError, MAX_HEAD_BYTES, RequestScanner};
pub use server::{Listeners, Server};

use crate::admin::{AdminService, AdminToken};
use crate::gateway::{CacheRequest, Gateway};
use crate::limits::AdmissionControl;
use crate::limits::TransferKind;
use crate::logging::LogHealth;
use crate::notify::Incidents;
use crate::policy::Client;
use access_log::RequestLog;
use render::{ResponseContext, render};

/// What the doors share.
pub struct HttpService {
    gateway: Arc<Gateway>,
    admin: AdminService,
    /// In `Via` and `Cache-Status`.
    name: String,
    settings: ArcSwap<Settings>,
    proxy: ProxyConfig,
    reports: Reports,
    admission: AdmissionControl,
    /// Readiness is withdrawn as soon as the end is announced.
    is_stopping: AtomicBool,
}

/// State of other parts that the pages show.
pub struct Reports {
    pub incidents: Incidents,
    pub log: LogHealth,
}

/// What of the configuration the doors themselves go by; it can be exchanged while they run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Networks of our own front servers.
    pub trusted_proxies: Vec<IpNet>,
    /// `host[:port]` under which clients reach the gateway.
    pub public_authority: Option<String>,
    /// How long a client may take none of the bytes that are sent to it, or send none of a body
    /// that it has begun.
    pub stall_timeout: Duration,
}

impl HttpService {
    #[must_use]
    pub fn new(
        gateway: Arc<Gateway>,
        admin: AdminService,
        name: String,
        settings: Settings,
        proxy: ProxyConfig,
        reports: Reports,
        admission: AdmissionControl,
    ) -> Self {
        Self {
            gateway,
            admin,
            name,
            settings: ArcSwap::from_pointee(settings),
            proxy,
            reports,
            admission,
            is_stopping: AtomicBool::new(false),
        }
    }

    pub fn replace_settings(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    pub fn replace_token(&self, token: AdminToken) {
        self.admin.replace_token(token);
    }

    /// Answers a request of an admitted client. It is a download from when its answer begins: that
    /// somebody has left who waits is not seen before there is something to send, and until then it
    /// must not count.
    async fn respond(
        &self,
        request: CacheRequest,
        client: Client,
        context: &ResponseContext<'_>,
        log: RequestLog,
    ) -> HttpResponse {
        let endpoint = request.endpoint;
        let response = self.gateway.handle(request).await;
        match self
            .gateway
            .acquire_transfer_permit(client, TransferKind::Download)
        {
            Ok(transfer_permit) => {
                log.attach(render(response, endpoint, context), Some(transfer_permit))
            }
            Err(error) => log.attach(
                error_response::render(&error, Some(endpoint), context),
                None,
            ),
        }
    }

    /// Lets `/readyz` say that this instance is going.
    pub fn announce_stop(&self) {
        self.is_stopping
            .store(true, std::sync::atomic::Ordering::Release);
    }
}
