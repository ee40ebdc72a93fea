//! Request fields that select a stored response (RFC 9111, section 4.1).

use serde::{Deserialize, Serialize};

use crate::model::Fields;

/// Names of the request fields on which a response depends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaryNames {
    /// `Vary: *`: no later request selects the response.
    Any,
    /// Names in lower case and in order, each once.
    Fields(Vec<String>),
}

/// The values of these fields in the request that brought a stored response.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VaryKey(Vec<(String, Option<String>)>);

impl VaryNames {
    #[must_use]
    pub fn from_response(fields: &Fields) -> Self {
        let combined = fields.combined("vary").unwrap_or_default();
        let mut names: Vec<_> = combined
            .split(", ")
            .filter(|name| !name.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        if names.iter().any(|name| name == "*") {
            return Self::Any;
        }
        // An origin that codes a body and forgets to say so must not break clients of another kind.
        if fields.contains("content-encoding") {
            names.push("accept-encoding".to_owned());
        }
        names.sort_unstable();
        names.dedup();
        Self::Fields(names)
    }

    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::Any
    }

    /// Returns the values that a request has for these fields; `None` for `Vary: *`.
    #[must_use]
    pub fn select(&self, request: &Fields) -> Option<VaryKey> {
        let Self::Fields(names) = self else {
            return None;
        };
        let values = names.iter();
        let values = values.map(|name| (name.clone(), request.combined(name)));
        Some(VaryKey(values.collect()))
    }
}

impl VaryKey {
    /// Returns whether a request has the same values.
    #[must_use]
    pub fn matches(&self, request: &Fields) -> bool {
        self.0
            .iter()
            .all(|(name, value)| request.combined(name) == *value)
    }

    /// Returns the fields that a request needs to select the same response.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = self.0.iter();
        values.filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freshness::test_fields as fields;

    #[test]
    fn values_are_compared_without_list_blanks() {
        let response = fields(&[("vary", "Accept , Foo"), ("vary", "foo")]);
        let names = VaryNames::from_response(&response);
        assert_eq!(
            names,
            VaryNames::Fields(vec!["accept".into(), "foo".into()])
        );
        let key = names.select(&fields(&[("accept", "a,b")])).unwrap();
        assert!(key.matches(&fields(&[("accept", "a ,  b")])));
        assert!(key.matches(&fields(&[("accept", "a"), ("accept", "b"), ("x", "y")])));
        assert!(!key.matches(&fields(&[("accept", "b, a")])));
        assert!(!key.matches(&fields(&[("accept", "a,b"), ("foo", "")])));
        assert!(!key.matches(&fields(&[])));
    }

    #[test]
    fn coded_body_depends_on_accepted_codings() {
        let response = fields(&[("content-encoding", "gzip")]);
        let names = VaryNames::from_response(&response);
        assert_eq!(names, VaryNames::Fields(vec!["accept-encoding".into()]));
    }

    #[test]
    fn asterisk_in_any_line_selects_nothing() {
        for lines in [
            &[("vary", "*")][..],
            &[("vary", "*, accept")],
            &[("vary", "accept, *")],
            &[("vary", "accept"), ("vary", "*")],
        ] {
            assert!(
                VaryNames::from_response(&fields(lines)).is_any(),
                "{lines:?}"
            );
        }
        assert!(!VaryNames::from_response(&fields(&[])).is_any());
    }
}
