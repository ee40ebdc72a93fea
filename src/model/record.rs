//! What is remembered of one target having given certain bytes.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Algorithm, Digests, Key, Sha256, Target};

/// The largest record file that is read, in bytes.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;

/// The longest header value that is worth keeping, in bytes.
const MAX_KEPT_VALUE_BYTES: usize = 1024;

/// The version of the file format. A reader refuses what it does not know.
const VERSION: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("the record is larger than {MAX_RECORD_BYTES} bytes")]
    TooLarge,
    #[error("the record is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("the record is of version {0}, which is not known here")]
    Version(u32),
}

/// Header fields of the origin's answer that are repeated to clients. Each is visible ASCII and of bounded length.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptHeaders {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// The origin's own validator. It is never sent to a client, whose `ETag` comes from the SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

impl KeptHeaders {
    /// Keeps what `header` finds and what is fit to be sent on.
    pub fn collect<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let keep = |name: &str| header(name).filter(|value| is_worth_keeping(value)).map(str::to_owned);
        Self {
            last_modified: keep("last-modified").filter(|date| httpdate::parse_http_date(date).is_ok()),
            content_type: keep("content-type"),
            content_disposition: keep("content-disposition"),
            etag: keep("etag"),
        }
    }

    /// The origin's `Last-Modified` as a time, if it sent one.
    #[must_use]
    pub fn modified_at(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.last_modified.as_deref()?).ok()
    }

    /// Drops what must not be sent, for headers that come from a file.
    fn sanitised(self) -> Self {
        Self::collect(|name| match name {
            "last-modified" => self.last_modified.as_deref(),
            "content-type" => self.content_type.as_deref(),
            "content-disposition" => self.content_disposition.as_deref(),
            _ => self.etag.as_deref(),
        })
    }
}

fn is_worth_keeping(value: &str) -> bool {
    value.len() <= MAX_KEPT_VALUE_BYTES && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// One target gave these bytes. A record is created once and never rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// In the file its canonical string, and no other spelling.
    #[serde(rename = "uri", with = "canonical")]
    pub target: Target,
    pub sha256: Sha256,
    pub size_bytes: u64,
    #[serde(with = "rfc3339")]
    pub first_seen: SystemTime,
    /// Scheme and host that the bytes came from in the end. The rest of that URL may be signed, so it is not kept.
    pub source: String,
    #[serde(default)]
    pub headers: KeptHeaders,
    /// Digests that were computed besides, in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<Algorithm, String>,
}

impl Record {
    #[must_use]
    pub fn new(
        target: &Target,
        digests: Digests,
        size_bytes: u64,
        first_seen: SystemTime,
        source: String,
        headers: KeptHeaders,
    ) -> Self {
        Self {
            version: VERSION,
            target: target.clone(),
            sha256: digests.sha256,
            size_bytes,
            first_seen: whole_millis(first_seen),
            source,
            headers,
            digests: digests.others,
        }
    }

    /// Reads a record file.
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong with it; a record that does not parse counts as absent, never as an answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge);
        }
        let record: Self = serde_json::from_slice(bytes)?;
        if record.version != VERSION {
            return Err(RecordError::Version(record.version));
        }
        Ok(Self { headers: record.headers.sanitised(), ..record })
    }

    /// The bytes of the record file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes =
            serde_json::to_vec_pretty(self).expect("a record holds only strings, numbers and maps of strings");
        bytes.push(b'\n');
        bytes
    }

    /// The name of the record's target.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::of(&self.target)
    }

    /// The digests that this record vouches for.
    #[must_use]
    pub fn known_digests(&self) -> Digests {
        Digests { sha256: self.sha256, others: self.digests.clone() }
    }

    /// The record that answers for a target: the earliest first seen, and of two at one instant the lower digest.
    #[must_use]
    pub fn answering(records: Vec<Self>) -> Option<Self> {
        records.into_iter().min_by_key(|record| (record.first_seen, record.sha256))
    }
}

mod canonical {
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
            Err(D::Error::custom("the uri is not in its canonical spelling"))
        }
    }
}

/// The file keeps milliseconds, and a record must be the same before it is written and after it is read.
fn whole_millis(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_millis(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
