use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::model::{root_cause, sanitize_line};

/// Why a bucket did not do as it was asked, by what an operator can do about it. The texts are for
/// logs and operators.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BucketError {
    /// It does not answer, or says that it cannot now. It may later.
    #[error("the bucket does not answer: {0}")]
    Unavailable(String),
    /// It does not let us. Key, clock, rights or name are wrong.
    #[error("the bucket refuses: {0}")]
    Refused(String),
    /// There is no room in it.
    #[error("the bucket is full: {0}")]
    Full(String),
    /// It does not take this one request.
    #[error("the bucket does not take this: {0}")]
    Rejected(String),
    /// It has nothing of that name.
    #[error("the bucket does not have it")]
    NotFound,
    /// What it has is not what was put there.
    #[error("the bucket's copy is damaged")]
    Damaged,
    /// It failed a moment ago and is not asked now.
    #[error("the bucket has failed lately and is left alone for a while")]
    CircuitOpen,
    /// What was to be uploaded could not be read here.
    #[error("the file to upload cannot be read: {0}")]
    LocalReadFailed(String),
}

/// What is kept of what a bucket says, in characters.
const MAX_TEXT_CHARS: usize = 200;

impl BucketError {
    /// Whether this says something of the bucket as a whole, and not of one thing in it.
    #[must_use]
    pub fn is_bucket_wide(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Refused(_) | Self::Full(_)
        )
    }
}

/// The codes by which stores say that there is no room.
const FULL_CODES: [&str; 4] = [
    "InsufficientStorageSpace",
    "QuotaExceeded",
    "XMinioStorageFull",
    "StorageFull",
];

/// The codes by which they say that it is too much at once.
const BUSY_CODES: [&str; 4] = [
    "SlowDown",
    "RequestTimeout",
    "ServiceUnavailable",
    "InternalError",
];

/// The codes besides 401 and 403 by which they say that no request of ours will do.
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
        // The rest of what it says may name accounts, and is shown to clients too.
        let said = sanitize_line(&format!("{status} {code}"))
            .trim_end()
            .chars()
            .take(MAX_TEXT_CHARS)
            .collect();
        match status {
            _ if FULL_CODES.contains(&code) => Self::Full(said),
            507 => Self::Full(said),
            _ if REFUSAL_CODES.contains(&code) => Self::Refused(said),
            _ if BUSY_CODES.contains(&code) => Self::Unavailable(said),
            404 => Self::NotFound,
            // Of an object that is shorter than its record says.
            416 => Self::Damaged,
            300..400 | 401 | 403 => Self::Refused(said),
            429 | 500.. => Self::Unavailable(said),
            400..500 => Self::Rejected(said),
            // An answer that cannot be read comes from something that is no bucket.
            _ => Self::Unavailable(format!("{status}, and what it says cannot be read")),
        }
    }
}
