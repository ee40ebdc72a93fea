//! Header fields of a request that carry credentials.

/// Names of fields that carry credentials.
const CREDENTIAL_FIELDS: [&str; 2] = ["authorization", "cookie"];

/// Parts of the names of other fields that carry credentials.
const CREDENTIAL_WORDS: [&str; 6] = ["api-key", "auth", "password", "secret", "session", "token"];

/// Names that contain such a word and carry no credential. npm sends this one with every request.
const HARMLESS_FIELDS: [&str; 1] = ["npm-auth-type"];

/// Returns whether a header field carries a credential of the client.
///
/// A response to a request with such a field is for this client only, so it is not stored.
#[must_use]
pub fn is_credential_field(name: &str) -> bool {
    let is = |other: &&str| name.eq_ignore_ascii_case(other);
    let has_word = |word: &&str| {
        let mut parts = name.as_bytes().windows(word.len());
        parts.any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    CREDENTIAL_FIELDS.iter().any(is)
        || CREDENTIAL_WORDS.iter().any(has_word) && !HARMLESS_FIELDS.iter().any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_credentials_are_recognized() {
        for name in [
            "authorization",
            "Cookie",
            "PRIVATE-TOKEN",
            "x-amz-security-token",
            "x-api-key",
            "x-goog-api-key",
            "x-auth-user",
            "x-client-secret",
            "x-jfrog-password",
            "x-session-id",
        ] {
            assert!(is_credential_field(name), "{name}");
        }
        for name in [
            "accept",
            "npm-auth-type",
            "cache-control",
            "cookie2x",
            "if-none-match",
            "range",
            "user-agent",
            "x-api-version",
            "x-key",
        ] {
            assert!(!is_credential_field(name), "{name}");
        }
    }
}
