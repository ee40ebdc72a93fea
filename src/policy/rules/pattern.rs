//! Patterns of paths and queries in which `*` stands for any text.

/// Longest pattern in bytes. Every request compares all of them.
const MAX_PATTERN_BYTES: usize = 1024;

/// Maximum number of `*` in a pattern.
const MAX_WILDCARDS: usize = 16;

/// Error returned for an invalid pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("\"{0}\" must begin with /")]
    Relative(String),
    #[error("\"{0}\" must not contain ?, # or **: one * stands for one segment")]
    Character(String),
    #[error("\"{0}\" must not have an empty part between two &")]
    EmptyPart(String),
    #[error("must have at most {MAX_PATTERN_BYTES} bytes and {MAX_WILDCARDS} *")]
    TooLong,
}

/// Pattern of a whole path. A `*` stands for one segment, or for a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// Parses a pattern such as `/*/raw/*/x.txt`.
    ///
    /// # Errors
    /// [`PatternError`] if no path can match it, or if it is too long.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        if !text.starts_with('/') {
            return Err(PatternError::Relative(text.to_owned()));
        }
        if text.contains(['?', '#']) || text.contains("**") {
            return Err(PatternError::Character(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns whether a path matches. A segment `*` matches any segment that is not empty.
    pub fn matches(&self, path: &str) -> bool {
        let (mut patterns, mut segments) = (self.0.split('/'), path.split('/'));
        loop {
            match (patterns.next(), segments.next()) {
                (None, None) => return true,
                (Some("*"), Some("")) | (None, Some(_)) | (Some(_), None) => return false,
                (Some(pattern), Some(segment)) if matches_wildcards(pattern, segment) => {}
                (Some(_), Some(_)) => return false,
            }
        }
    }
}

/// Pattern of a query: parameters that must all be present, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryPattern(String);

impl QueryPattern {
    /// Parses a pattern such as `file=*.tar.gz` or `a=snapshot&h=*`.
    ///
    /// # Errors
    /// [`PatternError`] if no query can match it, or if it is too long.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        if text.contains(['?', '#']) || text.contains("**") {
            return Err(PatternError::Character(text.to_owned()));
        }
        if text.split('&').any(str::is_empty) {
            return Err(PatternError::EmptyPart(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns whether a query matches. A target without a query has none.
    pub fn matches(&self, query: Option<&str>) -> bool {
        let Some(query) = query else {
            return false;
        };
        self.0.split('&').all(|pattern| {
            query
                .split(['&', ';'])
                .any(|parameter| matches_wildcards(pattern, parameter))
        })
    }
}

fn check_length(text: &str) -> Result<(), PatternError> {
    if text.len() > MAX_PATTERN_BYTES || text.matches('*').count() > MAX_WILDCARDS {
        return Err(PatternError::TooLong);
    }
    Ok(())
}

/// Returns whether a text matches a pattern in which each `*` stands for any number of bytes.
#[must_use]
pub fn matches_wildcards(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let (middles, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for middle in middles.split('*') {
        // The first occurrence leaves the most text for the parts behind it.
        let Some(at) = text.find(middle) else {
            return false;
        };
        text = &text[at + middle.len()..];
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_of_path_is_one_segment() {
        for (pattern, path, is_match) in [
            ("/*/raw/*/x.txt", "/o/raw/v1/x.txt", true),
            ("/*/raw/*/x.txt", "/o/r/raw/v1/x.txt", false),
            ("/*/raw/*/x.txt", "/o/raw//x.txt", false),
            ("/a/x-*.tar.*", "/a/x-1.0.tar.gz", true),
            ("/a/x-*.tar.*", "/a/x-1.0/b.tar.gz", false),
            ("/a/*", "/a/", false),
            ("/a/*/", "/a/b/", true),
            ("/a", "/a", true),
            ("/a", "/a/b", false),
            ("/*a*b*a", "/xabba", true),
            ("/a*a", "/a", false),
        ] {
            let found = PathPattern::parse(pattern).unwrap().matches(path);
            assert_eq!(found, is_match, "{pattern} {path}");
        }
    }

    #[test]
    fn query_needs_all_parameters_in_any_order() {
        for (pattern, query, is_match) in [
            ("file=*.tar.gz", Some("file=x.tar.gz"), true),
            ("file=*.tar.gz", Some("a=1&file=x.tar.gz&b"), true),
            ("file=*.tar.gz", Some("file=x.zip"), false),
            ("file=*.tar.gz", Some("xfile=x.tar.gz"), false),
            ("file=*.tar.gz", None, false),
            ("a=snapshot&h=*", Some("h=1;p=r.git;a=snapshot"), true),
            ("a=snapshot&h=*", Some("a=snapshot"), false),
            ("*", Some(""), true),
        ] {
            let found = QueryPattern::parse(pattern).unwrap().matches(query);
            assert_eq!(found, is_match, "{pattern} {query:?}");
        }
    }

    #[test]
    fn invalid_patterns_are_rejected() {
        let long = format!("/{}", "x".repeat(MAX_PATTERN_BYTES));
        for text in ["", "x/*", "/**/x", "/x?y", "/x#y", &long, &"/*".repeat(17)] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
        for text in ["", "a&&b", "a&", "?a", "a**", &"a=*&".repeat(20)] {
            assert!(QueryPattern::parse(text).is_err(), "{text}");
        }
    }
}
