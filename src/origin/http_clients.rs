//! HTTP clients, one pair for each egress route.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Proxy, redirect};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::BuilderVerifierExt;
use url::Url;

use super::config::Config;
use super::reuse::OpenedLayer;
use crate::dial::{CheckedResolver, Dialer, resolvable_host};
use crate::model::ConfigError;
use crate::policy::EgressRoute;

/// How long an idle connection stays open. Each one is an open file, and the number of hosts is not
/// bounded.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of idle connections to one host.
const POOL_IDLE_PER_HOST: usize = 4;

/// Maximum number of header fields in a response. The HTTP client bounds the header section to
/// 400 KiB, so this many short fields is no limit of its own.
const MAX_FIELDS: usize = 8192;

/// Maximum number of cached client pairs. If more routes are used, all pairs are created again.
const MAX_ROUTES: usize = 64;

#[derive(Debug)]
pub struct HttpClients {
    factory: ClientFactory,
    /// Clients for `fetch.egress_proxy`.
    default: ClientPair,
    /// Clients for the routes of rules, by the URL of the proxy. Empty for a direct connection.
    by_rule: Mutex<HashMap<String, ClientPair>>,
}

/// Clients for one egress route.
#[derive(Debug, Clone)]
pub struct ClientPair {
    /// Keeps connections alive and reuses them.
    pub pooled: Client,
    /// Opens a new connection for each request. Used after the origin closed an idle one.
    pub fresh: Client,
}

impl HttpClients {
    /// # Errors
    /// [`ConfigError`] if a key is invalid, or TLS is unavailable.
    pub fn new(config: &Config, dialer: Dialer) -> Result<Self, ConfigError> {
        let factory = ClientFactory {
            connect_timeout: config.connect_timeout,
            dialer,
            tls: tls_config()?,
        };
        let default = factory.make_pair(&config.egress_proxy)?;
        Ok(Self {
            factory,
            default,
            by_rule: Mutex::default(),
        })
    }

    /// Returns the clients for a route. `None` is the route of `fetch.egress_proxy`.
    ///
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
        // Each change of the map is one call, so a panic leaves no partial change.
        let mut by_rule = self.by_rule.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = by_rule.get(proxy) {
            return Ok(clients.clone());
        }
        let clients = self.factory.make_pair(proxy)?;
        if by_rule.len() >= MAX_ROUTES {
            by_rule.clear();
        }
        by_rule.insert(proxy.to_owned(), clients.clone());
        Ok(clients)
    }
}

/// Creates clients, from the settings that they share.
#[derive(Debug)]
struct ClientFactory {
    connect_timeout: Duration,
    dialer: Dialer,
    /// Shared, because the system's certificates take about 600 kB of memory.
    tls: ClientConfig,
}

impl ClientFactory {
    fn make_pair(&self, egress_proxy: &str) -> Result<ClientPair, ConfigError> {
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
            // As wget and curl do, ignore lines that cannot be read.
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_max_headers(MAX_FIELDS)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(idle_per_host)
            .connector_layer(OpenedLayer);
        let mut proxy_host = None;
        // The variable http_proxy is for clients, and may point to Millpond itself.
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

/// Checks that the certificates of the system can be read.
///
/// # Errors
/// [`ConfigError`] if TLS is unavailable.
pub fn check_certificate_store() -> Result<(), ConfigError> {
    tls_config().map(drop)
}

/// Returns the TLS configuration that the HTTP client would create for itself.
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
