//! Metadata of a body: length, validators and header fields.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::fetch::Head;
use crate::freshness::Observation;
use crate::model::{Attachment, Record, Sha256, StoredHeaders, Target};

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
    /// Name under which a client saves the bytes. `None` if the client asked for no name.
    pub attachment: Option<Attachment>,
}

/// Status and header fields of a response.
#[derive(Debug, Clone)]
pub enum RepresentationHead {
    /// 200 with the fields of a record. The entity tag is made from the digest.
    Recorded(Arc<Record>),
    /// The same with these fields.
    Stated(StoredHeaders),
    /// As the origin sent them.
    Observed(Arc<Observation>),
}

impl Representation {
    #[must_use]
    pub fn from_record(record: Arc<Record>) -> Self {
        let age = SystemTime::now().duration_since(record.first_seen);
        Self {
            length: Some(record.size_bytes),
            sha256: Some(record.sha256),
            age: Some(age.unwrap_or_default()),
            attachment: attachment(stated_name(&record.headers), &record.target),
            head: RepresentationHead::Recorded(record),
        }
    }

    /// Describes a body of a target that is being fetched.
    #[must_use]
    pub fn from_head(head: &Head, target: &Target) -> Self {
        Self {
            length: head.length,
            sha256: None,
            head: RepresentationHead::Stated(head.headers.clone()),
            age: None,
            attachment: attachment(stated_name(&head.headers), target),
        }
    }

    /// Describes a stored response of class `revalidate`.
    #[must_use]
    pub fn from_observation(observation: Arc<Observation>, age: Duration) -> Self {
        Self {
            length: Some(observation.size_bytes),
            sha256: Some(observation.sha256),
            age: Some(age),
            attachment: observed_attachment(&observation),
            head: RepresentationHead::Observed(observation),
        }
    }

    /// Describes a response of class `revalidate` that is being stored.
    #[must_use]
    pub fn from_arriving(observation: Arc<Observation>, length: Option<u64>) -> Self {
        Self {
            length,
            sha256: None,
            age: None,
            attachment: observed_attachment(&observation),
            head: RepresentationHead::Observed(observation),
        }
    }

    /// Returns the entity tag. It is strong if Millpond makes it.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        match &self.head {
            RepresentationHead::Recorded(_) | RepresentationHead::Stated(_) => {
                Some(self.sha256?.etag())
            }
            RepresentationHead::Observed(observation) => {
                observation.fields.first("etag").map(str::to_owned)
            }
        }
    }

    /// Returns the time of `Last-Modified`, in whole seconds.
    #[must_use]
    pub fn modified_at(&self) -> Option<SystemTime> {
        match &self.head {
            RepresentationHead::Recorded(record) => record.headers.modified_at(),
            RepresentationHead::Stated(headers) => headers.modified_at(),
            RepresentationHead::Observed(observation) => {
                httpdate::parse_http_date(observation.fields.first("last-modified")?).ok()
            }
        }
    }

    /// Returns the status of the whole response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.head {
            RepresentationHead::Recorded(_) | RepresentationHead::Stated(_) => 200,
            RepresentationHead::Observed(observation) => observation.status,
        }
    }

    /// Returns the value of `Content-Disposition`, by which a client saves the bytes as a file.
    #[must_use]
    pub fn content_disposition(&self) -> String {
        self.attachment
            .as_ref()
            .map_or_else(|| "attachment".to_owned(), Attachment::to_string)
    }
}

fn stated_name(headers: &StoredHeaders) -> Option<Attachment> {
    Attachment::from_header(headers.content_disposition.as_deref()?.as_bytes())
}

fn observed_attachment(observation: &Observation) -> Option<Attachment> {
    let stated = observation.fields.all("content-disposition").next();
    attachment(
        stated.and_then(Attachment::from_header),
        &observation.target,
    )
}

/// Returns the stated name, or else that of the target.
fn attachment(stated: Option<Attachment>, target: &Target) -> Option<Attachment> {
    stated.or_else(|| Attachment::from_path(target.path()))
}
