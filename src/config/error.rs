use std::path::PathBuf;

/// Error returned for an invalid configuration: one line with the key, and the file and line number
/// if known.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {why}", path.display())]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("{}:{line}: {why}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        why: String,
    },
    #[error("{0}: unknown configuration key")]
    UnknownKey(String),
    #[error("{source_name}: {why}")]
    Setting { source_name: String, why: String },
    #[error("{key}: {why}")]
    Value { key: String, why: String },
    #[error("{0}")]
    Contradiction(String),
}
