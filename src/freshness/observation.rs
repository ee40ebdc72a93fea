//! The newest response of a target whose bytes may change, as it is stored.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Freshness, RequestLimits, Reuse, ReusePolicy, StoredResponse, VaryKey};
use crate::model::record::{canonical, rfc3339};
use crate::model::{Digests, Fields, Key, Record, RecordSource, Sha256, StoredHeaders, Target};

/// Largest file of an observation, in bytes. A response with more fields is not stored.
pub const MAX_OBSERVATION_BYTES: usize = 64 * 1024;

/// Number of earlier digests that an observation keeps.
const MAX_HISTORY: usize = 64;

/// Version of the file format. A reader rejects other versions.
const VERSION: u32 = 1;

/// Error returned when bytes are no observation.
#[derive(Debug, thiserror::Error)]
pub enum ObservationError {
    #[error("the observation is larger than {MAX_OBSERVATION_BYTES} bytes")]
    TooLarge,
    #[error("the observation is corrupt: {0}")]
    Corrupt(#[from] serde_json::Error),
    #[error("the observation has version {0}, which is not supported")]
    Version(u32),
}

/// Treatment of the redirects that led to a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redirects {
    /// The target itself gave the response, which may be a redirect.
    #[default]
    None,
    /// Redirects were followed. The lifetime of the response says nothing about theirs.
    Followed,
}

/// Knowledge about the end of a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Completeness {
    /// A length, a last chunk, the format of the body or a second response shows the end.
    #[default]
    Confirmed,
    /// Only the connection ended. The body answers no request, and the next one may confirm it.
    Unconfirmed,
}

/// The newest response of a target for one set of `Vary` values. The bytes are an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    version: u32,
    /// Stored as the canonical string; other spellings are rejected.
    #[serde(rename = "uri", with = "canonical")]
    pub target: Target,
    /// Orders the observations of a target: a clock may be wrong.
    pub sequence: u64,
    pub vary: VaryKey,
    pub status: u16,
    /// All end-to-end fields of the response, as they came.
    pub fields: Fields,
    pub sha256: Sha256,
    pub size_bytes: u64,
    /// Time at which the request was sent that brought or validated the response.
    #[serde(with = "rfc3339")]
    pub requested_at: SystemTime,
    #[serde(with = "rfc3339")]
    pub received_at: SystemTime,
    /// Scheme and host of the source. The rest of the URL is omitted, as it may be signed.
    pub source: String,
    /// How the redirects of the origin were treated.
    #[serde(default)]
    pub redirects: Redirects,
    #[serde(default)]
    pub completeness: Completeness,
    /// Whether something changed at the origin after this response, so that it must be validated.
    #[serde(default)]
    pub is_invalidated: bool,
    /// Earlier digests, the newest first, at most `MAX_HISTORY`.
    #[serde(default)]
    pub history: Vec<Sha256>,
}

impl Observation {
    /// Creates the observation of a response that was received now.
    #[must_use]
    pub fn new(
        target: &Target,
        vary: VaryKey,
        response: &StoredResponse<'_>,
        source: &str,
    ) -> Self {
        Self {
            version: VERSION,
            target: target.clone(),
            sequence: 0,
            vary,
            status: response.status,
            fields: response.fields.clone(),
            sha256: Sha256::from_bytes([0; 32]),
            size_bytes: 0,
            requested_at: response.requested_at,
            received_at: response.received_at,
            source: source.to_owned(),
            redirects: Redirects::None,
            completeness: Completeness::Confirmed,
            is_invalidated: false,
            history: Vec::new(),
        }
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, sha256: Sha256, size_bytes: u64) -> Self {
        self.sha256 = sha256;
        self.size_bytes = size_bytes;
        self
    }

    /// Sets how redirects were treated.
    #[must_use]
    pub fn with_redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// Sets what is known about the end of the body.
    #[must_use]
    pub fn with_completeness(mut self, completeness: Completeness) -> Self {
        self.completeness = completeness;
        self
    }

    /// Replaces the head by that of a validation, whose response is valid for the same body. `vary`
    /// are the values of the request that was sent.
    #[must_use]
    pub fn validated(&self, vary: VaryKey, response: &StoredResponse<'_>) -> Self {
        Self {
            vary,
            fields: response.fields.clone(),
            requested_at: response.requested_at,
            received_at: response.received_at,
            is_invalidated: false,
            ..self.clone()
        }
    }

    /// Marks the response, so that it is validated before it answers again.
    #[must_use]
    pub fn invalidated(self) -> Self {
        Self {
            is_invalidated: true,
            ..self
        }
    }

    /// Decides about reuse at `now`, and returns the freshness that decided.
    #[must_use]
    pub fn reuse(
        &self,
        limits: &RequestLimits,
        policy: ReusePolicy,
        now: SystemTime,
    ) -> (Reuse, Freshness) {
        let mut limits = *limits;
        // The lifetime says nothing about the redirects that led to the response. If the clock was
        // set back, the age is not known.
        limits.must_validate |=
            self.is_invalidated || self.redirects == Redirects::Followed || self.received_at > now;
        let response = self.response();
        let freshness = Freshness::compute(&response, now, policy.heuristic_fraction);
        let reuse = response.reuse(&limits, &freshness, policy.stale_if_error);
        (reuse, freshness)
    }

    /// Creates the observation of a response that a record describes. It must be validated.
    #[must_use]
    pub fn from_record(record: &Record) -> Self {
        let headers = &record.headers;
        let fields = [
            ("content-type", &headers.content_type),
            ("content-disposition", &headers.content_disposition),
            ("etag", &headers.etag),
            ("last-modified", &headers.last_modified),
        ];
        let fields = fields.iter();
        let fields: Fields = fields
            .filter_map(|(name, value)| Some((*name, value.as_deref()?.as_bytes())))
            .collect();
        let response = StoredResponse {
            status: 200,
            fields: &fields,
            requested_at: record.first_seen,
            received_at: record.first_seen,
        };
        Self {
            is_invalidated: true,
            ..Self::new(
                &record.target,
                VaryKey::default(),
                &response,
                &record.source,
            )
        }
        .with_body(record.sha256, record.size_bytes)
    }

    /// Returns the record that describes the same body.
    #[must_use]
    pub fn to_record(&self) -> Record {
        let headers = StoredHeaders::collect(|name| self.fields.first(name));
        let source = self.source.clone();
        Record::new(
            &self.target,
            Digests::from(self.sha256),
            self.size_bytes,
            self.received_at,
            RecordSource { source, headers },
        )
    }

    /// Returns whether both answer the same requests.
    #[must_use]
    pub fn is_same_variant(&self, other: &Self) -> bool {
        self.vary == other.vary && self.redirects == other.redirects
    }

    /// Places this observation behind the one that it replaces. The same bytes confirm their end.
    #[must_use]
    pub fn replacing(mut self, previous: Option<&Self>) -> Self {
        let Some(previous) = previous else {
            return self;
        };
        self.sequence = previous.sequence.saturating_add(1);
        self.history.clone_from(&previous.history);
        if previous.sha256 == self.sha256 {
            self.completeness = Completeness::Confirmed;
        } else {
            self.history.retain(|digest| *digest != self.sha256);
            self.history.insert(0, previous.sha256);
            self.history.truncate(MAX_HISTORY);
        }
        self
    }

    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(&self.target)
    }

    /// Returns the head, for decisions about reuse.
    #[must_use]
    pub fn response(&self) -> StoredResponse<'_> {
        StoredResponse {
            status: self.status,
            fields: &self.fields,
            requested_at: self.requested_at,
            received_at: self.received_at,
        }
    }

    /// Parses the bytes of a file.
    ///
    /// # Errors
    /// [`ObservationError`] if they are no observation of this version.
    pub fn parse(bytes: &[u8]) -> Result<Self, ObservationError> {
        if bytes.len() > MAX_OBSERVATION_BYTES {
            return Err(ObservationError::TooLarge);
        }
        let observation: Self = serde_json::from_slice(bytes)?;
        match observation.version {
            VERSION => Ok(observation),
            other => Err(ObservationError::Version(other)),
        }
    }

    /// Returns the bytes of a file.
    ///
    /// # Errors
    /// [`ObservationError::TooLarge`] if there are too many fields.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ObservationError> {
        let bytes = serde_json::to_vec(self)?;
        if bytes.len() > MAX_OBSERVATION_BYTES {
            return Err(ObservationError::TooLarge);
        }
        Ok(bytes)
    }
}
