use serde::{Deserialize, Serialize};

use crate::model::{Size, Span};
use crate::origin;

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
    pub budget: Span,
    /// The wait before the second attempt. It doubles with each one.
    pub backoff: Span,
    pub connect_timeout: Span,
    /// How long an origin may say nothing.
    pub idle_timeout: Span,
    /// A second, averaged over the idle timeout.
    pub min_speed: Size,
    pub max_redirects: usize,
    /// `http://host:port` of a proxy for all fetches; empty: none. Its names are resolved by the proxy.
    pub egress_proxy: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            concurrency: 64,
            per_host: 8,
            attempts: 4,
            budget: Span::from_secs(2 * 3600),
            backoff: Span::from_millis(500),
            connect_timeout: Span::from_secs(10),
            idle_timeout: Span::from_secs(60),
            min_speed: Size::kib(1),
            max_redirects: 10,
            egress_proxy: String::new(),
        }
    }
}

impl Config {
    /// # Errors
    /// A line that names the key whose value cannot work.
    pub fn check(&self) -> Result<(), String> {
        let counts =
            [("concurrency", self.concurrency), ("per_host", self.per_host), ("attempts", self.attempts as usize)];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((key, _)) => Err(format!("fetch.{key} must be at least 1")),
            None => Ok(()),
        }
    }

    /// What concerns the room that asks the origins. `name` is ours in `Via`.
    #[must_use]
    pub fn for_origin(&self, name: &str) -> origin::Config {
        origin::Config {
            connect_timeout: self.connect_timeout.0,
            idle_timeout: self.idle_timeout.0,
            min_speed_bytes: self.min_speed.bytes,
            max_redirects: self.max_redirects,
            egress_proxy: self.egress_proxy.clone(),
            name: name.to_owned(),
        }
    }
}
