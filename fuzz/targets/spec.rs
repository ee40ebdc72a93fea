//! Spec files: their sources, and the rewriting to a gateway and back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::spec::{RewriteOutcome, SpecOptions, list_sources, rewrite_sources, undo_rewrite};

const GATEWAY: &str = "http://gateway.example.org";

fuzz_target!(|bytes: &[u8]| {
    let options = SpecOptions::default();
    let Ok(listed) = list_sources(bytes, &options) else {
        return;
    };
    for source in &listed.sources {
        if let Some(span) = &source.span {
            assert_eq!(
                String::from_utf8_lossy(&bytes[span.clone()]),
                source.raw,
                "the span is that of the value"
            );
        }
        for url in &source.urls {
            assert!(url.url.contains("://") && !url.url.contains('#'), "{url:?}");
            assert!(!url.file.contains('/'), "{url:?}");
        }
        let states = [
            !source.urls.is_empty(),
            !source.unresolved.is_empty(),
            source.local.is_some(),
        ];
        assert!(
            states.iter().filter(|holds| **holds).count() <= 1,
            "{source:?}"
        );
    }
    let rewritten = rewrite_sources(bytes, GATEWAY, &options).expect("it was a spec before");
    let is_new = rewritten
        .sources
        .iter()
        .all(|(_, outcome)| *outcome != RewriteOutcome::Unchanged);
    let again = rewrite_sources(&rewritten.bytes, GATEWAY, &options).expect("it is still a spec");
    assert_eq!(
        again.bytes, rewritten.bytes,
        "a second rewriting changes nothing"
    );
    if is_new {
        let undone = undo_rewrite(&rewritten.bytes, GATEWAY, &options).expect("it is still a spec");
        assert_eq!(undone.bytes, bytes, "the rewriting can be undone");
    }
});
