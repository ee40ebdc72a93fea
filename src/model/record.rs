//! Record of one target and the bytes that it returned.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Algorithm, Digests, Key, Sha256, Target};

/// Largest record file that is read, in bytes.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;

/// Longest header value that is stored, in bytes. Longer ones are dropped.
const MAX_VALUE_BYTES: usize = 1024;

/// Version of the file format. A reader rejects other versions.
const VERSION: u32 = 1;

/// Error returned when a record file is invalid.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("the record is larger than {MAX_RECORD_BYTES} bytes")]
    TooLarge,
    #[error("the record is corrupt: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("the record has version {0}, which is not supported")]
    Version(u32),
    #[error("the record belongs to another target")]
    OtherTarget,
}

/// Stored header fields of the origin's response. Values are visible ASCII of bounded length.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredHeaders {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// The origin's validator. Clients never get it: their `ETag` is the SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

impl StoredHeaders {
    /// Collects the fields that `header` returns and that are safe to forward.
    pub fn collect<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let stored = |name: &str| {
            header(name)
                .filter(|value| is_forwardable(value))
                .map(str::to_owned)
        };
        Self {
            last_modified: stored("last-modified")
                .filter(|date| httpdate::parse_http_date(date).is_ok()),
            content_type: stored("content-type"),
            content_disposition: stored("content-disposition"),
            etag: stored("etag"),
        }
    }

    /// Returns the origin's `Last-Modified` as a time, if present.
    #[must_use]
    pub fn modified_at(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.last_modified.as_deref()?).ok()
    }

    /// Drops fields from a record file that must not be forwarded.
    fn sanitised(self) -> Self {
        Self::collect(|name| match name {
            "last-modified" => self.last_modified.as_deref(),
            "content-type" => self.content_type.as_deref(),
            "content-disposition" => self.content_disposition.as_deref(),
            _ => self.etag.as_deref(),
        })
    }
}

fn is_forwardable(value: &str) -> bool {
    value.len() <= MAX_VALUE_BYTES
        && value
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// Response that a record was made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordSource {
    /// Scheme and host of the final source. The rest of the URL is omitted, as it may be signed.
    pub source: String,
    pub headers: StoredHeaders,
}

/// Record that one target returned these bytes. A record file is created once and never rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// Stored as the canonical string. Other spellings are rejected.
    #[serde(rename = "uri", with = "canonical")]
    pub target: Target,
    pub sha256: Sha256,
    pub size_bytes: u64,
    /// Time at which the target first returned these bytes.
    #[serde(with = "rfc3339")]
    pub first_seen: SystemTime,
    /// As [`RecordSource::source`].
    pub source: String,
    #[serde(default)]
    pub headers: StoredHeaders,
    /// Other computed digests, in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<Algorithm, String>,
}

impl Record {
    /// Creates a record in the current version. `first_seen` is truncated to milliseconds.
    #[must_use]
    pub fn new(
        target: &Target,
        digests: Digests,
        size_bytes: u64,
        first_seen: SystemTime,
        RecordSource { source, headers }: RecordSource,
    ) -> Self {
        Self {
            version: VERSION,
            target: target.clone(),
            sha256: digests.sha256,
            size_bytes,
            first_seen: truncate_to_millis(first_seen),
            source,
            headers,
            digests: digests.others,
        }
    }

    /// Parses a record file.
    ///
    /// # Errors
    /// [`RecordError`] if the file is invalid. Callers treat an invalid record as absent.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge);
        }
        let record: Self = serde_json::from_slice(bytes)?;
        if record.version != VERSION {
            return Err(RecordError::Version(record.version));
        }
        Ok(Self {
            headers: record.headers.sanitised(),
            ..record
        })
    }

    /// Returns the content of the record file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .expect("a record contains only strings, numbers and maps of strings");
        bytes.push(b'\n');
        bytes
    }

    /// Returns the key of the record's target.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(&self.target)
    }

    /// Returns all digests in the record.
    #[must_use]
    pub fn known_digests(&self) -> Digests {
        Digests {
            sha256: self.sha256,
            others: self.digests.clone(),
        }
    }

    /// Returns the active record of a target: the earliest one, then the one with the lower digest.
    #[must_use]
    pub fn active(records: Vec<Self>) -> Option<Self> {
        records
            .into_iter()
            .min_by_key(|record| (record.first_seen, record.sha256))
    }
}

pub(crate) mod canonical {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::Target;

    pub fn serialize<S: Serializer>(target: &Target, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(target.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Target, D::Error> {
        let uri = String::deserialize(deserializer)?;
        let target = Target::parse(&uri).map_err(D::Error::custom)?;
        if target.as_str() == uri {
            Ok(target)
        } else {
            Err(D::Error::custom("the uri is not canonical"))
        }
    }
}

/// Truncates to milliseconds, as the file does, so that a record equals its parsed file.
fn truncate_to_millis(time: SystemTime) -> SystemTime {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    SystemTime::UNIX_EPOCH
        + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_millis(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
