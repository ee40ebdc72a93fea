//! The doors: the only room that knows actix.
//!
//! It reads requests into what the request path understands and renders what comes back. It decides nothing about caching:
//! statuses are made in one match, in [`problem`]. Its main type is [`Doors`].

mod api;
mod api_query;
mod arrival;
mod body;
mod config;
mod connection;
mod crowd;
mod gateway_port;
mod log;
mod pages;
mod problem;
mod proxy_header;
mod proxy_port;
mod read;
mod render;
mod request_scanner;
mod server;
mod tunnel;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix_web::HttpResponse;
use arc_swap::ArcSwap;
use ipnet::IpNet;

pub use config::ProxyConfig;
pub use crowd::{Crowd, CrowdLimits};
pub use proxy_header::{ProxyHeaderError, read_proxy_header};
pub use request_scanner::{FramingError, MAX_HEAD_BYTES, RequestScanner};
pub use server::{Listeners, Server};

use crate::gateway::{AdminToken, Ask, Custody, Gateway};
use crate::logging::LogHealth;
use crate::notify::Incidents;
use crate::policy::{Client, Use};
use log::RequestLog;
use render::{Dress, render};

/// What the doors share.
pub struct Doors {
    gateway: Arc<Gateway>,
    custody: Custody,
    /// In `Via` and `Cache-Status`.
    name: String,
    settings: ArcSwap<Settings>,
    proxy: ProxyConfig,
    reports: Reports,
    crowd: Crowd,
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
    /// How long a client may take none of the bytes that are sent to it, or send none of a body that it has begun.
    pub stall_timeout: Duration,
}

impl Doors {
    #[must_use]
    pub fn new(
        gateway: Arc<Gateway>,
        custody: Custody,
        name: String,
        settings: Settings,
        proxy: ProxyConfig,
        reports: Reports,
        crowd: Crowd,
    ) -> Self {
        Self {
            gateway,
            custody,
            name,
            settings: ArcSwap::from_pointee(settings),
            proxy,
            reports,
            crowd,
            is_stopping: AtomicBool::new(false),
        }
    }

    pub fn replace_settings(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    pub fn replace_token(&self, token: AdminToken) {
        self.custody.replace_token(token);
    }

    /// Answers a request of an admitted client. It is a download from when its answer begins: that somebody has left who
    /// waits is not seen before there is something to send, and until then it must not count.
    async fn answer(&self, ask: Ask, client: Client, dress: &Dress<'_>, log: RequestLog) -> HttpResponse {
        let door = ask.door;
        let answer = self.gateway.answer(ask).await;
        match self.gateway.begin(client, Use::Download) {
            Ok(transfer) => log.attach(render(answer, door, dress), Some(transfer)),
            Err(problem) => log.attach(problem::render(&problem, Some(door), dress), None),
        }
    }

    /// Lets `/readyz` say that this instance is going.
    pub fn announce_stop(&self) {
        self.is_stopping.store(true, std::sync::atomic::Ordering::Release);
    }
}
