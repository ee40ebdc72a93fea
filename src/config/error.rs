use std::path::PathBuf;

/// What is wrong with a configuration, in one line that says where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration {} cannot be read: {why}", path.display())]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("{}:{line}: {why}", path.display())]
    Line { path: PathBuf, line: usize, why: String },
    #[error("{0}: there is no such key")]
    UnknownKey(String),
    #[error("{source_name}: {why}")]
    Setting { source_name: String, why: String },
    #[error("{key}: {why}")]
    Value { key: String, why: String },
    #[error("{0}")]
    Contradiction(String),
}
