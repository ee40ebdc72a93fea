//! Source of the configuration: file, environment and arguments.

use std::path::{Path, PathBuf};

use crate::bucket::Bucket;
use crate::config::{Config, ConfigLoadError};
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

    /// Opens the bucket of the configuration.
    ///
    /// # Errors
    /// A text with the configuration key that is invalid.
    pub fn open_bucket(&self) -> Result<Bucket, String> {
        open_bucket(self.load())
    }
}

/// Opens the bucket of another configuration file. Environment and arguments are those of the
/// gateway's own bucket, and have no effect.
///
/// # Errors
/// A text with the configuration key that is invalid.
pub fn open_bucket_of_file(file: &Path) -> Result<Bucket, String> {
    open_bucket(Config::load(Some(file), [], &[]))
}

fn open_bucket(config: Result<Config, ConfigLoadError>) -> Result<Bucket, String> {
    let config = config.map_err(|error| error.to_string())?;
    if !config.s3.is_on() {
        return Err("the configuration names no bucket: s3.bucket is empty".to_owned());
    }
    Bucket::new(config.s3, EventSink::new()).map_err(|error| error.to_string())
}
