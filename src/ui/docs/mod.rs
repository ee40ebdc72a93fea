//! The documentation, rendered for browsers, so that it can be read without a network.
//!
//! The program provides the files at its start, because they are part of the binary and not of the
//! library: a changed page then compiles nothing but the binary. A page is rendered when it is
//! first requested. The main function is [`find_document`].

mod contents;
mod document_file;
mod document_set;
mod markdown;
mod page;

use std::sync::OnceLock;

use super::assets::Asset;
pub use document_file::DocumentFile;
use document_set::DocumentSet;

static DOCUMENTS: OnceLock<DocumentSet> = OnceLock::new();

/// Provides the files. Only the first call has an effect.
pub fn provide_documents(files: &'static [DocumentFile]) {
    DOCUMENTS.get_or_init(|| DocumentSet::new(files));
}

/// Returns the page or file with a name below `/ui/docs/`. The index has the empty name.
#[must_use]
pub fn find_document(name: &str) -> Option<&'static Asset> {
    DOCUMENTS.get()?.find(name)
}
