//! Indexes of package registries: their paths, their documents, and the links of these documents.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::indexes::{IndexDocument, IndexPath, LinkBudget, LinkPlaces, rewrite};
use millpond::model::Target;

const DOCUMENTS: [(IndexDocument, &str); 6] = [
    (IndexDocument::PypiProjects, "text/html"),
    (IndexDocument::PypiProject, "text/html"),
    (
        IndexDocument::PypiProjects,
        "application/vnd.pypi.simple.v1+json",
    ),
    (
        IndexDocument::PypiProject,
        "application/vnd.pypi.simple.v1+json",
    ),
    (IndexDocument::NpmPackage, "application/json"),
    (IndexDocument::CargoConfig, "application/json"),
];

fuzz_target!(|bytes: &[u8]| {
    // The first byte selects the document.
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    if let Ok(text) = std::str::from_utf8(body)
        && let Some(IndexPath::Document(_, path)) = IndexPath::parse(&format!("/mirror/{text}"))
    {
        assert!(path.starts_with('/'), "{path:?}");
        assert!(!path.contains('?'), "{path:?}");
    }
    let page = Target::parse("https://h.example.org/simple/x/").expect("it is a URL");
    let budget = LinkBudget::default();
    let places = LinkPlaces {
        budget: &budget,
        page: &page,
        upstream: "https://h.example.org/simple",
        gateway: "http://gw.example.org",
    };
    let (document, media_type) = DOCUMENTS[usize::from(*first) % DOCUMENTS.len()];
    let Ok(written) = rewrite(document, media_type, body, places) else {
        return;
    };
    let text = String::from_utf8(written).expect("a rewritten document is text");
    if media_type.contains("html") {
        return;
    }
    // A rewritten document can be read, and has the form of its registry.
    let again = rewrite(document, media_type, text.as_bytes(), places);
    assert!(again.is_ok(), "{text}");
});
