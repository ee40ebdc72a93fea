//! Repositories of a registry that clients may ask for. The main type is [`RepositoryPatterns`].

use super::repository::RepositoryName;
use crate::policy::matches_wildcards;

/// Maximum number of patterns in one list. Each request is compared with all of them.
const MAX_PATTERNS: usize = 200;

/// Longest pattern. A name has at most as many bytes.
const MAX_PATTERN_BYTES: usize = 255;

/// Maximum number of `*` in a pattern.
const MAX_WILDCARDS: usize = 8;

/// Patterns of names, in which `*` stands for any text, also for slashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryPatterns {
    /// Empty: all.
    allow: Vec<String>,
    /// Takes precedence.
    deny: Vec<String>,
}

impl RepositoryPatterns {
    /// Checks the patterns of a table.
    ///
    /// # Errors
    /// The key of the list that has an invalid pattern.
    pub fn new(allow: &[String], deny: &[String]) -> Result<Self, &'static str> {
        for (key, patterns) in [(".allow", allow), (".deny", deny)] {
            let is_valid = patterns.len() <= MAX_PATTERNS && patterns.iter().all(|p| is_pattern(p));
            if !is_valid {
                return Err(key);
            }
        }
        Ok(Self {
            allow: allow.to_vec(),
            deny: deny.to_vec(),
        })
    }

    /// Returns whether clients may ask for a repository.
    #[must_use]
    pub fn allows(&self, name: &RepositoryName) -> bool {
        let has = |patterns: &[String]| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| matches_wildcards(pattern, name.as_str()))
        };
        !has(&self.deny) && (self.allow.is_empty() || has(&self.allow))
    }
}

/// Whether a text is a name in which `*` may stand for any part.
fn is_pattern(text: &str) -> bool {
    let is_name_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._/*".contains(&byte);
    (1..=MAX_PATTERN_BYTES).contains(&text.len())
        && text.bytes().all(is_name_byte)
        && text.matches('*').count() <= MAX_WILDCARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_patterns_take_precedence() {
        let list = |texts: &[&str]| {
            texts
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>()
        };
        let patterns = |allow: &[&str], deny: &[&str]| {
            RepositoryPatterns::new(&list(allow), &list(deny)).unwrap()
        };
        for (allow, deny, name, is_allowed) in [
            (&[][..], &[][..], "mill/app", true),
            (&["mill/*"], &[], "mill/app", true),
            (&["mill/*"], &[], "mill/team/app", true),
            (&["mill/*"], &[], "millpond/app", false),
            (&["mill/*", "library/debian"], &[], "library/debian", true),
            (&[], &["*/test-*"], "mill/test-1", false),
            (&["mill/*"], &["mill/app"], "mill/app", false),
            (&["mill/*"], &["mill/app"], "mill/app2", true),
        ] {
            let name = RepositoryName::parse(name).unwrap();
            let found = patterns(allow, deny).allows(&name);
            assert_eq!(found, is_allowed, "{name} {allow:?} {deny:?}");
        }
        for text in ["", "Mill/*", "a b", "a?", "*********"] {
            assert_eq!(
                RepositoryPatterns::new(&[], &list(&[text])),
                Err(".deny"),
                "{text}"
            );
        }
    }
}
