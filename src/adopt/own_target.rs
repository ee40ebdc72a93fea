//! Targets of files that have no URL of their own.
//!
//! The main function is [`own_target`].

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::catalog::FileName;
use crate::model::{Sha256, Target};

/// Host of these targets. It never resolves (RFC 6761, section 6.4).
const HOST: &str = "adopted.invalid";

/// Characters of a name that are percent-encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'+');

/// Returns the target of a file without a URL. The digest in the path makes it immutable, and the
/// name is that under which build systems ask for it.
#[must_use]
pub fn own_target(sha256: Sha256, name: Option<&FileName>) -> Target {
    let base = format!("https://{HOST}/sha256/{sha256}");
    let url = match name {
        Some(name) => format!("{base}/{}", utf8_percent_encode(name.as_str(), ENCODED)),
        None => base,
    };
    Target::parse(&url).expect("a digest and an encoded name are a valid path")
}

/// Returns whether a target is that of a file without a URL.
#[must_use]
pub fn is_own_target(target: &Target) -> bool {
    target.host() == HOST
}
