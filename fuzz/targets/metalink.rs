//! Metalink documents, which a client reads from a gateway.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::metalink::{MAX_URLS, Metalink, is_file_name};

fuzz_target!(|text: &str| {
    let Ok(document) = Metalink::parse(text) else {
        return;
    };
    assert!(is_file_name(&document.name), "{:?}", document.name);
    assert!(document.urls.len() <= MAX_URLS);
    for source in &document.urls {
        assert!(source.url.starts_with("http"), "{:?}", source.url);
    }
    if let Some(list) = &document.pieces {
        assert_eq!(list.size_bytes(), document.size_bytes);
        assert_eq!(list.length_of(list.digests().len()), 0);
    }
});
