//! The URL of the Redis server. The main type is [`RedisUrl`].

use redis::{ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};

use crate::model::{ConfigError, Secret};

/// Maximum length of the URL.
const MAX_URL_BYTES: usize = 1024;

/// Address of the Redis server, with the login.
#[derive(Clone)]
pub struct RedisUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: RedisConnectionInfo,
}

impl RedisUrl {
    /// Parses the value of the configuration key `key`.
    ///
    /// # Errors
    /// [`ConfigError`] without the URL, which may have a password.
    pub fn parse(key: &'static str, url: &Secret) -> Result<Self, ConfigError> {
        let invalid = |reason: &str| ConfigError::new(key, reason.to_owned());
        let form = || invalid("must be like \"redis://:password@10.0.0.5:6379/0\"");
        let text = url.expose();
        if text.starts_with("rediss:") {
            return Err(invalid(
                "is rediss, and Millpond has no TLS for Redis; use redis in a private network, \
                 or a tunnel",
            ));
        }
        if !text.starts_with("redis://") || text.len() > MAX_URL_BYTES {
            return Err(form());
        }
        let info = text.into_connection_info().map_err(|_| form())?;
        match info.addr() {
            ConnectionAddr::Tcp(host, port) if !host.is_empty() && *port != 0 => Ok(Self {
                host: host.clone(),
                port: *port,
                // No name of the client is sent, which some servers and users may not set.
                login: info.redis_settings().clone().set_skip_set_lib_name(),
            }),
            _ => Err(form()),
        }
    }

    /// Returns host and port, without the login.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisUrl({})", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<RedisUrl, String> {
        let parsed = RedisUrl::parse("cluster.redis_url", &Secret::from(url.to_owned()));
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn url_has_host_port_login_and_number() {
        let url = parse("redis://own:pass%20word@10.0.0.5:6380/3").unwrap();
        assert_eq!(url.authority(), "10.0.0.5:6380");
        assert_eq!(url.login.username(), Some("own"));
        assert_eq!(url.login.password(), Some("pass word"));
        assert_eq!(url.login.db(), 3);
        assert_eq!(format!("{url:?}"), "RedisUrl(10.0.0.5:6380)");
        assert_eq!(parse("redis://redis.example.org").unwrap().port, 6379);
    }

    #[test]
    fn invalid_url_is_not_shown() {
        for url in [
            "rediss://:hush@10.0.0.5",
            "http://:hush@10.0.0.5",
            "redis:hush",
            "redis://:hush@10.0.0.5:0",
            "redis://:hush@10.0.0.5/hush",
            "redis+unix:///hush",
            &format!("redis://{}hush", "a".repeat(MAX_URL_BYTES)),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains("cluster.redis_url"), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
