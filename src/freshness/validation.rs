//! Validation of a stored response with the origin (RFC 9111, section 4.3), and invalidation
//! (section 4.4).

use super::StoredResponse;
use crate::model::Fields;

/// Fields that a 304 does not replace: they describe the stored bytes (RFC 9111, section 3.2).
const NOT_FRESHENED: [&str; 5] = [
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "etag",
];

/// Methods that change nothing at the origin (RFC 9110, section 9.2.1).
const SAFE_METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];

/// Returns the fields that make a request conditional on the stored response; empty if it has no
/// validator.
#[must_use]
pub fn conditional_fields(response: &StoredResponse<'_>) -> Fields {
    let mut fields = Fields::default();
    for (validator, condition) in [
        ("etag", "if-none-match"),
        ("last-modified", "if-modified-since"),
    ] {
        if let Some(value) = response.fields.all(validator).next() {
            fields.push(condition, value);
        }
    }
    fields
}

/// Returns whether a 304 is about the stored response: the validators of both are the same (RFC
/// 9111, section 4.3.4). A 304 without a validator is about the response that the request named.
#[must_use]
pub fn is_about(update: &Fields, stored: &StoredResponse<'_>) -> bool {
    match (update.first("etag"), stored.fields.first("etag")) {
        (Some(current), Some(stored)) => opaque_tag(current) == opaque_tag(stored),
        _ => match (
            update.first("last-modified"),
            stored.fields.first("last-modified"),
        ) {
            (Some(current), Some(stored)) => current == stored,
            _ => !conditional_fields(stored).is_empty(),
        },
    }
}

/// Use of the response to a HEAD for the stored response to a GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadUse {
    /// Its fields update the stored response.
    Freshen,
    /// The stored response has changed at the origin.
    Invalidate,
    Ignore,
}

/// Response to a HEAD.
#[derive(Debug, Clone, Copy)]
pub struct HeadResponse<'a> {
    pub status: u16,
    pub fields: &'a Fields,
    /// `Content-Length` in bytes.
    pub length: Option<u64>,
}

/// Decides what the response to a HEAD says about a stored response with a body of `size_bytes`
/// (RFC 9111, section 4.3.5).
#[must_use]
pub fn judge_head(
    response: &HeadResponse<'_>,
    stored: &StoredResponse<'_>,
    size_bytes: u64,
) -> HeadUse {
    if response.status != 200 || stored.status != 200 {
        return HeadUse::Ignore;
    }
    let validators = ["etag", "last-modified"].into_iter();
    let pairs = validators
        .filter_map(|name| Some((response.fields.first(name)?, stored.fields.first(name)?)));
    let (same, other): (Vec<_>, Vec<_>) = pairs.partition(|(current, stored)| current == stored);
    if !other.is_empty() || response.length.is_some_and(|length| length != size_bytes) {
        HeadUse::Invalidate
    } else if !same.is_empty() {
        HeadUse::Freshen
    } else {
        HeadUse::Ignore
    }
}

/// Returns the opaque part of an entity tag, for weak comparison (RFC 9110, section 8.8.3.2).
fn opaque_tag(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Returns the stored fields after a 304 with the fields `update`.
#[must_use]
pub fn freshen(stored: &Fields, update: &Fields) -> Fields {
    let is_replacing = |name: &str| !NOT_FRESHENED.contains(&name);
    let mut fields = stored.clone();
    fields.retain(|name| !(is_replacing(name) && update.contains(name)));
    // The Age of the stored response belongs to the exchange that brought it.
    fields.remove("age");
    for (name, value) in update.iter().filter(|(name, _)| is_replacing(name)) {
        fields.push(name, value);
    }
    fields
}

/// Returns whether a response to a request with this method invalidates what is stored for the
/// target.
#[must_use]
pub fn invalidates(method: &str, status: u16) -> bool {
    !SAFE_METHODS.contains(&method) && (200..400).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freshness::test_fields as fields;

    #[test]
    fn not_modified_replaces_all_but_what_describes_bytes() {
        let stored = fields(&[
            ("etag", "\"a\""),
            ("x", "1"),
            ("x", "2"),
            ("age", "7"),
            ("content-length", "3"),
        ]);
        let update = fields(&[
            ("etag", "\"b\""),
            ("x", "3"),
            ("content-length", "0"),
            ("y", "4"),
        ]);
        let freshened = freshen(&stored, &update);
        let expected = [
            ("etag", "\"a\""),
            ("content-length", "3"),
            ("x", "3"),
            ("y", "4"),
        ];
        assert_eq!(freshened, fields(&expected));
    }

    #[test]
    fn not_modified_needs_the_same_validator() {
        let (etag, date) = (("etag", "\"a\""), ("last-modified", "x"));
        for (stored, update, is_same) in [
            (&[etag][..], &[etag][..], true),
            (&[etag], &[("etag", "W/\"a\"")], true),
            (&[etag], &[("etag", "\"b\"")], false),
            (&[etag, date], &[("etag", "\"b\""), date], false),
            (&[etag, date], &[date], true),
            (&[date], &[("last-modified", "y")], false),
            (&[etag], &[], true),
            (&[], &[], false),
            (&[], &[etag], false),
        ] {
            let (fields, epoch) = (fields(stored), std::time::UNIX_EPOCH);
            let stored = StoredResponse {
                status: 200,
                fields: &fields,
                requested_at: epoch,
                received_at: epoch,
            };
            let found = is_about(&crate::freshness::test_fields(update), &stored);
            assert_eq!(found, is_same, "{fields:?} {update:?}");
        }
    }

    #[test]
    fn head_updates_or_invalidates() {
        let etag = ("etag", "\"a\"");
        for (status, head, length, expected) in [
            (200, &[etag][..], Some(3), HeadUse::Freshen),
            (200, &[etag], None, HeadUse::Freshen),
            (200, &[("etag", "\"b\"")], Some(3), HeadUse::Invalidate),
            (200, &[etag], Some(4), HeadUse::Invalidate),
            (200, &[], Some(4), HeadUse::Invalidate),
            (200, &[], Some(3), HeadUse::Ignore),
            (200, &[], None, HeadUse::Ignore),
            (404, &[etag], Some(4), HeadUse::Ignore),
            (503, &[("etag", "\"b\"")], None, HeadUse::Ignore),
        ] {
            let (stored, epoch) = (fields(&[etag]), std::time::UNIX_EPOCH);
            let stored = StoredResponse {
                status: 200,
                fields: &stored,
                requested_at: epoch,
                received_at: epoch,
            };
            let response = HeadResponse {
                status,
                fields: &fields(head),
                length,
            };
            let found = judge_head(&response, &stored, 3);
            assert_eq!(found, expected, "{status} {head:?}");
        }
    }

    #[test]
    fn successful_unsafe_methods_invalidate() {
        for method in ["POST", "PUT", "DELETE", "M-SEARCH", "get"] {
            assert!(
                invalidates(method, 200) && invalidates(method, 303),
                "{method}"
            );
            assert!(
                !invalidates(method, 404) && !invalidates(method, 500),
                "{method}"
            );
        }
        assert!(!invalidates("GET", 200) && !invalidates("OPTIONS", 200));
    }
}
