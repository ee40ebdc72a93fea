//! Metadata of a body: length, validators and stored header fields.

use std::time::SystemTime;

use crate::fetch::Head;
use crate::model::{Record, Sha256, StoredHeaders};

/// Metadata of the bytes of a response.
#[derive(Debug, Clone)]
pub struct Representation {
    /// Length in bytes. `None` while a body of unknown length is being fetched.
    pub length: Option<u64>,
    /// `None` while the body is being fetched. `Last-Modified` is then the only validator.
    pub sha256: Option<Sha256>,
    pub headers: StoredHeaders,
}

impl Representation {
    #[must_use]
    pub fn from_record(record: &Record) -> Self {
        Self {
            length: Some(record.size_bytes),
            sha256: Some(record.sha256),
            headers: record.headers.clone(),
        }
    }

    #[must_use]
    pub fn from_head(head: &Head) -> Self {
        Self {
            length: head.length,
            sha256: None,
            headers: head.headers.clone(),
        }
    }

    /// Returns the entity tag, which is strong.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        Some(self.sha256?.etag())
    }

    /// Returns the time of `Last-Modified`, in whole seconds.
    #[must_use]
    pub fn modified_at(&self) -> Option<SystemTime> {
        self.headers.modified_at()
    }
}
