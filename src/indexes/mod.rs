//! Indexes of package registries below `/mirror/`, rewritten so that their links to files lead back
//! to this gateway and state the digests of the index.
//!
//! This module parses paths and documents. It must not know HTTP, the cache or origins, and does
//! no I/O. The main function is [`rewrite`].

mod cargo_config;
mod config;
mod document;
mod error;
mod html_tag;
mod json_members;
mod npm_package;
mod path;
mod pypi_html;
mod pypi_json;
mod pypi_link;
mod registry;

pub use config::{Config, RegistryUpstreams};
pub use document::{IndexDocument, LinkBudget, LinkPlaces};
pub use error::IndexError;
pub use path::IndexPath;
pub use pypi_link::PypiFile;
pub use registry::PackageRegistry;

/// Rewrites a document with this `Content-Type`.
///
/// # Errors
/// [`IndexError`] if the document does not have the form of its registry.
pub fn rewrite(
    document: IndexDocument,
    content_type: &str,
    body: &[u8],
    places: LinkPlaces<'_>,
) -> Result<Vec<u8>, IndexError> {
    let content_type = content_type.to_ascii_lowercase();
    let rewritten = match document {
        IndexDocument::PypiProjects | IndexDocument::PypiProject => {
            if content_type.contains("json") {
                pypi_json::rewrite(body, places)
            } else if content_type.contains("html") {
                pypi_html::rewrite(body, document, places)
            } else {
                Err(IndexError::MediaType)
            }
        }
        IndexDocument::NpmPackage => npm_package::rewrite(body, places),
        IndexDocument::CargoConfig => cargo_config::rewrite(body, places),
    };
    if places.budget.is_spent() {
        return Err(IndexError::LongLinks);
    }
    rewritten
}
