//! Configuration of fetches. The main type is [`Config`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{HumanDuration, Size};
use crate::origin::{self, FtpTls};
use crate::policy::is_proxy_url;

/// Maximum of the counts. No machine needs more concurrent fetches, and no origin more attempts.
const MAX_COUNT: usize = 100_000;

/// Range of the cooldown. At the maximum, a recovered host is found within an hour.
const MIN_COOLDOWN: Duration = Duration::from_millis(1);
const MAX_COOLDOWN: Duration = Duration::from_hours(1);

/// Section `[fetch]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Maximum number of concurrent fetches.
    pub concurrency: usize,
    /// Maximum number of concurrent fetches from one host.
    pub per_host: usize,
    /// Maximum number of attempts at each source of one body.
    pub attempts: u32,
    /// Maximum duration of one fetch, including all attempts.
    pub budget: HumanDuration,
    /// Wait before the second attempt. It doubles with each attempt.
    pub backoff: HumanDuration,
    /// Consecutive failed attempts that open the circuit of a host. 0 means never.
    pub breaker_failures: u32,
    /// Time for which a circuit stays open before one probe is allowed.
    pub breaker_cooldown: HumanDuration,
    pub connect_timeout: HumanDuration,
    /// Maximum time without a byte from the origin.
    pub idle_timeout: HumanDuration,
    /// Minimum speed in bytes per second, averaged over the idle timeout.
    pub min_speed: Size,
    pub max_redirects: usize,
    /// Whether ftp uses TLS.
    pub ftp_tls: FtpTls,
    /// `http://host:port` of a proxy for all http and https fetches. The proxy resolves the host
    /// names. Empty means no proxy.
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
    /// A line with the key whose value is invalid, and the valid values.
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
            return Err(format!("fetch.{key} must be greater than zero"));
        }
        if !self.egress_proxy.is_empty() && !is_proxy_url(&self.egress_proxy) {
            return Err(
                "fetch.egress_proxy must be like \"http://proxy.example.org:3128\"".to_owned(),
            );
        }
        Ok(())
    }

    /// Returns the settings of the origin module. `name` is this gateway's name in `Via`.
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
