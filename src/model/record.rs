//! Record of one target and the bytes that it returned.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Algorithm, Attachment, Digests, Key, Sha256, Target};

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
    #[error("it is the record of another target")]
    OtherTarget,
    #[error("it has another digest")]
    OtherDigest,
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

    /// Replaces `Content-Disposition` by that of an attachment. It is dropped if it is too long.
    #[must_use]
    pub fn with_attachment(self, attachment: Option<Attachment>) -> Self {
        let value = attachment.map(|attachment| attachment.to_string());
        Self {
            content_disposition: value.filter(|value| is_forwardable(value)),
            ..self
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
    /// Scheme, host and port of the final source, behind all redirects. The rest of the URL is
    /// omitted, as it may be signed.
    pub source: String,
    pub headers: StoredHeaders,
}

/// Whether a record may answer for its target.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The origin gave these bytes before any others, or an operator accepted them.
    #[default]
    Established,
    /// The origin gave these bytes after others. They answer only if an operator accepts them.
    Witnessed,
}

impl Standing {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls this function with a reference"
    )]
    fn is_established(&self) -> bool {
        *self == Self::Established
    }
}

/// Record that one target returned these bytes. A record file is created once. Only a record of an
/// earlier generation, or an intact one in place of a damaged one, replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub(super) version: u32,
    /// Stored as the canonical string. Other spellings are rejected.
    #[serde(rename = "uri", with = "canonical")]
    pub target: Target,
    pub sha256: Sha256,
    pub size_bytes: u64,
    /// Number that orders the records of a target, from 1. Records of version 0.1.0 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<NonZeroU64>,
    #[serde(default, skip_serializing_if = "Standing::is_established")]
    pub standing: Standing,
    /// Time at which the target first returned these bytes. It is for people only.
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

/// The field that all versions of the format have.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl RecordError {
    /// Whether a newer release wrote the file.
    #[must_use]
    pub fn is_newer_version(&self) -> bool {
        matches!(self, Self::Version(version) if *version > VERSION)
    }
}

impl Record {
    /// Creates the record of a target that has no other. Publishing gives it its generation.
    /// `first_seen` is truncated to milliseconds.
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
            generation: Some(NonZeroU64::MIN),
            standing: Standing::Established,
            first_seen: truncate_to_millis(first_seen),
            source,
            headers,
            digests: digests.others,
        }
    }

    /// Parses a record file.
    ///
    /// # Errors
    /// [`RecordError`] if the file is invalid. Its name still says which bytes the target had.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge);
        }
        // Other versions may have other fields.
        let Versioned { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let record: Self = serde_json::from_slice(bytes)?;
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
