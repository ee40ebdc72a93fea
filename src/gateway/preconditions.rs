//! Preconditions and ranges, in the order of RFC 9110, section 13.2.2.

use std::time::{Duration, SystemTime};

use super::representation::Representation;
use crate::model::{ByteRange, RangeSpec, Selected};

/// Conditional header fields of a request, unparsed. An invalid date is ignored, as RFC 9110
/// requires.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<String>,
    pub if_unmodified_since: Option<String>,
    pub if_range: Option<String>,
}

impl Conditions {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            if_match,
            if_none_match,
            if_modified_since,
            if_unmodified_since,
            if_range,
        } = self;
        [
            if_match,
            if_none_match,
            if_modified_since,
            if_unmodified_since,
            if_range,
        ]
        .iter()
        .all(|field| field.is_none())
    }
}

/// Part of a representation that the response contains, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    Whole,
    Part(ByteRange),
    /// 304
    NotModified,
    /// 412
    PreconditionFailed,
    /// 416
    Unsatisfiable,
}

impl Selection {
    /// Returns whether the response to a GET has the representation or a part of it.
    #[must_use]
    pub fn has_body(self) -> bool {
        matches!(self, Self::Whole | Self::Part(_))
    }
}

/// Evaluates the conditions and the range of a GET or HEAD.
#[must_use]
pub fn select(
    conditions: &Conditions,
    range: Option<RangeSpec>,
    representation: &Representation,
) -> Selection {
    // Conditions apply to a response that would be 200 (RFC 9110, section 13.2.1).
    if (range.is_none() && conditions.is_empty()) || representation.status() != 200 {
        return Selection::Whole;
    }
    let etag = representation.etag();
    let modified_at = representation.modified_at();
    if let Some(list) = &conditions.if_match {
        if !etag_list_contains(list, etag.as_deref(), Comparison::Strong) {
            return Selection::PreconditionFailed;
        }
    } else if let (Some(since), Some(modified_at)) = (
        parse_date(conditions.if_unmodified_since.as_deref()),
        modified_at,
    ) && modified_at > since
    {
        return Selection::PreconditionFailed;
    }
    if let Some(list) = &conditions.if_none_match {
        if etag_list_contains(list, etag.as_deref(), Comparison::Weak) {
            return Selection::NotModified;
        }
    } else if let (Some(since), Some(modified_at)) = (
        parse_date(conditions.if_modified_since.as_deref()),
        modified_at,
    ) && modified_at <= since
    {
        return Selection::NotModified;
    }
    let Some(range) = range.filter(|_| range_applies(conditions, etag.as_deref(), modified_at))
    else {
        return Selection::Whole;
    };
    match representation.length.map(|length| range.select(length)) {
        Some(Selected::Part(part)) => Selection::Part(part),
        Some(Selected::Unsatisfiable) => Selection::Unsatisfiable,
        None => Selection::Whole,
    }
}

/// Returns whether `If-Range` allows the range (RFC 9110, section 13.1.5). With another validator,
/// the client would join parts of two different files.
fn range_applies(
    conditions: &Conditions,
    etag: Option<&str>,
    modified_at: Option<SystemTime>,
) -> bool {
    match conditions.if_range.as_deref().map(str::trim) {
        None => true,
        Some(validator) if validator.starts_with('"') => etag == Some(validator),
        Some(validator) => {
            parse_date(Some(validator)).is_some_and(|date| modified_at == Some(date))
        }
    }
}

/// Comparison of entity tags (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy)]
enum Comparison {
    Strong,
    Weak,
}

/// Returns whether a list of entity tags contains `etag` (RFC 9110, sections 8.8.3.2 and 13.1.1).
fn etag_list_contains(list: &str, etag: Option<&str>, comparison: Comparison) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    etags(list).any(|listed| is_same_etag(listed, etag, comparison))
}

fn is_same_etag(listed: &str, etag: &str, comparison: Comparison) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").map(str::to_owned);
    match (comparison, opaque(listed), opaque(etag)) {
        (Comparison::Strong, None, None) => listed == etag,
        (Comparison::Strong, _, _) => false,
        (Comparison::Weak, one, other) => {
            one.as_deref().unwrap_or(listed) == other.as_deref().unwrap_or(etag)
        }
    }
}

/// Splits a list of entity tags. A comma inside the quotes of a tag does not separate.
fn etags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        if rest.is_empty() {
            return None;
        }
        let quoted = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"');
        let end = match quoted.and_then(|inside| Some((inside, inside.find('"')?))) {
            Some((inside, close)) => rest.len() - inside.len() + close + 1,
            None => rest.find(',').unwrap_or(rest.len()),
        };
        let (tag, behind) = rest.split_at(end);
        rest = behind;
        Some(tag.trim_end())
    })
}

/// Parses a date in one of the formats of RFC 9110, section 5.6.7, to whole seconds.
fn parse_date(text: Option<&str>) -> Option<SystemTime> {
    let time = httpdate::parse_http_date(text?.trim()).ok()?;
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
