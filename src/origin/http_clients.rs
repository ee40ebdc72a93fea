//! HTTP clients, one pair for each egress route.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::header::HeaderValue;
use rustls::ClientConfig;
use url::Url;

use super::config::Config;
use super::egress_proxy::EgressProxy;
use super::head_reader::Requests;
use super::http_connector::{ConnectorParts, OriginConnector};
use super::http_stream::RequestForm;
use super::reuse::HttpClient;
use super::tls::TrustedCertificates;
use crate::dial::{Dialer, Reach};
use crate::model::{ConfigError, lock};
use crate::policy::EgressRoute;

/// How long an idle connection stays open. Each one is an open file, and the number of hosts is not
/// bounded.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection to a node of the cluster stays open. The polls keep it in use, so
/// that a request for a target need not open one.
const PEER_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Maximum number of idle connections to one host.
const POOL_IDLE_PER_HOST: usize = 4;

/// Maximum number of header fields in a response. Fields of eight bytes reach
/// [`MAX_HEAD_BYTES`](super::head_reader::MAX_HEAD_BYTES) first.
const MAX_FIELDS: usize = 8192;

/// Maximum number of cached client pairs. If more routes are used, all pairs are created again.
const MAX_ROUTES: usize = 64;

#[derive(Debug)]
pub struct HttpClients {
    factory: ClientFactory,
    /// Clients for `fetch.egress_proxy`.
    default: ClientPair,
    /// Clients for the nodes of the cluster, at any address.
    peers: ClientPair,
    /// Clients for the routes of rules, by the URL of the proxy. Empty for a direct connection.
    by_rule: Mutex<HashMap<String, ClientPair>>,
}

/// Clients for one egress route.
#[derive(Debug, Clone)]
pub struct ClientPair {
    /// Keeps connections alive and reuses them. Only for requests that can be repeated.
    pub pooled: HttpClient,
    /// Opens a new connection for each request.
    pub fresh: HttpClient,
    /// `Proxy-Authorization` of a plain request, which the egress proxy reads itself.
    pub proxy_authorization: Option<HeaderValue>,
    /// Form of a plain request.
    pub plain_form: RequestForm,
    /// Whether a request of each method can be repeated, if the server was not seen to have it.
    pub repeats_all_methods: bool,
}

impl HttpClients {
    /// # Errors
    /// [`ConfigError`] if a key is invalid, or TLS is unavailable.
    pub fn new(
        config: &Config,
        dialer: Dialer,
        trusted: &TrustedCertificates,
    ) -> Result<Self, ConfigError> {
        let mut tls = trusted.client_config()?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let factory = ClientFactory {
            connect_timeout: config.connect_timeout,
            dialer,
            tls: Arc::new(tls),
            name: config.name.clone(),
        };
        let default = factory.make_pair(&config.egress_proxy, Reach::Policy)?;
        let peers = factory.make_pair("", Reach::Configured)?;
        Ok(Self {
            factory,
            default,
            peers,
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
            Some(EgressRoute::Peer) => return Ok(self.peers.clone()),
            Some(EgressRoute::Direct) => "",
            Some(EgressRoute::Proxy(url)) => url.expose(),
        };
        // Each change of the map is one call, so a panic leaves no partial change.
        let mut by_rule = lock(&self.by_rule);
        if let Some(clients) = by_rule.get(proxy) {
            return Ok(clients.clone());
        }
        let clients = self.factory.make_pair(proxy, Reach::Policy)?;
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
    tls: Arc<ClientConfig>,
    name: String,
}

impl ClientFactory {
    /// Creates the clients of one route. An empty URL is a direct connection, to addresses within
    /// `reach`.
    fn make_pair(&self, egress_proxy: &str, reach: Reach) -> Result<ClientPair, ConfigError> {
        let egress_proxy = match egress_proxy {
            "" => None,
            url => Some(parse_proxy(url)?),
        };
        let proxy_authorization = egress_proxy
            .as_ref()
            .and_then(|proxy| proxy.authorization.clone());
        let plain_form = match egress_proxy {
            None => RequestForm::Origin,
            Some(_) => RequestForm::Absolute,
        };
        // Only nodes of the cluster are configured. Each mark is accepted once.
        let is_peer = matches!(reach, Reach::Configured);
        let idle_timeout = if is_peer {
            PEER_IDLE_TIMEOUT
        } else {
            POOL_IDLE_TIMEOUT
        };
        let parts = Arc::new(ConnectorParts {
            dialer: self.dialer.clone(),
            reach,
            tls: Arc::clone(&self.tls),
            egress_proxy,
            name: self.name.clone(),
            connect_timeout: self.connect_timeout,
        });
        Ok(ClientPair {
            pooled: make_client(
                OriginConnector::new(Arc::clone(&parts), Requests::Many),
                POOL_IDLE_PER_HOST,
                idle_timeout,
            ),
            fresh: make_client(OriginConnector::new(parts, Requests::One), 0, idle_timeout),
            proxy_authorization,
            plain_form,
            repeats_all_methods: is_peer,
        })
    }
}

fn parse_proxy(url: &str) -> Result<EgressProxy, ConfigError> {
    let invalid = |why: String| ConfigError::new("fetch.egress_proxy", why);
    let url: Url = url
        .parse()
        .map_err(|why: url::ParseError| invalid(why.to_string()))?;
    EgressProxy::from_url(&url).ok_or_else(|| invalid("must be the URL of a proxy".to_owned()))
}

fn make_client(
    connector: OriginConnector,
    idle_per_host: usize,
    idle_timeout: Duration,
) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(idle_timeout)
        .pool_max_idle_per_host(idle_per_host)
        // As wget and curl do, ignore lines that cannot be read.
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_max_headers(MAX_FIELDS)
        .build(connector)
}
