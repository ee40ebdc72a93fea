//! The sources of a spec, as callers see them.
//!
//! The main type is [`SpecSources`].

use std::fmt;
use std::ops::Range;

/// Kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecSourceKind {
    Source,
    Patch,
}

impl SpecSourceKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Patch => "patch",
        }
    }
}

impl fmt::Display for SpecSourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// URL of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceUrl {
    /// URL without a fragment.
    pub url: String,
    /// Name of the file, as RPM takes it from the URL or its fragment `#/name`.
    pub file: String,
    /// Whether only another branch of a conditional has it than the one that RPM would take.
    pub in_other_branch: bool,
}

/// Macro that a source needs and that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnresolvedMacro {
    /// Name, or the beginning of a command.
    pub name: String,
    /// Line of the call, from 1: that of the source, or of a macro that the source uses.
    pub line: usize,
    /// Why it cannot be expanded.
    pub reason: String,
}

impl fmt::Display for UnresolvedMacro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in line {}: {}", self.name, self.line, self.reason)
    }
}

/// Source or patch of a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecSource {
    pub kind: SpecSourceKind,
    /// Number, such as 0 of `Source0`.
    pub number: u32,
    /// Line, from 1.
    pub line: usize,
    /// Value as it stands in the spec.
    pub raw: String,
    /// Bytes of the value in the file. `None` if a macro expands to the line.
    pub span: Option<Range<usize>>,
    /// Different URLs of the branches. Empty for a file beside the spec, and if none is resolved.
    pub urls: Vec<SourceUrl>,
    /// Macros that keep the URL from being known. Empty if there is a URL.
    pub unresolved: Vec<UnresolvedMacro>,
    /// Names of a file beside the spec.
    pub local: Option<String>,
}

/// Sources of a spec in the order of their lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecSources {
    pub name: Option<String>,
    pub version: Option<String>,
    pub sources: Vec<SpecSource>,
}

/// Error returned for a text that is no spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("a spec has at most {0} bytes")]
    TooLarge(usize),
    #[error("this is no spec file: it contains a zero byte")]
    Binary,
    #[error("this is no spec file: it has no line \"Name:\"")]
    NoName,
}
