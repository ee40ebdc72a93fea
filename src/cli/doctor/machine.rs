//! Checks of the machine that a configuration is for: ports, names, nginx, bucket, certificates.
//!
//! They change nothing. The main function is [`check`].

use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::Url;

use super::finding::Finding;
use super::folders;
use crate::bucket::Bucket;
use crate::config::Config;
use crate::model::EventSink;
use crate::origin::check_certificate_store;

/// How long a connection to a port of this machine may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a look-up of a name, or a request to the bucket, may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes all checks of this machine.
pub async fn check(config: Config) -> Vec<Finding> {
    let mut findings =
        vec![port_finding("gateway_port", "gateway.listen", &config.gateway.listen).await];
    if !config.proxy.listen.is_empty() {
        findings.push(port_finding("proxy_port", "proxy.listen", &config.proxy.listen).await);
    }
    findings.extend(nginx_settings(&config));
    findings.extend(name_findings(&config).await);
    findings.extend(folders::check(&config));
    findings.push(match check_certificate_store() {
        Ok(()) => Finding::ok(
            "certificates",
            "the certificate store of the system is usable",
        ),
        Err(error) => Finding::failed(
            "certificates",
            error.to_string(),
            "install the package ca-certificates",
        ),
    });
    if config.s3.is_on() {
        findings.push(bucket_finding(config).await);
    }
    findings
}

/// Returns an address under which a port of this machine is reached.
pub fn reachable(listen: &str) -> String {
    match listen.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => listen.to_owned(),
    }
}

async fn port_finding(check: &'static str, key: &str, listen: &str) -> Finding {
    let address = reachable(listen);
    let advice = "check that the service runs, and see its log";
    match timeout(CONNECT_TIMEOUT, TcpStream::connect(&address)).await {
        Ok(Ok(_)) => Finding::ok(check, format!("{key} {address} accepts connections")),
        Ok(Err(error)) => Finding::failed(check, format!("{key} {address}: {error}"), advice),
        Err(_) => Finding::failed(check, format!("{key} {address}: no answer"), advice),
    }
}

/// Checks the keys that belong together if nginx is in front.
fn nginx_settings(config: &Config) -> Option<Finding> {
    let gateway = &config.gateway;
    if gateway.trusted_proxies.is_empty() {
        return None;
    }
    Some(if gateway.accel_redirect.is_empty() {
        Finding::warning(
            "nginx_settings",
            "nginx in front does not send stored files itself",
            "set gateway.accel_redirect to the location of nginx/http.conf",
        )
    } else {
        Finding::ok(
            "nginx_settings",
            "nginx is trusted, and sends stored files itself",
        )
    })
}

/// Resolves the names of the configuration.
async fn name_findings(config: &Config) -> Vec<Finding> {
    let mut urls = vec![
        ("gateway.public_url", config.gateway.public_url.clone()),
        ("fetch.egress_proxy", config.fetch.egress_proxy.clone()),
    ];
    if config.s3.is_on() {
        urls.push(("s3.endpoint", config.s3.endpoint.clone()));
    }
    let parents = config.parents.iter();
    urls.extend(parents.map(|parent| ("parents.url", parent.url.clone())));
    let mut findings = Vec::new();
    for (key, url) in urls {
        let host = Url::parse(&url).ok();
        let host = host.and_then(|url| url.host_str().map(str::to_owned));
        if let Some(host) = host {
            findings.push(name_finding(key, &host).await);
        }
    }
    if findings.is_empty() {
        findings.extend(resolver_finding());
    }
    findings
}

async fn name_finding(key: &str, host: &str) -> Finding {
    let bare = host.trim_matches(['[', ']']);
    let advice = "check the spelling, and the name servers in /etc/resolv.conf";
    let found = timeout(REQUEST_TIMEOUT, lookup_host((bare, 0))).await;
    let has_address = found.map(|found| found.is_ok_and(|mut all| all.next().is_some()));
    match has_address {
        Ok(true) => Finding::ok("dns", format!("{host} of {key} has an address")),
        Ok(false) => Finding::failed("dns", format!("{host} of {key} has no address"), advice),
        Err(_) => Finding::failed("dns", format!("no name server answers for {host}"), advice),
    }
}

/// Checks that the system has a name server at all.
fn resolver_finding() -> Option<Finding> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let has_server = text
        .lines()
        .any(|line| line.trim_start().starts_with("nameserver"));
    (!has_server).then(|| {
        Finding::warning(
            "dns",
            "/etc/resolv.conf names no name server",
            "add one, unless fetch.egress_proxy resolves all names",
        )
    })
}

async fn bucket_finding(config: Config) -> Finding {
    let advice = "check s3.endpoint, the key and its permissions";
    let name = format!("bucket {} at {}", config.s3.bucket, config.s3.endpoint);
    let bucket = match Bucket::new(config.s3, EventSink::new()) {
        Ok(bucket) => bucket,
        Err(error) => return Finding::failed("bucket", error.to_string(), advice),
    };
    match timeout(REQUEST_TIMEOUT, bucket.probe()).await {
        Ok(Ok(())) => Finding::ok("bucket", format!("{name} answers")),
        Ok(Err(error)) => Finding::failed("bucket", format!("{name}: {error}"), advice),
        Err(_) => Finding::failed("bucket", format!("{name} does not answer"), advice),
    }
}
