//! The clients of http and https: one for each way out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Proxy, redirect};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::BuilderVerifierExt;
use url::Url;

use super::Config;
use super::reuse::OpenedLayer;
use crate::dial::{CheckedResolver, Dialer, resolvable_host};
use crate::model::ConfigError;
use crate::policy::EgressRoute;

/// How long an unused connection to an origin is kept, and how many a host: each is an open file,
/// and nothing bounds how many hosts are asked one after the other.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(5);
const POOL_IDLE_PER_HOST: usize = 4;

/// How many ways out of the rules are kept ready. More are made anew, now and again.
const MAX_ROUTES: usize = 64;

#[derive(Debug)]
pub struct HttpClients {
    factory: Factory,
    /// As `fetch.egress_proxy` says.
    default: ClientPair,
    /// By the URL of the proxy; the empty one is none.
    by_rule: Mutex<HashMap<String, ClientPair>>,
}

/// The clients for one egress.
#[derive(Debug, Clone)]
pub struct ClientPair {
    /// Keeps connections alive and reuses them.
    pub pooled: Client,
    /// Opens a connection for each request, to replace one that the origin has closed.
    pub fresh: Client,
}

impl HttpClients {
    /// # Errors
    /// A line that names the key, if the egress proxy is no URL or the machine has no certificates.
    pub fn new(config: &Config, dialer: Dialer) -> Result<Self, ConfigError> {
        let factory = Factory {
            connect_timeout: config.connect_timeout,
            dialer,
            tls: tls_config()?,
        };
        let usual = factory.make(&config.egress_proxy)?;
        Ok(Self {
            factory,
            default: usual,
            by_rule: Mutex::default(),
        })
    }

    /// # Errors
    /// As [`HttpClients::new`].
    pub fn client_for_route(
        &self,
        egress: Option<&EgressRoute>,
    ) -> Result<ClientPair, ConfigError> {
        let proxy = match egress {
            None => return Ok(self.default.clone()),
            Some(EgressRoute::Direct) => "",
            Some(EgressRoute::Proxy(url)) => url.expose(),
        };
        // A panic leaves the map as it was, or with one client more.
        let mut by_rule = self.by_rule.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = by_rule.get(proxy) {
            return Ok(client.clone());
        }
        let client = self.factory.make(proxy)?;
        if by_rule.len() >= MAX_ROUTES {
            by_rule.clear();
        }
        by_rule.insert(proxy.to_owned(), client.clone());
        Ok(client)
    }
}

/// What all clients have in common.
#[derive(Debug)]
struct Factory {
    connect_timeout: Duration,
    dialer: Dialer,
    /// Shared, since the certificates of the machine take some 600 kB of memory.
    tls: ClientConfig,
}

impl Factory {
    fn make(&self, egress_proxy: &str) -> Result<ClientPair, ConfigError> {
        let pooled = self.make_client(egress_proxy, POOL_IDLE_PER_HOST)?;
        Ok(ClientPair {
            pooled,
            fresh: self.make_client(egress_proxy, 0)?,
        })
    }

    fn make_client(&self, egress_proxy: &str, idle_per_host: usize) -> Result<Client, ConfigError> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .http1_only()
            .tls_backend_preconfigured(self.tls.clone())
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(idle_per_host)
            .connector_layer(OpenedLayer);
        let mut proxy_host = None;
        // The environment's http_proxy is not ours: it may point at this very service.
        builder = builder.no_proxy();
        if !egress_proxy.is_empty() {
            let url: Url = egress_proxy
                .parse()
                .map_err(|why| ConfigError::new("fetch.egress_proxy", why))?;
            proxy_host = resolvable_host(&url);
            builder = builder
                .proxy(Proxy::all(url).map_err(|why| ConfigError::new("fetch.egress_proxy", why))?);
        }
        builder
            .dns_resolver(Arc::new(CheckedResolver::new(
                self.dialer.clone(),
                proxy_host,
            )))
            .build()
            .map_err(|why| {
                ConfigError::new("fetch", format!("cannot create the https client: {why:?}"))
            })
    }
}

/// The configuration that the HTTP client would make for itself.
fn tls_config() -> Result<ClientConfig, ConfigError> {
    let failed = |why| {
        ConfigError::new(
            "fetch",
            format!("cannot create the https client (are ca-certificates installed?): {why}"),
        )
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(failed)?
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
