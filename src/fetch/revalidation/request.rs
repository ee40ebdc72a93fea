//! Request of an exchange, and the key by which equal requests share one. The main type is
//! [`SharedRequest`].

use std::sync::Arc;
use std::time::Instant;

use crate::freshness::{Observation, Redirects, Staleness, WithoutValidator, conditional_fields};
use crate::model::{ExpectedDigests, Fields, FileType, Hasher, Key, Sha256, Target};

/// Fields that describe the client. A shared request has Millpond's own `User-Agent`, and an origin
/// must not choose its response by the others.
const NOT_SHARED: [&str; 9] = [
    "cdn-loop",
    "forwarded",
    "user-agent",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
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
    redirects: Redirects,
    /// Digest of the fields, which may be long.
    fields: Sha256,
}

impl SharedRequest {
    /// Returns the fields of a client that may go to the origin in a shared request. Names are in
    /// lower case.
    pub fn shared_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Fields {
        fields
            .filter(|(name, _)| !NOT_SHARED.contains(name) && !name.starts_with("x-forwarded-"))
            .collect()
    }

    /// Limits the accepted content codings to gzip, whose content can be checked against the name
    /// of a file.
    pub fn keep_readable_codings(fields: &mut Fields) {
        let Some(accepted) = fields.combined("accept-encoding") else {
            return;
        };
        let coding = if accepts_gzip(&accepted) {
            "gzip"
        } else {
            "identity"
        };
        fields.remove("accept-encoding");
        fields.push("accept-encoding", coding.as_bytes());
    }

    /// Returns the fields that go to the origin, but no validators. With a stored response, the
    /// conditions of the client are evaluated afterwards.
    pub(super) fn unconditional_fields(&self) -> Fields {
        let mut fields = self.fields.clone();
        if self.stored.is_some() {
            fields.retain(|name| !CONDITIONS.contains(&name));
        }
        fields
    }

    /// Returns all fields that go to the origin, with the validators of a stored response.
    pub(super) fn upstream_fields(&self) -> Fields {
        let mut fields = self.unconditional_fields();
        let Some(stored) = &self.stored else {
            return fields;
        };
        for (name, value) in conditional_fields(&stored.observation.response()).iter() {
            fields.push(name, value);
        }
        fields
    }

    /// Returns whether the client's own conditions allow a 304 (RFC 9110, section 15.4.5).
    pub(super) fn is_conditional(&self) -> bool {
        let has = |name| self.fields.first(name).is_some();
        has("if-none-match") || has("if-modified-since")
    }

    pub(super) fn key(&self, target: &Target) -> ExchangeKey {
        ExchangeKey {
            key: Key::new(target),
            redirects: self.redirects,
            fields: digest_of(&self.upstream_fields()),
        }
    }
}

/// Returns a digest of names and values. No two lists of fields have the same one.
fn digest_of(fields: &Fields) -> Sha256 {
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    for (name, value) in fields.iter() {
        for part in [name.as_bytes(), value] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finish().sha256
}

/// Returns whether a list of codings contains gzip or all, with a weight above zero (RFC 9110,
/// section 12.5.3).
fn accepts_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|member| {
        let (coding, parameters) = member.split_once(';').unwrap_or((member, ""));
        let coding = coding.trim().to_ascii_lowercase();
        let weight = parameters.trim().trim_start_matches(['q', 'Q', '=', ' ']);
        let is_refused = !weight.is_empty() && weight.trim_matches(['0', '.']).is_empty();
        matches!(coding.as_str(), "gzip" | "x-gzip" | "*") && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_codings_are_limited_to_gzip() {
        for (accepted, kept) in [
            ("gzip, deflate, br, zstd", "gzip"),
            ("br;q=1.0, GZIP;q=0.5", "gzip"),
            ("x-gzip", "gzip"),
            ("*", "gzip"),
            ("br", "identity"),
            ("gzip;q=0", "identity"),
            ("gzip; q=0.000, br", "identity"),
            ("", "identity"),
        ] {
            let mut fields = Fields::default();
            fields.push("Accept-Encoding", accepted.as_bytes());
            SharedRequest::keep_readable_codings(&mut fields);
            assert_eq!(fields.first("accept-encoding"), Some(kept), "{accepted}");
        }
    }
}
