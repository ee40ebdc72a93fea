//! Request of an exchange, and the key by which equal requests share one. The main type is
//! [`SharedRequest`].

use std::sync::Arc;
use std::time::Instant;

use crate::freshness::{Observation, Redirects, Staleness, WithoutValidator, conditional_fields};
use crate::model::{Fields, FileType, Key, Target};

/// Fields that describe the client. A shared request has Millpond's own `User-Agent`, and an origin
/// must not choose its response by the others.
const NOT_SHARED: [&str; 6] = [
    "forwarded",
    "user-agent",
    "via",
    "x-http-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// Fields that make a request conditional or partial (RFC 9110, sections 13.1 and 14.2).
const CONDITIONS: [&str; 6] = [
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];

/// A GET whose response may be stored for other clients.
#[derive(Debug, Clone)]
pub struct SharedRequest {
    /// Time at which the client's request arrived. Any later response may answer it.
    pub arrived_at: Instant,
    /// End-to-end fields, as [`SharedRequest::shared_fields`] selects them.
    pub fields: Fields,
    pub redirects: Redirects,
    /// Response to validate.
    pub stored: Option<StoredObservation>,
    pub without_validator: WithoutValidator,
    /// File type that the name of the target promises.
    pub file_type: FileType,
}

/// Observation that an exchange validates.
#[derive(Debug, Clone)]
pub struct StoredObservation {
    pub observation: Arc<Observation>,
    /// Whether it answers if the origin is away.
    pub if_unreachable: Staleness,
}

/// Key of an exchange. Requests with one key share the exchange.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExchangeKey {
    pub key: Key,
    pub redirects: Redirects,
    fields: Fields,
}

impl SharedRequest {
    /// Returns the fields of a client that may go to the origin in a shared request. Names are in
    /// lower case.
    pub fn shared_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Fields {
        fields
            .filter(|(name, _)| !NOT_SHARED.contains(name) && !name.starts_with("x-forwarded-"))
            .collect()
    }

    /// Returns all fields that go to the origin. The validators of a stored response replace the
    /// conditions of the client, which are evaluated afterwards.
    pub(super) fn upstream_fields(&self) -> Fields {
        let mut fields = self.fields.clone();
        let Some(stored) = &self.stored else {
            return fields;
        };
        fields.retain(|name| !CONDITIONS.contains(&name));
        for (name, value) in conditional_fields(&stored.observation.response()).iter() {
            fields.push(name, value);
        }
        fields
    }

    pub(super) fn key(&self, target: &Target) -> ExchangeKey {
        ExchangeKey {
            key: Key::new(target),
            redirects: self.redirects,
            fields: self.upstream_fields(),
        }
    }
}
