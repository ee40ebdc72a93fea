//! Metadata of a body: length, validators and header fields.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::fetch::Head;
use crate::freshness::Observation;
use crate::model::{Record, Sha256, StoredHeaders};

/// Metadata of the bytes of a response.
#[derive(Debug, Clone)]
pub struct Representation {
    /// Length in bytes. `None` while a body of unknown length is being fetched.
    pub length: Option<u64>,
    /// `None` while the body is being fetched.
    pub sha256: Option<Sha256>,
    pub head: RepresentationHead,
    /// Time since the origin sent or validated the response. `None` if it comes from there now.
    pub age: Option<Duration>,
}

/// Status and header fields of a response.
#[derive(Debug, Clone)]
pub enum RepresentationHead {
    /// 200 with the fields of a record. The entity tag is made from the digest.
    Recorded(StoredHeaders),
    /// As the origin sent them.
    Observed(Arc<Observation>),
}

impl Representation {
    #[must_use]
    pub fn from_record(record: &Record) -> Self {
        let age = SystemTime::now().duration_since(record.first_seen);
        Self {
            length: Some(record.size_bytes),
            sha256: Some(record.sha256),
            head: RepresentationHead::Recorded(record.headers.clone()),
            age: Some(age.unwrap_or_default()),
        }
    }

    #[must_use]
    pub fn from_head(head: &Head) -> Self {
        Self {
            length: head.length,
            sha256: None,
            head: RepresentationHead::Recorded(head.headers.clone()),
            age: None,
        }
    }

    /// Describes a stored response of class `revalidate`.
    #[must_use]
    pub fn from_observation(observation: Arc<Observation>, age: Duration) -> Self {
        Self {
            length: Some(observation.size_bytes),
            sha256: Some(observation.sha256),
            head: RepresentationHead::Observed(observation),
            age: Some(age),
        }
    }

    /// Describes a response of class `revalidate` that is being stored.
    #[must_use]
    pub fn from_arriving(observation: Arc<Observation>, length: Option<u64>) -> Self {
        Self {
            length,
            sha256: None,
            head: RepresentationHead::Observed(observation),
            age: None,
        }
    }

    /// Returns the entity tag. It is strong if Millpond makes it.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        match &self.head {
            RepresentationHead::Recorded(_) => Some(self.sha256?.etag()),
            RepresentationHead::Observed(observation) => {
                observation.fields.first("etag").map(str::to_owned)
            }
        }
    }

    /// Returns the time of `Last-Modified`, in whole seconds.
    #[must_use]
    pub fn modified_at(&self) -> Option<SystemTime> {
        match &self.head {
            RepresentationHead::Recorded(headers) => headers.modified_at(),
            RepresentationHead::Observed(observation) => {
                httpdate::parse_http_date(observation.fields.first("last-modified")?).ok()
            }
        }
    }

    /// Returns the status of the whole response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.head {
            RepresentationHead::Recorded(_) => 200,
            RepresentationHead::Observed(observation) => observation.status,
        }
    }
}
