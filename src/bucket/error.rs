//! Errors of the bucket, and their classes.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::model::{root_cause, sanitize_line};

/// Error returned when a request to the bucket failed. The variants differ in what an operator can
/// do. The texts are for logs and operators.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BucketError {
    /// The bucket does not answer, or reports a temporary failure.
    #[error("the bucket does not answer: {0}")]
    Unavailable(String),
    /// The bucket rejects every request. The key, the clock, the permissions or the name are wrong.
    #[error("the bucket refuses: {0}")]
    Refused(String),
    /// The bucket has no space left.
    #[error("the bucket is full: {0}")]
    Full(String),
    /// The bucket rejects this one request.
    #[error("the bucket rejects the request: {0}")]
    Rejected(String),
    /// The bucket does not have the key.
    #[error("the bucket does not have it")]
    NotFound,
    /// The copy in the bucket has other bytes or another length.
    #[error("the bucket's copy is damaged")]
    Damaged,
    /// The copy in a replica of the bucket has other bytes. The bucket may have the right ones.
    #[error("the copy in a replica of the bucket is damaged")]
    DamagedReplica,
    /// The bucket failed recently. The request was not sent.
    #[error("the bucket failed recently, and gets no requests for a while")]
    CircuitOpen,
    /// The file to upload could not be read from the disk, or is corrupt.
    #[error("the file to upload cannot be read: {0}")]
    LocalReadFailed(String),
}

/// Bound on the text of an error, in characters.
const MAX_TEXT_CHARS: usize = 200;

impl BucketError {
    /// Whether the error concerns the whole bucket. The other errors concern one object.
    #[must_use]
    pub fn is_bucket_wide(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Refused(_) | Self::Full(_)
        )
    }
}

/// Error codes of a full store.
const FULL_CODES: [&str; 4] = [
    "InsufficientStorageSpace",
    "QuotaExceeded",
    "XMinioStorageFull",
    "StorageFull",
];

/// Error codes of an overloaded store.
const BUSY_CODES: [&str; 4] = [
    "SlowDown",
    "RequestTimeout",
    "ServiceUnavailable",
    "InternalError",
];

/// Error codes, besides the statuses 401 and 403, of a store that rejects every request.
const REFUSAL_CODES: [&str; 5] = [
    "NoSuchBucket",
    "ExpiredToken",
    "InvalidToken",
    "AuthorizationHeaderMalformed",
    "InvalidBucketName",
];

impl<E> From<SdkError<E, HttpResponse>> for BucketError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let (Some(service), Some(response)) = (error.as_service_error(), error.raw_response())
        else {
            return Self::Unavailable(
                sanitize_line(&root_cause(&error))
                    .chars()
                    .take(MAX_TEXT_CHARS)
                    .collect(),
            );
        };
        let status = response.status().as_u16();
        let code = service.meta().code().unwrap_or_default();
        // The store's message may name accounts, and clients can read this text.
        let text = sanitize_line(&format!("{status} {code}"))
            .trim_end()
            .chars()
            .take(MAX_TEXT_CHARS)
            .collect();
        match status {
            _ if FULL_CODES.contains(&code) => Self::Full(text),
            507 => Self::Full(text),
            _ if REFUSAL_CODES.contains(&code) => Self::Refused(text),
            _ if BUSY_CODES.contains(&code) => Self::Unavailable(text),
            404 => Self::NotFound,
            // The object is shorter than its record says.
            416 => Self::Damaged,
            300..400 | 401 | 403 => Self::Refused(text),
            429 | 500.. => Self::Unavailable(text),
            400..500 => Self::Rejected(text),
            // A success whose body cannot be parsed does not come from a bucket.
            _ => Self::Unavailable(format!("status {status} with an invalid body")),
        }
    }
}
