//! The clients of http and https: one for each way out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Proxy, redirect};
use url::Url;

use super::Config;
use crate::dial::{CheckedResolver, Dialer, resolvable_host};
use crate::policy::Egress;

/// How long an unused connection to an origin is kept, and how many a host: each is an open file, and nothing bounds how many
/// hosts are asked one after the other.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(5);
const POOL_IDLE_PER_HOST: usize = 4;

/// How many ways out of the rules are kept ready. More are made anew, now and again.
const MAX_WAYS: usize = 64;

/// Connections are reused, each within its client.
#[derive(Debug)]
pub struct Clients {
    connect_timeout: Duration,
    dialer: Dialer,
    /// As `fetch.egress_proxy` says.
    usual: Client,
    /// By the URL of the proxy; the empty one is none.
    by_rule: Mutex<HashMap<String, Client>>,
}

impl Clients {
    /// # Errors
    /// A line that names the key, if the egress proxy is no URL or the machine has no certificates.
    pub fn new(config: &Config, dialer: Dialer) -> Result<Self, String> {
        let connect_timeout = config.connect_timeout;
        let usual = make(&config.egress_proxy, connect_timeout, &dialer)?;
        Ok(Self { connect_timeout, dialer, usual, by_rule: Mutex::default() })
    }

    /// # Errors
    /// As [`Clients::new`].
    pub fn by(&self, egress: Option<&Egress>) -> Result<Client, String> {
        let proxy = match egress {
            None => return Ok(self.usual.clone()),
            Some(Egress::Direct) => "",
            Some(Egress::Proxy(url)) => url.expose(),
        };
        // A panic leaves the map as it was, or with one client more.
        let mut by_rule = self.by_rule.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = by_rule.get(proxy) {
            return Ok(client.clone());
        }
        let client = make(proxy, self.connect_timeout, &self.dialer)?;
        if by_rule.len() >= MAX_WAYS {
            by_rule.clear();
        }
        by_rule.insert(proxy.to_owned(), client.clone());
        Ok(client)
    }
}

fn make(egress_proxy: &str, connect_timeout: Duration, dialer: &Dialer) -> Result<Client, String> {
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .http1_only()
        .referer(false)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST);
    let mut proxy_host = None;
    // The environment's http_proxy is not ours: it may point at this very service.
    builder = builder.no_proxy();
    if !egress_proxy.is_empty() {
        let url: Url = egress_proxy.parse().map_err(|why| format!("fetch.egress_proxy: {why}"))?;
        proxy_host = resolvable_host(&url);
        builder = builder.proxy(Proxy::all(url).map_err(|why| format!("fetch.egress_proxy: {why}"))?);
    }
    builder
        .dns_resolver(Arc::new(CheckedResolver::new(dialer.clone(), proxy_host)))
        .build()
        .map_err(|why| format!("the client for https cannot be made (are ca-certificates installed?): {why:?}"))
}
