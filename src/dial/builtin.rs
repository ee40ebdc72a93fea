//! Lookups by DNS queries of Millpond's own, with the names and servers of the system.
//!
//! The cache of answers honours their TTLs, negative ones included. The main type is
//! [`BuiltinResolver`].

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};

use super::answers::{AnswerCache, Family, Found, FoundAddresses};
use super::error::{LookupError, OwnShortage};
use crate::model::{ConfigError, lock};

/// Files of the system. A change of one replaces the resolver.
const SYSTEM_FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// Minimum interval between two looks at [`SYSTEM_FILES`], which are two calls of `stat`.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Number of whole responses that hickory caches. [`AnswerCache`] keeps a bounded part of each.
const CACHED_RESPONSES: u64 = 0;

/// Maximum time that an address is cached. An operator who changes a name waits at most this long.
const MAX_POSITIVE_TTL: Duration = Duration::from_hours(1);

/// Maximum time that the absence of a name is cached (RFC 2308, section 5, allows hours).
const MAX_NEGATIVE_TTL: Duration = Duration::from_mins(5);

/// Maximum time that one server has for one response.
const MAX_SERVER_TIMEOUT: Duration = Duration::from_secs(2);

/// Number of servers that are asked at the same time. Each takes a socket.
const CONCURRENT_SERVERS: usize = 1;

/// Resolver that sends DNS queries itself.
#[derive(Debug)]
pub struct BuiltinResolver {
    /// Configured name servers. Empty: those of the system.
    nameservers: Vec<SocketAddr>,
    current: ArcSwap<Loaded>,
    last_check: Mutex<Instant>,
}

/// Resolver that was built from one state of the system's files.
#[derive(Debug)]
struct Loaded {
    resolver: TokioResolver,
    answers: AnswerCache,
    hosts: Hosts,
    versions: FileVersions,
}

/// Time of the last change and size in bytes of each system file, if it exists.
type FileVersions = [Option<(SystemTime, u64)>; SYSTEM_FILES.len()];

impl BuiltinResolver {
    /// # Errors
    /// [`ConfigError`] if no resolver can be built.
    pub fn new(nameservers: Vec<SocketAddr>) -> Result<Self, ConfigError> {
        let loaded = Loaded::build(&nameservers, file_versions())
            .map_err(|error| ConfigError::new("dial.nameservers", error.to_string()))?;
        Ok(Self {
            nameservers,
            current: ArcSwap::from_pointee(loaded),
            last_check: Mutex::new(Instant::now()),
        })
    }

    /// Looks up the addresses of one family.
    ///
    /// # Errors
    /// [`LookupError`] if there is none, or if no name server answers.
    pub async fn lookup(self: Arc<Self>, host: String, family: Family) -> Found {
        let loaded = self.loaded();
        let name = Name::from_utf8(&host).map_err(|_| LookupError::NoAddress)?;
        if let Some(listed) = loaded.listed_addresses(&name, family) {
            return listed;
        }
        if let Some(found) = loaded.answers.get(&host, family) {
            return found;
        }
        let response = match family {
            Family::V4 => loaded.resolver.ipv4_lookup(name).await,
            Family::V6 => loaded.resolver.ipv6_lookup(name).await,
        };
        let (found, valid_until) = match response {
            Ok(response) => {
                let found = FoundAddresses::new(addresses(response.answers()));
                (found, response.valid_until())
            }
            Err(error) => {
                let valid_until = Instant::now() + negative_ttl(&error);
                (Err(lookup_error(error)), valid_until)
            }
        };
        loaded
            .answers
            .insert(host, family, found.clone(), valid_until);
        found
    }

    /// Returns the current resolver. If a system file has changed, it is built again.
    fn loaded(&self) -> Arc<Loaded> {
        let current = self.current.load_full();
        let mut last_check = lock(&self.last_check);
        if last_check.elapsed() < RELOAD_INTERVAL {
            return current;
        }
        *last_check = Instant::now();
        drop(last_check);
        let versions = file_versions();
        if versions == current.versions {
            return current;
        }
        match Loaded::build(&self.nameservers, versions) {
            Ok(loaded) => {
                tracing::info!("reloaded the system's hosts and name servers");
                let loaded = Arc::new(loaded);
                self.current.store(Arc::clone(&loaded));
                loaded
            }
            Err(error) => {
                tracing::warn!(%error, "cannot reload the system's name servers");
                current
            }
        }
    }
}

impl Loaded {
    fn build(nameservers: &[SocketAddr], versions: FileVersions) -> Result<Self, NetError> {
        let (config, mut options) = match nameservers {
            [] => system_config(),
            own => (configured(own), ResolverOpts::default()),
        };
        options.timeout = options.timeout.min(MAX_SERVER_TIMEOUT);
        options.num_concurrent_reqs = CONCURRENT_SERVERS;
        options.cache_size = CACHED_RESPONSES;
        options.positive_max_ttl = Some(MAX_POSITIVE_TTL);
        // The file is read here, because a name that it has in one family is asked in neither.
        options.use_hosts_file = ResolveHosts::Never;
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        *builder.options_mut() = options;
        Ok(Self {
            resolver: builder.build()?,
            answers: AnswerCache::new(),
            hosts: Hosts::from_system().unwrap_or_default(),
            versions,
        })
    }

    /// Returns the addresses that the hosts file has for a name, or `None` if the file does not
    /// have the name.
    fn listed_addresses(&self, name: &Name, family: Family) -> Option<Found> {
        let mut name = name.to_lowercase();
        name.set_fqdn(true);
        let listed = |record_type| {
            let found = self
                .hosts
                .lookup_static_host(&Query::query(name.clone(), record_type));
            found
                .ok_or(LookupError::NoAddress)
                .and_then(|found| FoundAddresses::new(addresses(found.answers())))
        };
        let (v4, v6) = (listed(RecordType::A), listed(RecordType::AAAA));
        let (own, other) = match family {
            Family::V4 => (v4, v6),
            Family::V6 => (v6, v4),
        };
        (own.is_ok() || other.is_ok()).then_some(own)
    }
}

/// Returns the servers and search domains of the system. Without any server, a server of this
/// machine is asked, as `getaddrinfo` does.
fn system_config() -> (ResolverConfig, ResolverOpts) {
    read_system_conf().unwrap_or_else(|error| {
        tracing::warn!(%error, "/etc/resolv.conf names no name server, asking 127.0.0.1");
        let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
        let config = ResolverConfig::from_name_servers(vec![local]);
        (config, ResolverOpts::default())
    })
}

fn configured(nameservers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        for connection in &mut connections {
            connection.port = address.port();
        }
        NameServerConfig::new(address.ip(), true, connections)
    };
    ResolverConfig::from_name_servers(nameservers.iter().map(server).collect())
}

fn addresses(records: &[Record]) -> impl Iterator<Item = IpAddr> {
    records.iter().filter_map(|record| record.data.ip_addr())
}

/// Returns how long the absence of a name is cached. Other errors are not cached.
fn negative_ttl(error: &NetError) -> Duration {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => none
            .negative_ttl
            .map_or(Duration::ZERO, |seconds| {
                Duration::from_secs(seconds.into())
            })
            .min(MAX_NEGATIVE_TTL),
        _ => Duration::ZERO,
    }
}

fn lookup_error(error: NetError) -> LookupError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(
                none.response_code,
                ResponseCode::NoError | ResponseCode::NXDomain
            ) =>
        {
            LookupError::NoAddress
        }
        NetError::Timeout => LookupError::Timeout,
        NetError::Io(io) => match OwnShortage::of_io(&io) {
            Some(shortage) => shortage.into(),
            None => LookupError::Failed(io.to_string()),
        },
        error => LookupError::Failed(error.to_string()),
    }
}

fn file_versions() -> FileVersions {
    SYSTEM_FILES.map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}
