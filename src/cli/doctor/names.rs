//! Checks of name servers, and of the hosts that the configuration names.
//!
//! Hosts that the service connects to itself are looked up and connected to as the service does
//! it. The main function is [`check`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;
use url::Url;

use super::finding::Finding;
use crate::config::Config;
use crate::dial::{DialError, Dialer, Reach};
use crate::limits::DialLimits;
use crate::shared_index::check_login;

/// How long a look-up of a name, or a connection to a configured host, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a name server may take.
const SERVER_TIMEOUT: Duration = Duration::from_secs(3);

/// Port of name servers.
const DNS_PORT: u16 = 53;

/// A query for the name servers of the root, with the id 0x4d50 (RFC 1035, section 4.1).
const ROOT_QUERY: [u8; 17] = [0x4d, 0x50, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];

/// Look-ups and attempts of one check. Its hosts are checked one after another.
const DIAL_LIMITS: DialLimits = DialLimits {
    lookups: 16,
    extra_attempts: 8,
};

const SERVER_CHECK: &str = "name_servers";
const NAME_ADVICE: &str = "check the spelling, and the name servers in /etc/resolv.conf";

/// Checks the name servers and the hosts of the configuration.
pub async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = server_findings(config).await;
    let mut names = vec![("gateway.public_url", config.gateway.public_url.clone())];
    if config.s3.is_on() {
        names.push(("s3.endpoint", config.s3.endpoint.clone()));
    }
    for (key, url) in names {
        if let Some((host, _)) = host_of(&url) {
            findings.push(name_finding(key, &host).await);
        }
    }
    let egress = ("fetch.egress_proxy", config.fetch.egress_proxy.clone());
    let parents = config.parents.iter();
    let parents = parents.map(|parent| ("parents.url", parent.url.clone()));
    let hosts: Vec<_> = [egress].into_iter().chain(parents).collect();
    if hosts.iter().any(|(_, url)| host_of(url).is_some()) {
        match dialer(config) {
            Ok(dialer) => {
                for (key, url) in hosts {
                    findings.extend(connection_finding(&dialer, key, &url).await);
                }
            }
            Err(error) => findings.push(Finding::failed("dns", error.to_string(), NAME_ADVICE)),
        }
    }
    findings.extend(index_finding(config).await);
    findings
}

/// Logs in to the Redis server of the cluster.
async fn index_finding(config: &Config) -> Option<Finding> {
    let url = config.cluster.settings().ok()??.redis?;
    let authority = url.authority();
    Some(match check_login(&dialer(config).ok()?, &url).await {
        Ok(()) => Finding::ok(
            "reachability",
            format!("cluster.redis_url {authority} accepts the login"),
        ),
        Err(error) => Finding::warning(
            "reachability",
            format!("cluster.redis_url {authority}: {error}"),
            "check that it runs, the login, and the firewall between",
        ),
    })
}

fn host_of(url: &str) -> Option<(String, u16)> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    Some((host, url.port_or_known_default()?))
}

fn dialer(config: &Config) -> Result<Dialer, crate::model::ConfigError> {
    let policy = config.build_policy()?;
    let timeout = config.fetch.connect_timeout.0;
    Dialer::new(&config.dial, Arc::new(policy), timeout, DIAL_LIMITS)
}

/// Connects to a host as the service does it.
async fn connection_finding(dialer: &Dialer, key: &str, url: &str) -> Option<Finding> {
    let (host, port) = host_of(url)?;
    let reach = match key {
        "fetch.egress_proxy" => Reach::Configured,
        _ => Reach::Policy,
    };
    let connected = dialer.connect_to_host(&host, port, reach, None);
    Some(match timeout(CONNECT_TIMEOUT, connected).await {
        Ok(Ok(_)) => Finding::ok(
            "reachability",
            format!("{key} {host}:{port} accepts connections"),
        ),
        Ok(Err(error)) => {
            let (check, advice) = match &error {
                DialError::Unresolved(_)
                | DialError::LookupTimeout(_)
                | DialError::LookupFailed(..) => ("dns", NAME_ADVICE),
                DialError::Forbidden(_) => {
                    ("reachability", "add its network to policy.allow_networks")
                }
                _ => (
                    "reachability",
                    "check that it runs, and the firewall between",
                ),
            };
            Finding::failed(check, format!("{key}: {error}"), advice)
        }
        Err(_) => Finding::failed(
            "reachability",
            format!(
                "{key} {host}:{port}: no answer within {} s",
                CONNECT_TIMEOUT.as_secs()
            ),
            "check that it runs, and the firewall between",
        ),
    })
}

/// Looks up a name by `getaddrinfo`, as clients and the library of the bucket do it.
async fn name_finding(key: &str, host: &str) -> Finding {
    let found = timeout(CONNECT_TIMEOUT, lookup_host((host, 0))).await;
    let has_address = found.map(|found| found.is_ok_and(|mut all| all.next().is_some()));
    match has_address {
        Ok(true) => Finding::ok("dns", format!("{host} of {key} has an address")),
        Ok(false) => Finding::failed(
            "dns",
            format!("{host} of {key} has no address"),
            NAME_ADVICE,
        ),
        Err(_) => Finding::failed(
            "dns",
            format!("no name server answers for {host}"),
            NAME_ADVICE,
        ),
    }
}

/// Asks each name server. If one answers, the others are warnings.
async fn server_findings(config: &Config) -> Vec<Finding> {
    let configured = config.dial.nameservers().unwrap_or_default();
    let (key, servers) = if configured.is_empty() {
        ("/etc/resolv.conf", system_servers())
    } else {
        ("dial.nameservers", configured)
    };
    if servers.is_empty() {
        return vec![Finding::warning(
            SERVER_CHECK,
            "/etc/resolv.conf names no name server",
            "add one, unless fetch.egress_proxy resolves all names",
        )];
    }
    let asked = servers.iter().map(|server| answers(*server));
    let answered = futures_util::future::join_all(asked).await;
    let works = answered.contains(&true);
    let findings = servers.iter().zip(answered).map(|(server, answers)| {
        let advice = "check the address, and the firewall (UDP and TCP port 53)";
        let silent = format!("name server {server} of {key} does not answer");
        match (answers, works) {
            (true, _) => Finding::ok(
                SERVER_CHECK,
                format!("name server {server} of {key} answers"),
            ),
            (false, true) => Finding::warning(SERVER_CHECK, silent, advice),
            (false, false) => Finding::failed(SERVER_CHECK, silent, advice),
        }
    });
    findings.collect()
}

fn system_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| {
        let address = line.trim_start().strip_prefix("nameserver")?.trim();
        let address: IpAddr = address.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    });
    servers.collect()
}

/// Returns whether a server answers at all. Each response code counts.
async fn answers(server: SocketAddr) -> bool {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let exchange = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(server).await?;
        socket.send(&ROOT_QUERY).await?;
        let mut response = [0; 512];
        let length = socket.recv(&mut response).await?;
        std::io::Result::Ok(length >= 2 && response[..2] == ROOT_QUERY[..2])
    };
    matches!(timeout(SERVER_TIMEOUT, exchange).await, Ok(Ok(true)))
}
