//! A file of the documentation. The main type is [`DocumentFile`].

/// A file of the documentation.
#[derive(Debug)]
pub struct DocumentFile {
    /// Path in the source tree.
    pub path: &'static str,
    pub text: &'static str,
}
