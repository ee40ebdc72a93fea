use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{HumanDuration, Size};
use crate::origin::{self, FtpTls};
use crate::policy::is_proxy_url;

/// More at once, or more attempts, than any machine or origin can bear.
const MAX_COUNT: usize = 100_000;

/// A host that is back is found out within this time.
const MIN_COOLDOWN: Duration = Duration::from_millis(1);
const MAX_COOLDOWN: Duration = Duration::from_hours(1);

/// `[fetch]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Fetches at once.
    pub concurrency: usize,
    /// Fetches at once from one host.
    pub per_host: usize,
    /// How often an origin is asked for one body at most.
    pub attempts: u32,
    /// The longest time that one fetch may take, all attempts together.
    pub budget: HumanDuration,
    /// The wait before the second attempt. It doubles with each one.
    pub backoff: HumanDuration,
    /// Attempts in a row that fail before a host is left alone; 0: it never is.
    pub breaker_failures: u32,
    /// For how long it is left alone.
    pub breaker_cooldown: HumanDuration,
    pub connect_timeout: HumanDuration,
    /// How long an origin may say nothing.
    pub idle_timeout: HumanDuration,
    /// A second, averaged over the idle timeout.
    pub min_speed: Size,
    pub max_redirects: usize,
    /// Whether ftp is spoken within TLS.
    pub ftp_tls: FtpTls,
    /// `http://host:port` of a proxy for all fetches of http and https; empty: none. Its names are
    /// resolved by the proxy.
    pub egress_proxy: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            concurrency: 64,
            per_host: 8,
            attempts: 4,
            budget: HumanDuration::from_secs(2 * 3600),
            backoff: HumanDuration::from_millis(500),
            breaker_failures: 10,
            breaker_cooldown: HumanDuration::from_secs(30),
            connect_timeout: HumanDuration::from_secs(10),
            idle_timeout: HumanDuration::from_secs(60),
            min_speed: Size::kib(1),
            max_redirects: 10,
            ftp_tls: FtpTls::Offered,
            egress_proxy: String::new(),
        }
    }
}

impl Config {
    /// # Errors
    /// A line that names the key whose value cannot work.
    pub fn check(&self) -> Result<(), String> {
        let counts = [
            ("concurrency", self.concurrency),
            ("per_host", self.per_host),
            ("attempts", self.attempts as usize),
        ];
        if let Some((key, _)) = counts
            .into_iter()
            .find(|(_, count)| !(1..=MAX_COUNT).contains(count))
        {
            return Err(format!(
                "fetch.{key} must be at least 1 and at most {MAX_COUNT}"
            ));
        }
        let times = [
            ("budget", self.budget),
            ("connect_timeout", self.connect_timeout),
            ("idle_timeout", self.idle_timeout),
        ];
        if self.breaker_failures as usize > MAX_COUNT {
            return Err(format!(
                "fetch.breaker_failures must be at most {MAX_COUNT}"
            ));
        }
        if !(MIN_COOLDOWN..=MAX_COOLDOWN).contains(&self.breaker_cooldown.0) {
            return Err("fetch.breaker_cooldown must be at least 1ms and at most 1h".to_owned());
        }
        if let Some((key, _)) = times.into_iter().find(|(_, span)| span.0.is_zero()) {
            return Err(format!("fetch.{key} must be more than nothing"));
        }
        if !self.egress_proxy.is_empty() && !is_proxy_url(&self.egress_proxy) {
            return Err(
                "fetch.egress_proxy must be like \"http://proxy.example.org:3128\"".to_owned(),
            );
        }
        Ok(())
    }

    /// What concerns the room that asks the origins. `name` is ours in `Via`.
    #[must_use]
    pub fn for_origin(&self, name: &str) -> origin::Config {
        origin::Config {
            connect_timeout: self.connect_timeout.0,
            idle_timeout: self.idle_timeout.0,
            min_speed_bytes: self.min_speed.bytes,
            max_redirects: self.max_redirects,
            per_host: self.per_host,
            ftp_tls: self.ftp_tls,
            egress_proxy: self.egress_proxy.clone(),
            name: name.to_owned(),
        }
    }
}
