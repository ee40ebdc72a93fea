//! Checks whether the gateway reaches upstream hosts: those of the arguments, and those that rules
//! name.
//!
//! Each is asked by HEAD through the gateway, which stores nothing. The main function is [`check`].

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::{Client, StatusCode};
use url::Url;

use super::finding::Finding;
use crate::config::Config;
use crate::model::{FileUrl, root_cause, sanitize_line};

/// How long an upstream host may take.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum number of hosts of rules that are asked. Rule files may name hundreds.
const MAX_HOSTS: usize = 16;

/// Hosts that are asked at the same time.
const CONCURRENCY: usize = 8;

const CHECK: &str = "upstream";

/// Asks for the URLs, and for the hosts of the rules, through the gateway.
pub async fn check(gateway: &str, urls: &[FileUrl], config: Option<&Config>) -> Vec<Finding> {
    let of_rules = config.map(hosts_of_rules).unwrap_or_default();
    let unchecked = of_rules.len().saturating_sub(MAX_HOSTS);
    let of_rules = of_rules.into_iter().take(MAX_HOSTS);
    let of_rules = of_rules.map(|url| (url.clone(), url));
    // A URL is shown without its secrets.
    let urls = urls
        .iter()
        .map(|url| (url.as_str().to_owned(), url.to_string()));
    let arguments = urls.len();
    let all: Vec<_> = urls.chain(of_rules).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let client = Client::builder().no_proxy().timeout(UPSTREAM_TIMEOUT);
    let client = client.redirect(reqwest::redirect::Policy::none()).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            let text = root_cause(&error);
            return vec![Finding::failed(CHECK, text, "reinstall the program")];
        }
    };
    let asked = all
        .iter()
        .map(|(url, shown)| ask(&client, gateway, url, shown));
    let mut findings: Vec<_> = stream::iter(asked).buffered(CONCURRENCY).collect().await;
    // A rule may name mirrors that are down, and the gateway works without them.
    for finding in findings.iter_mut().skip(arguments) {
        finding.soften();
    }
    if unchecked > 0 {
        let text = format!("{unchecked} more hosts of rules were not asked");
        findings.push(Finding::ok(CHECK, text));
    }
    findings
}

/// Returns the roots of the hosts that rules name, and of their mirrors and archives.
fn hosts_of_rules(config: &Config) -> Vec<String> {
    let mut hosts = Vec::new();
    for rule in &config.rules {
        let own = (!rule.host.is_empty() && !rule.host.starts_with('.')).then(|| {
            let scheme = match rule.scheme.as_str() {
                "" => "https",
                scheme => scheme,
            };
            format!("{scheme}://{}/", rule.host)
        });
        let others = rule.mirrors.iter().chain(&rule.archives);
        let others = others.filter_map(|url| {
            let url = Url::parse(url).ok()?;
            Some(url.join("/").ok()?.to_string())
        });
        for url in own.into_iter().chain(others) {
            if !hosts.contains(&url) && !url.contains(['{', '%']) {
                hosts.push(url);
            }
        }
    }
    hosts
}

async fn ask(client: &Client, gateway: &str, url: &str, shown: &str) -> Finding {
    let shown = sanitize_line(shown);
    match client.head(format!("{gateway}/{url}")).send().await {
        Ok(response) => {
            let field = |name: &str| response.headers().get(name)?.to_str().ok();
            judge(&shown, response.status(), field("proxy-status"))
        }
        Err(error) if error.is_timeout() => Finding::failed(
            CHECK,
            format!("{shown}: no answer within {} s", UPSTREAM_TIMEOUT.as_secs()),
            "check the network between, and the firewall",
        ),
        Err(error) => {
            let advice = "check the gateway";
            Finding::failed(CHECK, format!("{shown}: {}", root_cause(&error)), advice)
        }
    }
}

/// Judges an answer of the gateway. `Proxy-Status` says whether it is that of the host.
fn judge(url: &str, status: StatusCode, proxy_status: Option<&str>) -> Finding {
    let parameter = |name: &str| {
        let value = proxy_status?.split(name).nth(1)?;
        Some(value.trim_matches('"').to_owned())
    };
    if let Some(error) = parameter("error=") {
        let advice = match error.as_str() {
            "dns_error" | "dns_timeout" => "check the name, and the name servers",
            "destination_ip_prohibited" => "add its network to policy.allow_networks",
            error if error.starts_with("tls_") => "see Certificates in README.md",
            "http_request_denied" => "see [policy] of the configuration",
            _ => "check that the host is up, and the firewall between",
        };
        return Finding::failed(CHECK, format!("{url}: {status}, {error}"), advice);
    }
    if let Some(details) = parameter("details=") {
        let text = format!("{url}: {status}, {details}");
        return Finding::failed(
            CHECK,
            text,
            "see [policy] and [limits] of the configuration",
        );
    }
    if status.is_server_error() {
        let text = format!("{url} answers {status}");
        return Finding::warning(CHECK, text, "the host itself has trouble");
    }
    Finding::ok(CHECK, format!("{url} answers {status}"))
}
