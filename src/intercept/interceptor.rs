//! The main type of the module, [`Interceptor`].

use std::collections::BTreeSet;
use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moka::sync::Cache;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};

use super::authority::{AuthorityFacts, CertificateAuthority};
use super::config::{Config, FOLDER_KEY, HOSTS_KEY};
use super::error::{AuthorityError, HandshakeError, MintError};
use super::handshake::{self, Intercepted};
use super::leaf::LeafMinter;
use crate::model::{ClientNet, ConfigError};

/// How long the refusals of a client are one warning, and the failures of a host one error.
const WARNING_INTERVAL: Duration = Duration::from_hours(1);

/// Largest number of clients whose refusals are remembered.
const MAX_WARNED_CLIENTS: u64 = 1000;

/// Largest number of hosts whose failures are remembered.
const MAX_FAILED_HOSTS: u64 = 200;

/// Ends the TLS of clients for the listed hosts.
#[derive(Debug)]
pub struct Interceptor {
    hosts: BTreeSet<String>,
    minter: LeafMinter,
    warned: Cache<ClientNet, ()>,
    failed: Cache<String, ()>,
}

impl Interceptor {
    /// Loads the certificate authority. Returns `None` if no host is listed.
    ///
    /// # Errors
    /// [`ConfigError`] if the certificate authority cannot be used, or does not cover a host.
    pub fn load(config: &Config, state_dir: &Path) -> Result<Option<Self>, ConfigError> {
        let hosts = config.host_names();
        if hosts.is_empty() {
            return Ok(None);
        }
        let load = || {
            let authority = CertificateAuthority::load(&config.folder(state_dir))?;
            authority.check_hosts(&hosts)?;
            Ok(authority)
        };
        let authority = load().map_err(|error| {
            let key = match error {
                AuthorityError::Uncovered { .. } => HOSTS_KEY,
                _ => FOLDER_KEY,
            };
            ConfigError::new(key, error)
        })?;
        Ok(Some(Self {
            hosts,
            minter: LeafMinter::new(authority),
            warned: remembered(MAX_WARNED_CLIENTS),
            failed: remembered(MAX_FAILED_HOSTS),
        }))
    }

    /// Whether the TLS of a host is ended. `host` is in the form of a target.
    #[must_use]
    pub fn is_intercepted(&self, host: &str) -> bool {
        self.hosts.contains(host)
    }

    /// Returns the number of hosts.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// Returns facts about the certificate authority.
    #[must_use]
    pub fn authority(&self) -> &AuthorityFacts {
        self.minter.authority().facts()
    }

    /// Returns hosts that the certificate authority covers and the list does not have.
    pub fn unlisted_hosts(&self) -> impl Iterator<Item = &str> {
        let covered = self.authority().hosts.iter().map(String::as_str);
        covered.filter(|host| !self.hosts.contains(*host))
    }

    /// Returns whether a certificate can be made for a host now. If not, such as after the end of
    /// the certificate authority, the cause is logged at most once an hour for each host.
    pub fn can_serve(&self, host: &str) -> bool {
        let made = self.minter.config_for(host, SystemTime::now());
        if let Err(error) = &made
            && self.failed.entry(host.to_owned()).or_insert(()).is_fresh()
        {
            tracing::error!(host, %error, "cannot end the TLS of a host of intercept.hosts");
        }
        made.is_ok()
    }

    /// Ends the TLS of a client that has asked for a host. `early` are the first bytes on `stream`.
    ///
    /// # Errors
    /// [`HandshakeError`] with the likely cause.
    pub async fn accept<S>(
        &self,
        stream: S,
        early: &[u8],
        host: &str,
    ) -> Result<Intercepted<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        handshake::accept(stream, early, |name, now| self.config_for(host, name, now)).await
    }

    /// Returns the settings for a host. A client that names another listed host gets a certificate
    /// that it accepts, so that it sees the error response inside.
    fn config_for(
        &self,
        host: &str,
        server_name: Option<&str>,
        now: SystemTime,
    ) -> Result<Arc<ServerConfig>, MintError> {
        let listed = server_name.filter(|name| self.is_intercepted(name));
        self.minter.config_for(listed.unwrap_or(host), now)
    }

    /// Warns of a client that probably refuses the certificates, at most once an hour for each
    /// client.
    pub fn warn_of_refusal(&self, client: ClientNet, host: &str, cause: &str) {
        if self.warned.entry(client).or_insert(()).is_fresh() {
            tracing::warn!(
                %client,
                host,
                cause,
                "a client probably does not trust the certificate authority of intercept.ca_dir"
            );
        }
    }
}

/// Returns a set whose members are forgotten after [`WARNING_INTERVAL`].
fn remembered<K: Hash + Eq + Send + Sync + 'static>(capacity: u64) -> Cache<K, ()> {
    Cache::builder()
        .time_to_live(WARNING_INTERVAL)
        .max_capacity(capacity)
        .build()
}
