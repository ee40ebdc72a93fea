//! Cache directives of a message (RFC 9111, section 5.2; RFC 9213).

use std::time::Duration;

use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::model::Fields;

/// Largest delta-seconds value; a larger one counts as this (RFC 9111, section 1.2.2).
pub const MAX_DELTA_SECONDS: u64 = 1 << 31;

/// Cache directives in lower case, the first of each name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    members: Vec<(String, Option<String>)>,
    is_targeted: bool,
}

impl Directives {
    /// Returns the directives of a request.
    #[must_use]
    pub fn from_request(fields: &Fields) -> Self {
        let directives = Self::parse(fields);
        if directives.members.is_empty() && !fields.contains("cache-control") {
            // RFC 9111, section 5.4: only in a request, and only without Cache-Control.
            let pragma = fields.combined("pragma").unwrap_or_default();
            if pragma
                .split(", ")
                .any(|one| one.eq_ignore_ascii_case("no-cache"))
            {
                return Self {
                    members: vec![("no-cache".to_owned(), None)],
                    is_targeted: false,
                };
            }
        }
        directives
    }

    /// Returns the directives of a response that hold for this cache. `CDN-Cache-Control` replaces
    /// `Cache-Control` if it is a valid dictionary with members (RFC 9213, section 2.2).
    #[must_use]
    pub fn from_response(fields: &Fields) -> Self {
        Self::parse_targeted(fields).unwrap_or_else(|| Self::parse(fields))
    }

    /// Returns whether `Cache-Control` and `Expires` are not looked at.
    #[must_use]
    pub fn is_targeted(&self) -> bool {
        self.is_targeted
    }

    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(own, _)| own == name)
    }

    /// Returns the seconds of a directive, if it is there. An invalid number is zero: a lifetime
    /// that cannot be read is over.
    #[must_use]
    pub fn seconds(&self, name: &str) -> Option<Duration> {
        let (_, value) = self.members.iter().find(|(own, _)| own == name)?;
        Some(Duration::from_secs(
            value.as_deref().and_then(delta_seconds).unwrap_or(0),
        ))
    }

    fn parse(fields: &Fields) -> Self {
        let mut directives = Self::default();
        for line in fields.all("cache-control") {
            for (name, value) in members(&String::from_utf8_lossy(line)) {
                directives.add(name, value);
            }
        }
        directives
    }

    fn parse_targeted(fields: &Fields) -> Option<Self> {
        let lines: Vec<_> = fields.all("cdn-cache-control").collect();
        let dictionary: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
        let mut directives = Self {
            is_targeted: true,
            ..Self::default()
        };
        for (name, entry) in &dictionary {
            let ListEntry::Item(item) = entry else {
                continue;
            };
            match &item.bare_item {
                BareItem::Boolean(false) => {}
                BareItem::Integer(number) => {
                    directives.add(name.as_str(), Some(number.to_string()));
                }
                // A lifetime of another type makes the field invalid as a whole.
                _ if is_lifetime(name.as_str()) => return None,
                _ => directives.add(name.as_str(), None),
            }
        }
        (!directives.members.is_empty()).then_some(directives)
    }

    fn add(&mut self, name: &str, value: Option<String>) {
        if !self.has(&name.to_ascii_lowercase()) {
            self.members.push((name.to_ascii_lowercase(), value));
        }
    }
}

fn is_lifetime(name: &str) -> bool {
    matches!(
        name,
        "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error"
    )
}

/// Splits a field value into directives. A quoted string is opaque: commas and names in it count
/// for nothing.
fn members(line: &str) -> Vec<(&str, Option<String>)> {
    let mut members = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (member, behind) = rest.split_at(end_of_member(rest));
        rest = behind.strip_prefix(',').unwrap_or(behind);
        let (name, value) = match member.split_once('=') {
            Some((name, value)) => (name.trim_start(), Some(value.trim_end())),
            None => (member.trim(), None),
        };
        // A blank before the equals sign ends the name: the directive has no valid value.
        let (name, value) = match name.split_once([' ', '\t']) {
            Some((name, _)) => (name, None),
            None => (name, value),
        };
        if !name.is_empty() {
            members.push((name, value.map(unquote)));
        }
    }
    members
}

/// Returns the index of the comma that ends the first member, or the length of the line.
fn end_of_member(line: &str) -> usize {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => return at,
            _ => {}
        }
    }
    line.len()
}

fn unquote(value: &str) -> String {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.map_or_else(|| value.to_owned(), |inner| inner.replace('\\', ""))
}

/// Returns a delta-seconds value, at most [`MAX_DELTA_SECONDS`] (RFC 9111, section 1.2.2).
pub fn delta_seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| {
        text.parse()
            .unwrap_or(MAX_DELTA_SECONDS)
            .min(MAX_DELTA_SECONDS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lines: &[(&str, &str)]) -> Directives {
        let lines = lines.iter().map(|(name, value)| (*name, value.as_bytes()));
        Directives::from_response(&lines.collect())
    }

    #[test]
    fn directives_are_real_tokens() {
        for (line, max_age) in [
            ("max-age=3600", Some(3600)),
            ("MaX-aGe=3600", Some(3600)),
            ("max-age=0003600", Some(3600)),
            ("max-age=\"3600\"", Some(3600)),
            ("a, ,max-age=3600 ,b", Some(3600)),
            ("ext=\"max-age=3600\"", None),
            ("ext=\"a\\\"b, max-age=3600\"", None),
            ("ext=\"a, max-age=1\", max-age=2", Some(2)),
            ("xmax-age=3600", None),
            ("max-age=60, max-age=1", Some(60)),
            ("max-age", Some(0)),
            ("max-age=", Some(0)),
            ("max-age=a100", Some(0)),
            ("max-age=100a", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age=1800.0", Some(0)),
            ("max-age='3600'", Some(0)),
            ("max-age =3600", Some(0)),
            ("max-age= 3600", Some(0)),
            ("max-age=99999999999999999999", Some(MAX_DELTA_SECONDS)),
        ] {
            let found = response(&[("cache-control", line)]).seconds("max-age");
            assert_eq!(found.map(|age| age.as_secs()), max_age, "{line}");
        }
    }

    #[test]
    fn lines_are_one_list() {
        let directives = response(&[("cache-control", "a"), ("cache-control", "max-age=1")]);
        assert!(directives.has("a"));
        assert_eq!(directives.seconds("max-age"), Some(Duration::from_secs(1)));
    }

    #[test]
    fn valid_targeted_field_decides_alone() {
        let base = ("cache-control", "no-store");
        for (line, is_targeted) in [
            ("max-age=10", true),
            ("MAX-AGE=10", false),
            ("private", true),
            ("&&&&&", false),
            ("", false),
            ("max-age=\"10000\"", false),
            ("max-age=1.5", false),
            ("ext=\"x\", max-age=1", true),
        ] {
            let directives = response(&[base, ("cdn-cache-control", line)]);
            assert_eq!(directives.is_targeted(), is_targeted, "{line}");
            assert_eq!(directives.has("no-store"), !is_targeted, "{line}");
        }
    }

    #[test]
    fn pragma_counts_without_cache_control_only() {
        let request = |lines: &[(&str, &str)]| {
            let lines = lines.iter().map(|(name, value)| (*name, value.as_bytes()));
            Directives::from_request(&lines.collect())
        };
        assert!(request(&[("pragma", "x, no-cache")]).has("no-cache"));
        assert!(
            !request(&[("pragma", "no-cache"), ("cache-control", "max-age=1")]).has("no-cache")
        );
        assert!(!response(&[("pragma", "no-cache")]).has("no-cache"));
    }
}
