//! Configuration section `[fetch]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::freshness::Staleness;
use crate::model::{ConfigError, HumanDuration, Size};
use crate::origin::{self, FtpTls};
use crate::policy::{MAX_SEGMENTS, is_proxy_url};

/// Upper bound of `concurrency`, `per_host`, `attempts` and `breaker_failures`. No machine and no
/// origin can serve more.
const MAX_COUNT: usize = 100_000;

/// Lower bound of `segment_min_size`, in bytes. The requests for a smaller body take longer than
/// its bytes.
const MIN_SPLIT_BYTES: u64 = 4 << 20;

/// Longest wait for a permit of a host if a stored response can answer instead.
const MAX_WAIT_WITH_STORED: Duration = Duration::from_secs(10);

/// Bounds of `breaker_cooldown`. The upper bound limits how long a recovered host stays unused.
const MIN_COOLDOWN: Duration = Duration::from_millis(1);
const MAX_COOLDOWN: Duration = Duration::from_hours(1);

/// Configuration section `[fetch]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Maximum number of concurrent fetches.
    pub concurrency: usize,
    /// Maximum number of concurrent fetches from one host.
    pub per_host: usize,
    /// Maximum number of requests to one origin for one body.
    pub attempts: u32,
    /// Longest duration of a fetch, including all attempts.
    pub budget: HumanDuration,
    /// Delay before the second attempt. It doubles with each further attempt.
    pub backoff: HumanDuration,
    /// Consecutive failed attempts after which the circuit of a host opens. Zero: never.
    pub breaker_failures: u32,
    /// Time for which the circuit stays open.
    pub breaker_cooldown: HumanDuration,
    pub connect_timeout: HumanDuration,
    /// Longest time that an origin may send nothing.
    pub idle_timeout: HumanDuration,
    /// Minimum bytes per second, averaged over `idle_timeout`.
    pub min_speed: Size,
    pub max_redirects: usize,
    /// Maximum number of connections that bring ranges of one body. 1: none is split. A rule may
    /// set another number for its hosts.
    pub segments: usize,
    /// Size below which no body is split.
    pub segment_min_size: Size,
    /// A body is split if its first connection brings fewer bytes a second in its first five
    /// seconds. Zero: at once. A body whose rule sets `segments` is split at once.
    pub segment_below: Size,
    /// Use of TLS for ftp.
    pub ftp_tls: FtpTls,
    /// Proxy for all http and https fetches, `http://host:port`. Empty: none. The proxy resolves
    /// the names.
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
            segments: 1,
            segment_min_size: Size::mib(32),
            segment_below: Size::mib(2),
            ftp_tls: FtpTls::Offered,
            egress_proxy: String::new(),
        }
    }
}

impl Config {
    /// Checks the section.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value.
    pub fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("concurrency", self.concurrency),
            ("per_host", self.per_host),
            ("attempts", self.attempts as usize),
        ];
        for (key, count) in counts {
            if !(1..=MAX_COUNT).contains(&count) {
                let reason = format!("must be at least 1 and at most {MAX_COUNT}");
                return Err(invalid(key, &reason));
            }
        }
        if self.breaker_failures as usize > MAX_COUNT {
            let reason = format!("must be at most {MAX_COUNT}");
            return Err(invalid("breaker_failures", &reason));
        }
        if !(1..=MAX_SEGMENTS).contains(&self.segments) {
            let reason = format!("must be at least 1 and at most {MAX_SEGMENTS}");
            return Err(invalid("segments", &reason));
        }
        if self.segment_min_size.bytes < MIN_SPLIT_BYTES {
            return Err(invalid("segment_min_size", "must be at least 4MiB"));
        }
        if !(MIN_COOLDOWN..=MAX_COOLDOWN).contains(&self.breaker_cooldown.0) {
            let reason = "must be at least 1ms and at most 1h";
            return Err(invalid("breaker_cooldown", reason));
        }
        let durations = [
            ("budget", self.budget),
            ("connect_timeout", self.connect_timeout),
            ("idle_timeout", self.idle_timeout),
        ];
        for (key, duration) in durations {
            if duration.0.is_zero() {
                return Err(invalid(key, "must be greater than zero"));
            }
        }
        if !self.egress_proxy.is_empty() && !is_proxy_url(&self.egress_proxy) {
            let reason = "must be like \"http://proxy.example.org:3128\"";
            return Err(invalid("egress_proxy", reason));
        }
        Ok(())
    }

    /// Returns the longest wait for a permit of a host. A stored response that may answer makes it
    /// shorter.
    pub(super) fn longest_host_wait(&self, if_unreachable: Staleness) -> Duration {
        match if_unreachable {
            Staleness::MayServe => self.idle_timeout.0.min(MAX_WAIT_WITH_STORED),
            Staleness::MustNotServe => self.idle_timeout.0,
        }
    }

    /// Returns the settings of the origin clients. `name` is this node's name in `Via`.
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

fn invalid(key: &str, reason: &str) -> ConfigError {
    ConfigError::new(format!("fetch.{key}"), reason)
}
