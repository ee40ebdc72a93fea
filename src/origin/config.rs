//! Settings of this module.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings for requests to origins.
#[derive(Debug, Clone)]
pub struct Config {
    pub connect_timeout: Duration,
    /// Maximum time without a byte from the origin, before the response head and within the body.
    pub idle_timeout: Duration,
    /// Minimum speed of a body in bytes per second, averaged over [`Config::idle_timeout`].
    pub min_speed_bytes: u64,
    pub max_redirects: usize,
    /// Maximum number of concurrent ftp connections to one server.
    pub per_host: usize,
    pub ftp_tls: FtpTls,
    /// URL of the proxy for http and https. If empty, Millpond connects directly.
    pub egress_proxy: String,
    /// Name of this instance in the `Via` header field.
    pub name: String,
}

/// TLS on ftp connections. It covers the control connection and the data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FtpTls {
    /// Millpond uses TLS if the server offers it. The certificate must then be valid.
    Offered,
    Required,
    Never,
}
