//! Tests of the repository itself: documents and language.

mod bench_rows;
mod documents;
pub mod language;
mod readme;
mod reference_pages;
