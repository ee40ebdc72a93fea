//! Base URLs of nodes, and URLs below them.

use crate::model::Target;

/// Returns a base URL without its trailing slash.
pub fn base_of(url: &Target) -> &str {
    url.as_str().trim_end_matches('/')
}

/// Returns whether a URL is one below a base URL.
pub fn is_below(url: &Target, base: &Target) -> bool {
    let rest = url.as_str().strip_prefix(base_of(base));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
