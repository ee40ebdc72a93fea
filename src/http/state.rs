//! State that all requests of both ports share.
//!
//! The main type is [`HttpService`]. It reads and renders no request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use super::access_log::{LogUri, RequestLog};
use super::config::ProxyConfig;
use super::node_name::NodeName;
use crate::admin::{AdminService, Tokens};
use crate::cluster::Cluster;
use crate::events::EventLog;
use crate::gateway::{self, Gateway, HostTable};
use crate::indexes::RegistryUpstreams;
use crate::intercept::Interceptor;
use crate::jobs::Jobs;
use crate::limits::AdmissionControl;
use crate::logging::LogHealth;
use crate::metrics::{Facts, RequestEndpoint};
use crate::migrate::{NodePulls, RecordOffer};
use crate::notify::Incidents;
use crate::registry::{ContainerImages, RegistryTable};
use crate::ui::LivePage;
use crate::users::DownloadUsers;

/// State that all requests of both ports share.
pub struct HttpService {
    pub(super) gateway: Arc<Gateway>,
    pub(super) images: Arc<ContainerImages>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) operators: OperatorServices,
    pub(super) name: NodeName,
    pub(super) settings: ArcSwap<Settings>,
    pub(super) proxy: ProxyConfig,
    /// `None` if no host is intercepted.
    pub(super) interceptor: Option<Arc<Interceptor>>,
    pub(super) reports: Reports,
    pub(super) admission: AdmissionControl,
    /// Users that may download.
    pub(super) users: ArcSwap<DownloadUsers>,
    is_stopping: AtomicBool,
}

/// Configuration of the HTTP module.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Name of this node in `Via` and `Cache-Status`.
    pub name: String,
    pub proxy: ProxyConfig,
    pub interceptor: Option<Arc<Interceptor>>,
    pub settings: Settings,
    pub users: DownloadUsers,
}

/// Services behind the API for operators and readers. All of them ask for a proof of the token.
pub struct OperatorServices {
    pub admin: Arc<AdminService>,
    pub jobs: Arc<Jobs>,
    pub incidents: Incidents,
    pub events: EventLog,
    pub offer: RecordOffer,
    pub pulls: Arc<NodePulls>,
}

/// State of other modules that the built-in pages show.
pub struct Reports {
    pub log: LogHealth,
    pub facts: Arc<Facts>,
    pub page: LivePage,
}

impl Reports {
    #[must_use]
    pub fn new(log: LogHealth, facts: &Arc<Facts>, page: &LivePage) -> Self {
        Self {
            log,
            facts: Arc::clone(facts),
            page: page.clone(),
        }
    }
}

/// Settings of `[gateway]`, `[[hosts]]`, `[mirror]` and `[registries]` that a reload replaces.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Networks of trusted front servers, such as the local nginx.
    pub trusted_proxies: Vec<IpNet>,
    /// `scheme://host[:port]` under which clients reach the gateway.
    pub public_url: Option<String>,
    /// `host[:port]` of this URL.
    pub public_authority: Option<String>,
    /// Other names of the gateway.
    pub host_names: Vec<String>,
    /// Names that stand for base URLs of origins.
    pub hosts: HostTable,
    /// Registries whose indexes are rewritten.
    pub indexes: RegistryUpstreams,
    /// Container registries.
    pub registries: RegistryTable,
    /// Networks that may read `/metrics`. Empty: private networks.
    pub metrics_clients: Vec<IpNet>,
    /// How long a client may accept none of the bytes sent to it, or send none of a body that it
    /// has begun.
    pub stall_timeout: Duration,
}

impl Settings {
    #[must_use]
    pub fn from_config(
        config: &gateway::Config,
        hosts: HostTable,
        indexes: RegistryUpstreams,
        registries: RegistryTable,
    ) -> Self {
        Self {
            trusted_proxies: config.trusted_proxies.clone(),
            public_url: config.public_base(),
            public_authority: config.public_authority(),
            host_names: config.host_names.clone(),
            hosts,
            indexes,
            registries,
            metrics_clients: config.metrics_clients.clone(),
            stall_timeout: config.stall_timeout.0,
        }
    }

    /// Whether a client may read `/metrics`.
    pub(super) fn may_read_metrics(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        match &self.metrics_clients[..] {
            [] => is_private(client),
            networks => networks.iter().any(|network| network.contains(&client)),
        }
    }

    pub(super) fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(&peer))
    }
}

/// Whether an address belongs to this machine or a private network (RFC 1918, RFC 4193), or to a
/// link.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

impl HttpService {
    #[must_use]
    pub fn new(
        (gateway, images, cluster): (Arc<Gateway>, Arc<ContainerImages>, Arc<Cluster>),
        operators: OperatorServices,
        config: HttpConfig,
        reports: Reports,
        admission: AdmissionControl,
    ) -> Self {
        Self {
            gateway,
            images,
            cluster,
            operators,
            name: NodeName::new(config.name),
            settings: ArcSwap::from_pointee(config.settings),
            proxy: config.proxy,
            interceptor: config.interceptor,
            reports,
            admission,
            users: ArcSwap::from_pointee(config.users),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Begins the log entry of a request, which is counted at its end.
    pub(super) fn begin_log(
        &self,
        client: IpAddr,
        endpoint: RequestEndpoint,
        method: &str,
        uri: LogUri,
    ) -> RequestLog {
        let counts = Arc::clone(&self.reports.facts.requests);
        RequestLog::begin(counts, client, endpoint, method, uri)
    }

    pub fn replace_settings(&self, settings: Settings) {
        self.images.replace_registries(settings.registries.clone());
        self.settings.store(Arc::new(settings));
    }

    pub fn replace_tokens(&self, tokens: Tokens) {
        self.operators.admin.replace_tokens(tokens);
    }

    /// Replaces the users that may download.
    pub fn replace_users(&self, users: DownloadUsers) {
        self.users.store(Arc::new(users));
    }

    /// Makes `/readyz` answer 503 from now on.
    pub fn announce_stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }
}
