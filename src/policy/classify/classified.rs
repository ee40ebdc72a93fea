//! Result of the classification of a target.

use super::evidence::{Evidence, NameSource};
use super::path_digest::PathDigest;
use super::reason::Reason;
use crate::policy::cacheability::Class;

/// Class that a rule sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleClass {
    pub class: Class,
    /// Number of the rule, from 1.
    pub number: usize,
}

/// Class of a target, with the line that decided and what it says about the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    class: Class,
    reason: Reason,
    name_source: NameSource,
    /// Name of the file in the query, in lower case.
    query_file: Option<String>,
    has_file_name: bool,
    path_digest: Option<PathDigest>,
}

impl Classified {
    pub(super) fn new(class: Class, reason: Reason) -> Self {
        Self {
            class,
            reason,
            name_source: NameSource::Path,
            query_file: None,
            has_file_name: false,
            path_digest: None,
        }
    }

    pub(super) fn by_rule(rule: RuleClass) -> Self {
        Self::new(rule.class, Reason::Rule(rule.number)).with_file_name(true)
    }

    pub(super) fn by_digest(digest: PathDigest) -> Self {
        Self {
            path_digest: Some(digest),
            ..Self::new(Class::Immutable, Reason::PathDigest).with_file_name(true)
        }
    }

    pub(super) fn fixed(evidence: Evidence, name_source: NameSource) -> Self {
        Self {
            name_source,
            ..Self::new(Class::Immutable, Reason::Fixed(evidence)).with_file_name(true)
        }
    }

    pub(super) fn with_query_file(self, query_file: Option<&str>) -> Self {
        Self {
            query_file: query_file.map(str::to_owned),
            ..self
        }
    }

    pub(super) fn with_file_name(self, has_file_name: bool) -> Self {
        Self {
            has_file_name,
            ..self
        }
    }

    /// Returns the result for a companion. The digest is that of its file, not its own.
    pub(super) fn for_companion(self) -> Self {
        Self {
            reason: Reason::CompanionOf(Box::new(self.reason)),
            has_file_name: true,
            path_digest: None,
            ..self
        }
    }

    /// Returns the cacheability class.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Returns the line that decided.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// Returns the part of the target that was read as its name. See
    /// [`NameSource::promises_file`].
    #[must_use]
    pub fn name_source(&self) -> NameSource {
        self.name_source
    }

    /// Returns the name of the file in the query, in lower case, if it decided.
    #[must_use]
    pub fn query_file(&self) -> Option<&str> {
        self.query_file.as_deref()
    }

    /// Returns whether the target names a file: by a suffix that is no page's, or by a rule.
    ///
    /// A target of class `revalidate` without one is stored only with a validator or with explicit
    /// freshness.
    #[must_use]
    pub fn has_file_name(&self) -> bool {
        self.has_file_name
    }

    /// Returns the digest that the path states for the body.
    #[must_use]
    pub fn path_digest(&self) -> Option<&PathDigest> {
        self.path_digest.as_ref()
    }
}
