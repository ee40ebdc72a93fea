//! Errors of commands that work on the configured cache or bucket.

use std::path::PathBuf;

use crate::cache::OpenError;
use crate::config::ConfigLoadError;
use crate::model::ConfigError;
use crate::services::ServicesError;

/// Error returned when a command cannot open what its arguments and the configuration name. The
/// operator must change one of them.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Load(#[from] ConfigLoadError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Folder(#[from] OpenError),
    #[error(transparent)]
    Services(#[from] ServicesError),
    #[error("cannot take on the owner of the cache folder: {0}")]
    Owner(#[from] std::io::Error),
    #[error("the configuration names no bucket: s3.bucket is empty")]
    NoBucket,
    #[error(
        "{} is neither a folder nor a configuration file; create an empty folder for a new cache",
        .0.display()
    )]
    NoEndpoint(PathBuf),
    #[error("{} holds no cache; name the folder of cache.dir", .0.display())]
    NoCache(PathBuf),
    #[error(
        "{} holds other files than a cache; create an empty folder for a new cache",
        .0.display()
    )]
    OtherFolder(PathBuf),
    #[error(
        "the folders have different owners; chown one of them, or run as a user that may use both"
    )]
    DifferentOwners,
    #[error("source and destination are the same")]
    SameFolder,
    #[error("one of the two folders is inside the other; use a folder of its own for each cache")]
    NestedFolders,
    #[error("cache.dir: there is no folder {}", .0.display())]
    NoFolder(PathBuf),
}
