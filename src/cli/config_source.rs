//! Source of the configuration: file, environment and arguments.
//!
//! The main type is [`ConfigSource`].

use std::path::{Path, PathBuf};

use super::error::CliError;
use crate::bucket::Bucket;
use crate::config::{self, Config, ConfigLoadError, Setting};
use crate::model::EventSink;

/// Arguments that locate the configuration.
#[derive(clap::Args)]
pub struct ConfigSource {
    /// Configuration file in TOML; without one, the defaults apply
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Override one value of file and environment, such as cache.max_size=100GiB
    #[arg(long, value_name = "SECTION.KEY=VALUE", global = true)]
    pub set: Vec<String>,
}

impl ConfigSource {
    /// Loads the configuration.
    ///
    /// # Errors
    /// [`ConfigLoadError`] with the key and the line.
    pub fn load(&self) -> Result<Config, ConfigLoadError> {
        Config::load(self.config.as_deref(), Config::environment(), &self.set)
    }

    /// Loads the configuration, and returns the effective value of every key.
    ///
    /// # Errors
    /// All mistakes that can be found at once.
    pub fn examine(&self) -> Result<Vec<Setting>, Vec<ConfigLoadError>> {
        config::examine(self.config.as_deref(), Config::environment(), &self.set)
    }

    /// Opens the bucket of the configuration.
    ///
    /// # Errors
    /// [`CliError`] if the configuration is invalid or names no bucket.
    pub fn open_bucket(&self) -> Result<Bucket, CliError> {
        open_bucket(self.load()?)
    }
}

/// Loads another configuration file, which names a bucket. Environment and arguments are those of
/// the gateway's own bucket, and have no effect.
///
/// # Errors
/// [`ConfigLoadError`] with the key and the line.
pub fn load_bucket_file(file: &Path) -> Result<Config, ConfigLoadError> {
    Config::load(Some(file), [], &[])
}

/// Opens the bucket of a loaded configuration, without its replicas: a migration copies what the
/// bucket itself has.
///
/// # Errors
/// [`CliError`] if a secret cannot be read or the configuration names no bucket.
pub fn open_bucket(mut config: Config) -> Result<Bucket, CliError> {
    if !config.s3.is_on() {
        return Err(CliError::NoBucket);
    }
    config.s3.replicas.clear();
    Ok(Bucket::new(config.s3, EventSink::new())?)
}
