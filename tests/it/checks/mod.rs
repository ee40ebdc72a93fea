//! Tests of the repository itself: documents and language.

mod documents;
pub mod language;
