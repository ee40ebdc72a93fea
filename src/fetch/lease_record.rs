//! What a process that fetches tells the others, in the note of its claim.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::FetchError;
use crate::cache::StagedName;
use crate::model::{ExpectedDigests, Sha256, StoredHeaders};
use crate::origin::OriginError;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseRecord {
    /// A body is coming, and the followers there have seen its head.
    Flowing(StagedBody),
    /// What the origin said to the last attempt. Asking it again would be the same.
    Answered {
        status: u16,
        retry_after_ms: Option<u64>,
    },
    /// What came was not what the name promises, at the last attempt too.
    Impostor,
    /// What came is not what is on record.
    Mismatch { expected: Sha256, found: Sha256 },
    /// It failed in another way, after as many attempts as there may be.
    Failed,
}

/// A body that another process stages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StagedBody {
    #[serde(with = "as_text")]
    pub file: StagedName,
    /// In bytes, if the origin said so.
    pub length: Option<u64>,
    #[serde(deserialize_with = "fit_to_send")]
    pub headers: StoredHeaders,
    pub source: String,
    /// The strong validator of every byte in the file, if there is one. It is withdrawn before
    /// other bytes are written.
    pub validator: Option<String>,
}

impl LeaseRecord {
    /// `None` if it is of another version: then the end of the claim is all there is to know.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a note holds only strings and numbers")
    }

    /// What the others have to know of a failure; nothing of those that are this process's own.
    pub fn of_failure(error: &FetchError) -> Option<Self> {
        match error {
            FetchError::Origin(OriginError::Status {
                status,
                retry_after,
            }) => {
                let retry_after_ms =
                    retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                Some(Self::Answered {
                    status: *status,
                    retry_after_ms,
                })
            }
            FetchError::WrongFileType => Some(Self::Impostor),
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

    /// The failure that is everybody's.
    pub fn failure(&self) -> Option<FetchError> {
        match self {
            Self::Answered {
                status,
                retry_after_ms,
            } => {
                let retry_after = retry_after_ms.map(Duration::from_millis);
                Some(
                    OriginError::Status {
                        status: *status,
                        retry_after,
                    }
                    .into(),
                )
            }
            Self::Impostor => Some(FetchError::WrongFileType),
            Self::Mismatch { expected, found } => Some(FetchError::Mismatch {
                expected: ExpectedDigests::from_iter([(*expected).into()]),
                found: *found,
            }),
            Self::Flowing(_) | Self::Failed => None,
        }
    }
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::cache::StagedName;

    pub fn serialize<S: Serializer>(name: &StagedName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(name)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StagedName, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// Header fields that come from a file are judged as if they came from an origin.
fn fit_to_send<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StoredHeaders, D::Error> {
    let fields = BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(StoredHeaders::collect(|name| {
        fields.get(&name.replace('-', "_")).map(String::as_str)
    }))
}
