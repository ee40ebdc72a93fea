//! Spec files of RPM: the URLs of their sources, expanded, and their rewriting to a gateway.
//!
//! Macros are expanded as RPM expands them, within bounds of depth, size and steps. Lua and shell
//! commands never run. The module reads no file, and knows no gateway. Its main function is
//! [`list_sources`].

mod bounded_text;
mod budget;
mod compose;
mod conditions;
mod expand;
mod expression;
mod extent;
mod forge;
mod functions;
mod logical_lines;
mod macro_table;
mod options;
mod pass;
mod preamble;
mod rewrite;
mod shell_filters;
mod shell_text;
mod shell_words;
mod source;
mod sources;
mod standard_macros;
mod syntax;
mod words;

#[cfg(test)]
mod tests;

pub use options::{SpecDefine, SpecDefineError, SpecOptions};
pub use rewrite::{RewriteOutcome, Rewritten, rewrite_sources, undo_rewrite};
pub use source::{SourceUrl, SpecError, SpecSource, SpecSourceKind, SpecSources, UnresolvedMacro};
pub use sources::{MAX_SPEC_BYTES, list_sources};
