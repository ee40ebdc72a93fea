//! Lease record: the file through which the process that fetches informs the others. The main type
//! is [`LeaseRecord`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::cache::{Lease, StagedName};
use crate::fetch::FetchError;
use crate::model::{ExpectedDigests, Sha256, StoredHeaders, WrongFile};
use crate::origin::{OriginError, Validator};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseRecord {
    /// A body is arriving, and readers in the process have seen its head.
    Streaming(StagedBody),
    /// The last attempt ended with this status. Another attempt would not help.
    Answered {
        status: u16,
        retry_after_ms: Option<u64>,
        #[serde(default)]
        challenge: Option<String>,
    },
    /// No attempt returned the file type that the target's name indicates.
    WrongFileType(WrongFile),
    /// The body does not have the digest on record.
    Mismatch { expected: Sha256, found: Sha256 },
    /// The fetch failed in another way, after the maximum number of attempts.
    Failed,
}

/// Body that another process stages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StagedBody {
    pub file: StagedName,
    /// In bytes. `None` if the origin did not state it.
    pub length: Option<u64>,
    #[serde(deserialize_with = "deserialize_headers")]
    pub headers: StoredHeaders,
    /// URL that the body came from.
    pub source: String,
    /// Validator of every byte in the file, if there is one. The process removes it before it
    /// writes bytes of another version.
    pub validator: Option<Validator>,
}

impl LeaseRecord {
    /// Returns `None` for a record of another version. Its reader waits for the end of the lease.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Writes the record, so that other processes read it. Failures are logged. Without the record,
    /// other processes wait for the end of the lease.
    pub async fn write(&self, lease: &Lease) {
        let bytes = serde_json::to_vec(self).expect("a record holds only strings and numbers");
        if let Err(error) = lease.write_record(bytes).await {
            tracing::warn!(%error, "lease record was not written, other processes wait");
        }
    }

    /// Returns the record of a failure that other processes would get too. Failures of this
    /// process only have no record.
    pub fn from_failure(error: &FetchError) -> Option<Self> {
        match error {
            FetchError::Origin(OriginError::Status {
                status,
                retry_after,
                challenge,
            }) => {
                let retry_after_ms =
                    retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                Some(Self::Answered {
                    status: *status,
                    retry_after_ms,
                    challenge: challenge.as_deref().map(str::to_owned),
                })
            }
            FetchError::WrongFileType(fault) => Some(Self::WrongFileType(*fault)),
            FetchError::Mismatch { expected, found } => {
                let expected = expected
                    .iter()
                    .find_map(|digest| digest.hex().parse().ok())?;
                Some(Self::Mismatch {
                    expected,
                    found: *found,
                })
            }
            error => error.is_negative_cacheable().then_some(Self::Failed),
        }
    }

    /// Returns the failure that ends the fetch of a following process too.
    pub fn failure(&self) -> Option<FetchError> {
        match self {
            Self::Answered {
                status,
                retry_after_ms,
                challenge,
            } => {
                let retry_after = retry_after_ms.map(Duration::from_millis);
                Some(
                    OriginError::Status {
                        status: *status,
                        retry_after,
                        challenge: challenge.as_deref().map(Arc::from),
                    }
                    .into(),
                )
            }
            Self::WrongFileType(fault) => Some(FetchError::WrongFileType(*fault)),
            Self::Mismatch { expected, found } => Some(FetchError::Mismatch {
                expected: ExpectedDigests::from_iter([(*expected).into()]),
                found: *found,
            }),
            Self::Streaming(_) | Self::Failed => None,
        }
    }
}

/// Reads header fields from a file with the checks for fields from an origin.
fn deserialize_headers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<StoredHeaders, D::Error> {
    let fields = BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(StoredHeaders::collect(|name| {
        fields.get(&name.replace('-', "_")).map(String::as_str)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_reaches_other_processes() {
        let error = FetchError::Origin(OriginError::Status {
            status: 401,
            retry_after: None,
            challenge: Some("Basic realm=\"x\"\nBearer realm=\"y\"".into()),
        });
        let record = LeaseRecord::from_failure(&error).unwrap();
        let bytes = serde_json::to_vec(&record).unwrap();
        let failure = LeaseRecord::parse(&bytes).unwrap().failure().unwrap();
        assert_eq!(format!("{failure:?}"), format!("{error:?}"));
        // A process of an older version writes no challenge.
        let old = br#"{"answered": {"status": 401, "retry_after_ms": null}}"#;
        assert!(LeaseRecord::parse(old).unwrap().failure().is_some());
    }
}
