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
