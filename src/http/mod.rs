//! The doors: the only room that knows actix.
//!
//! It reads requests into what the request path understands and renders what comes back. It decides nothing about caching:
//! statuses are made in one match, in [`problem`]. Its main type is [`Doors`].

mod arrival;
mod body;
mod config;
mod gateway_port;
mod log;
mod pages;
mod problem;
mod proxy_header;
mod proxy_port;
mod read;
mod render;
mod server;
mod tunnel;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::sync::Semaphore;

pub use config::ProxyConfig;
pub use proxy_header::{ProxyHeaderError, read_proxy_header};
pub use server::{Listeners, Server};

use crate::gateway::Gateway;

/// How many tunnels one instance holds open.
const MAX_TUNNELS: usize = 8192;

/// What the doors share.
pub struct Doors {
    gateway: Arc<Gateway>,
    /// In `Via` and `Cache-Status`.
    name: String,
    settings: ArcSwap<Settings>,
    proxy: ProxyConfig,
    tunnels: Arc<Semaphore>,
    /// Readiness is withdrawn as soon as the end is announced.
    is_stopping: AtomicBool,
}

/// What of the configuration the doors themselves go by; it can be exchanged while they run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Networks of our own front servers.
    pub trusted_proxies: Vec<IpNet>,
    /// `host[:port]` under which clients reach the gateway.
    pub public_authority: Option<String>,
}

impl Doors {
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, name: String, settings: Settings, proxy: ProxyConfig) -> Self {
        Self {
            gateway,
            name,
            settings: ArcSwap::from_pointee(settings),
            proxy,
            tunnels: Arc::new(Semaphore::new(MAX_TUNNELS)),
            is_stopping: AtomicBool::new(false),
        }
    }

    pub fn replace_settings(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Lets `/readyz` say that this instance is going.
    pub fn announce_stop(&self) {
        self.is_stopping.store(true, std::sync::atomic::Ordering::Release);
    }
}
