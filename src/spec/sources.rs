//! The sources of a spec, from passes over its branches.
//!
//! The first pass takes the branches that RPM would take. Further passes find the sources and the
//! macros of the other branches. The main function is [`list_sources`].

use std::collections::BTreeMap;

use super::conditions::{BranchRule, ConditionLine, SpecConditions};
use super::logical_lines::{LogicalLine, LogicalLines};
use super::options::SpecOptions;
use super::pass::{FoundSource, SpecPass};
use super::source::{SourceUrl, SpecError, SpecSource, SpecSources, UnresolvedMacro};

/// Largest spec, in bytes. The largest known one has 20 MB.
pub const MAX_SPEC_BYTES: usize = 32 << 20;

/// Greatest number of branches that are taken in turn.
const MAX_BRANCHES: usize = 4;

const NOT_A_FILE: &str = "cannot be fetched as a file";
const HAS_BLANK: &str = "the URL contains a blank";

/// Schemes of URLs that can be fetched.
const SCHEMES: [&str; 3] = ["https://", "http://", "ftp://"];

/// Lists the sources and patches of a spec.
///
/// # Errors
/// [`SpecError`] if the bytes are no spec.
pub fn list_sources(bytes: &[u8], options: &SpecOptions) -> Result<SpecSources, SpecError> {
    if bytes.len() > MAX_SPEC_BYTES {
        return Err(SpecError::TooLarge(MAX_SPEC_BYTES));
    }
    if bytes.contains(&0) {
        return Err(SpecError::Binary);
    }
    let lines: Vec<LogicalLine<'_>> = LogicalLines::new(bytes).collect();
    let conditions = |rule| {
        let parsed = lines
            .iter()
            .filter_map(|line| ConditionLine::parse(&line.text));
        SpecConditions::new(rule, parsed)
    };
    let first = conditions(BranchRule::Evaluate);
    let branches = first.most_branches().min(MAX_BRANCHES);
    let (facts, found) = SpecPass::new(first, options).run(&lines);
    let mut listed = SpecListing::default();
    listed.add(found, IsOther::No);
    if branches > 0 {
        let rules = (0..branches).map(BranchRule::Nth);
        for rule in std::iter::once(BranchRule::All).chain(rules) {
            let (_, found) = SpecPass::new(conditions(rule), options).run(&lines);
            listed.add(found, IsOther::Yes);
        }
    }
    let sources = listed.finish();
    if facts.name.is_none() && sources.is_empty() {
        return Err(SpecError::NoName);
    }
    Ok(SpecSources {
        name: facts.name,
        version: facts.version,
        sources,
    })
}

/// Whether a pass takes other branches than RPM would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsOther {
    No,
    Yes,
}

/// Sources of all passes by their places.
#[derive(Default)]
struct SpecListing {
    sources: BTreeMap<(usize, usize), SpecSource>,
}

impl SpecListing {
    fn add(&mut self, found: Vec<FoundSource>, is_other: IsOther) {
        for found in found {
            let source = self
                .sources
                .entry(found.place)
                .or_insert_with(|| SpecSource {
                    kind: found.kind,
                    number: found.number,
                    line: found.place.0,
                    raw: found.raw.clone(),
                    span: found.span.clone(),
                    urls: Vec::new(),
                    unresolved: Vec::new(),
                    local: None,
                });
            if !found.notes.is_empty() {
                if may_be_url(&found.value) {
                    source.unresolved.extend(found.notes);
                } else {
                    source.local.get_or_insert(found.value);
                }
                continue;
            }
            match source_url(&found.value, is_other == IsOther::Yes) {
                Some(url) if source.urls.iter().all(|known| known.url != url.url) => {
                    source.urls.push(url);
                }
                Some(_) => {}
                None => match found.value.split_once("://") {
                    Some((scheme, _)) => source.unresolved.push(UnresolvedMacro {
                        name: format!("{scheme}://"),
                        line: found.place.0,
                        reason: if has_known_scheme(&found.value) {
                            HAS_BLANK
                        } else {
                            NOT_A_FILE
                        }
                        .to_owned(),
                    }),
                    None => {
                        source.local.get_or_insert(found.value);
                    }
                },
            }
        }
    }

    fn finish(self) -> Vec<SpecSource> {
        let sources = self
            .sources
            .into_values()
            .filter(|source| !source.raw.is_empty());
        let mut sources: Vec<SpecSource> = sources.collect();
        for source in &mut sources {
            if !source.urls.is_empty() {
                source.unresolved.clear();
                source.local = None;
            } else if source.local.is_some() {
                source.unresolved.clear();
            }
            source.unresolved.sort();
            source.unresolved.dedup();
        }
        sources
    }
}

/// Whether a value with unknown macros may be a URL.
fn may_be_url(value: &str) -> bool {
    value.starts_with('%') || value.contains("://")
}

fn has_known_scheme(value: &str) -> bool {
    SCHEMES.iter().any(|scheme| {
        let head = value.get(..scheme.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    })
}

/// Returns the URL of a value. `None` for a file beside the spec, and other schemes.
fn source_url(value: &str, in_other_branch: bool) -> Option<SourceUrl> {
    let (url, fragment) = match value.split_once('#') {
        Some((url, fragment)) => (url, Some(fragment)),
        None => (value, None),
    };
    if !has_known_scheme(value) || url.contains(char::is_whitespace) {
        return None;
    }
    // RPM takes the text behind the last slash, also within a fragment or a query.
    let file = fragment
        .unwrap_or(url)
        .rsplit('/')
        .next()
        .unwrap_or_default();
    Some(SourceUrl {
        url: url.to_owned(),
        file: file.to_owned(),
        in_other_branch,
    })
}
