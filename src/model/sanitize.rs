//! External text made safe for log and error messages.

use std::error::Error;

/// Replaces control characters in text from an origin or a client with spaces.
#[must_use]
pub fn sanitize_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Returns the text of the root cause. The outer errors only add where the error happened.
#[must_use]
pub fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
