//! Reload of the configuration while the service runs.
//!
//! The main type is [`Reloadable`].

use std::path::PathBuf;
use std::sync::Arc;

use crate::admin::Tokens;
use crate::config::{Config, ConfigLoadError};
use crate::gateway::Gateway;
use crate::http::{HttpService, ProxyConfig, Settings};
use crate::model::ConfigError;
use crate::policy::Policy;
use crate::users::DownloadUsers;

/// Source of the configuration, from which a reload reads it again.
pub struct Reload {
    pub file: Option<PathBuf>,
    /// Settings of the command line, as `key=value`.
    pub settings: Vec<String>,
}

/// Parts of the service that a reload changes, with the configuration of the start.
pub struct Reloadable {
    pub policy: Arc<Policy>,
    pub gateway: Arc<Gateway>,
    pub service: Arc<HttpService>,
    pub started_with: Config,
}

impl Reloadable {
    /// Reads the configuration again and applies it. An invalid configuration changes nothing.
    pub fn reload(&self, source: &Reload) {
        let config = match self.load(source) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(
                    %error,
                    "the configuration was not reloaded; the old one stays in force"
                );
                return;
            }
        };
        match Tokens::load(&config.gateway) {
            Ok(tokens) => self.service.replace_tokens(tokens),
            Err(error) => tracing::error!(
                %error,
                "the token for operators was not reloaded; the old one stays in force"
            ),
        }
        match DownloadUsers::load(&config.gateway.download_users_file) {
            Ok(users) => self.service.replace_users(users),
            Err(error) => tracing::error!(
                %error,
                "the users that may download were not reloaded; the old ones stay in force"
            ),
        }
        self.gateway.replace_config(config.gateway.clone());
        match settings_of(&config) {
            Ok(settings) => self.service.replace_settings(settings),
            Err(error) => tracing::error!(
                %error,
                "hosts, mirror, registries and gateway were not reloaded; the old ones stay in \
                 force"
            ),
        }
        if needs_restart(&config, &self.started_with) {
            tracing::warn!(
                "the configuration was reloaded; listen, name, state_dir, proxy, intercept, cache, \
                 s3, fetch, dial, notify, dns, cluster and log need a restart"
            );
        } else {
            tracing::info!("the configuration was reloaded");
        }
    }

    /// Reads the configuration and puts its policy in force.
    fn load(&self, source: &Reload) -> Result<Config, ConfigLoadError> {
        let file = source.file.as_deref();
        let config = Config::load(file, Config::environment(), &source.settings)?;
        self.policy.replace(
            config.policy.clone(),
            config.rules.clone(),
            &config.parents,
            config.limits.clone(),
        )?;
        Ok(config)
    }
}

/// Returns the settings of the HTTP module.
///
/// # Errors
/// [`ConfigError`] for the first invalid value.
pub fn settings_of(config: &Config) -> Result<Settings, ConfigError> {
    Ok(Settings::from_config(
        &config.gateway,
        config.host_table()?,
        config.mirror.upstreams()?,
        config.registry_table()?,
    ))
}

/// Whether the two configurations differ in a section or key that a reload does not apply.
fn needs_restart(new: &Config, old: &Config) -> bool {
    let is_gateway_equal = new.gateway.listen == old.gateway.listen
        && new.gateway.name == old.gateway.name
        && new.gateway.state_dir == old.gateway.state_dir
        && new.gateway.shutdown_grace == old.gateway.shutdown_grace;
    let is_storage_equal = new.cache == old.cache && new.s3 == old.s3;
    // Policy applies the hosts.
    let old_proxy = ProxyConfig {
        upgrade_hosts: new.proxy.upgrade_hosts.clone(),
        ..old.proxy.clone()
    };
    let are_modules_equal = new.proxy == old_proxy
        && new.intercept == old.intercept
        && new.fetch == old.fetch
        && new.dial == old.dial
        && new.notify == old.notify
        && new.dns == old.dns
        && new.cluster == old.cluster
        && new.log == old.log;
    !(is_gateway_equal && is_storage_equal && are_modules_equal)
}
