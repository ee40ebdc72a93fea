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
        open_bucket(self.load())
    }
}

/// Opens the bucket of another configuration file. Environment and arguments are those of the
/// gateway's own bucket, and have no effect.
///
/// # Errors
/// [`CliError`] if the configuration is invalid or names no bucket.
pub fn open_bucket_of_file(file: &Path) -> Result<Bucket, CliError> {
    open_bucket(Config::load(Some(file), [], &[]))
}

fn open_bucket(config: Result<Config, ConfigLoadError>) -> Result<Bucket, CliError> {
    let config = config?;
    if !config.s3.is_on() {
        return Err(CliError::NoBucket);
    }
    Ok(Bucket::new(config.s3, EventSink::new())?)
}
