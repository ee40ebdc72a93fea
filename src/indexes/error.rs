//! Errors of indexes.

/// Error returned for a document that is no index of its registry.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("the index of upstream is neither HTML nor JSON")]
    MediaType,
    #[error("the index of upstream is no UTF-8 text")]
    Utf8,
    #[error("the index of upstream is invalid: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the links of the index of upstream are too long")]
    LongLinks,
    #[error("the config.json of upstream has no usable dl")]
    NoDownloadUrl,
}
