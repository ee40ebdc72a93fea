//! One recent event with its identity, as JSON. The main type is [`EventEntry`].

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::model::{Event, Target};

/// Identity of an event, as `process-number` in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    /// Random number of the process.
    pub process: u32,
    /// Number of the event since the start of the process.
    pub number: u64,
}

/// Error returned for text that is no identity of an event.
#[derive(Debug, thiserror::Error)]
#[error("this is no identity of an event")]
pub struct EventIdError;

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        let (process, number) = text.split_once('-').ok_or(EventIdError)?;
        Ok(Self {
            process: u32::from_str_radix(process, 16).map_err(|_| EventIdError)?,
            number: u64::from_str_radix(number, 16)
                .ok()
                .filter(|number| *number < u64::MAX)
                .ok_or(EventIdError)?,
        })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}", self.process, self.number)
    }
}

/// One recent event.
#[derive(Debug)]
pub struct EventEntry {
    id: EventId,
    /// One line of JSON, without secrets.
    json: String,
}

impl EventEntry {
    /// Renders an event.
    #[must_use]
    pub fn new(id: EventId, event: &Event, now: SystemTime) -> Self {
        let mut value = Map::new();
        value.insert("id".to_owned(), json!(id.to_string()));
        let time = humantime::format_rfc3339_millis(now).to_string();
        value.insert("time".to_owned(), json!(time));
        value.insert("type".to_owned(), json!(type_of(event)));
        if let Value::Object(facts) = facts_of(event) {
            value.extend(facts);
        }
        Self {
            id,
            json: Value::Object(value).to_string(),
        }
    }

    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// Returns one line of JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }
}

fn type_of(event: &Event) -> &'static str {
    match event {
        Event::Stored { .. } => "stored",
        Event::FetchFailed { .. } => "fetch_failed",
        Event::CorruptionFound { .. } => "corruption_found",
        Event::Repaired { .. } => "repaired",
        Event::Evicted { .. } => "evicted",
        Event::BucketFailed { .. } => "bucket_failed",
        Event::BucketRecovered => "bucket_recovered",
        Event::ReplicaFailed { .. } => "replica_failed",
        Event::ReplicaRecovered { .. } => "replica_recovered",
        Event::DiskFailed { .. } => "disk_failed",
        Event::DiskRecovered => "disk_recovered",
    }
}

fn facts_of(event: &Event) -> Value {
    match event {
        Event::Stored {
            target,
            sha256,
            size_bytes,
        } => json!({ "url": target.redacted(), "sha256": sha256, "size_bytes": size_bytes }),
        Event::FetchFailed {
            target,
            cause,
            detail,
            ..
        } => json!({ "url": target.redacted(), "cause": cause.as_str(), "detail": detail }),
        Event::CorruptionFound { targets, detail } => {
            json!({ "urls": redacted(targets), "detail": detail })
        }
        Event::Repaired { targets } => json!({ "urls": redacted(targets) }),
        Event::Evicted {
            sha256,
            size_bytes,
            reason,
        } => json!({ "sha256": sha256, "size_bytes": size_bytes, "reason": reason.as_str() }),
        Event::BucketFailed { detail } | Event::DiskFailed { detail } => {
            json!({ "detail": detail })
        }
        Event::ReplicaFailed { replica, detail } => {
            json!({ "replica": replica, "detail": detail })
        }
        Event::ReplicaRecovered { replica } => json!({ "replica": replica }),
        Event::BucketRecovered | Event::DiskRecovered => Value::Null,
    }
}

fn redacted(targets: &[Target]) -> Vec<String> {
    targets.iter().map(Target::redacted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_survives_its_text() {
        for (process, number) in [(0, 0), (7, 1000), (u32::MAX, u64::MAX - 1)] {
            let id = EventId { process, number };
            assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        }
        for wrong in ["", "-", "1", "x-1", "1-ffffffffffffffff", "1-2-3"] {
            assert!(wrong.parse::<EventId>().is_err(), "{wrong}");
        }
    }
}
