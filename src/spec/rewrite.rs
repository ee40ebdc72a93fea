//! Rewriting of source URLs to a gateway, and back. Only the bytes in front of a URL change.
//!
//! The main function is [`rewrite_sources`].

use std::ops::Range;

use super::options::SpecOptions;
use super::source::{SpecError, SpecSource};
use super::sources::list_sources;

/// Spec after a rewriting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    pub bytes: Vec<u8>,
    /// State of each source that has a URL or may have one, in the order of the lines.
    pub sources: Vec<(SpecSource, RewriteOutcome)>,
}

/// State of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewriteOutcome {
    /// The URL had no gateway in front, or had one that was removed.
    Changed,
    /// The URL is as it shall be.
    Unchanged,
    /// The URL is not known, as a macro is not.
    Unresolved,
    /// A macro expands to the whole line, so that there is no place in the spec.
    NoPlace,
}

/// Puts the gateway in front of all source URLs. `gateway` has no slash at its end.
///
/// # Errors
/// [`SpecError`] if the bytes are no spec.
pub fn rewrite_sources(
    bytes: &[u8],
    gateway: &str,
    options: &SpecOptions,
) -> Result<Rewritten, SpecError> {
    let prefix = format!("{gateway}/");
    let mut edits = Vec::new();
    let sources = list_sources(bytes, options)?.sources.into_iter();
    let with_urls = sources.filter(|source| source.local.is_none());
    let sources = with_urls.map(|source| {
        let outcome = match &source.span {
            _ if source.raw.starts_with(&prefix) => RewriteOutcome::Unchanged,
            _ if source.urls.is_empty() && !begins_with_scheme(&source.raw) => {
                RewriteOutcome::Unresolved
            }
            None => RewriteOutcome::NoPlace,
            Some(span) => {
                edits.push((span.start..span.start, prefix.as_bytes()));
                RewriteOutcome::Changed
            }
        };
        (source, outcome)
    });
    let sources = sources.collect();
    Ok(Rewritten {
        bytes: edit(bytes, &edits),
        sources,
    })
}

/// Removes the gateway in front of all source URLs.
///
/// # Errors
/// [`SpecError`] if the bytes are no spec.
pub fn undo_rewrite(
    bytes: &[u8],
    gateway: &str,
    options: &SpecOptions,
) -> Result<Rewritten, SpecError> {
    let prefix = format!("{gateway}/");
    let mut edits: Vec<(Range<usize>, &[u8])> = Vec::new();
    let sources = list_sources(bytes, options)?.sources.into_iter();
    let with_urls = sources.filter(|source| source.local.is_none());
    let sources = with_urls.map(|source| {
        let outcome = match &source.span {
            Some(span) if source.raw.starts_with(&prefix) => {
                edits.push((span.start..span.start + prefix.len(), b""));
                RewriteOutcome::Changed
            }
            _ => RewriteOutcome::Unchanged,
        };
        (source, outcome)
    });
    let sources = sources.collect();
    Ok(Rewritten {
        bytes: edit(bytes, &edits),
        sources,
    })
}

/// Whether a value is a URL, even if its macros are not known.
fn begins_with_scheme(raw: &str) -> bool {
    ["https://", "http://", "ftp://"]
        .iter()
        .any(|scheme| raw.starts_with(scheme))
}

/// Replaces ranges that do not overlap and are in order.
fn edit(bytes: &[u8], edits: &[(Range<usize>, &[u8])]) -> Vec<u8> {
    let (mut edited, mut at) = (Vec::with_capacity(bytes.len()), 0);
    for (range, text) in edits {
        edited.extend_from_slice(&bytes[at..range.start]);
        edited.extend_from_slice(text);
        at = range.end;
    }
    edited.extend_from_slice(&bytes[at..]);
    edited
}
