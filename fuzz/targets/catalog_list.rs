//! Lists of files in the formats of build systems, and paths of their mirrors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::catalog::ListFormat;
use millpond::dialects::{MirrorPath, Wanted};

fuzz_target!(|text: &str| {
    for format in ListFormat::ALL {
        match format.parse(text) {
            Ok(entries) => {
                for entry in entries {
                    assert!(
                        !entry.name.is_empty() && entry.name.len() <= 255,
                        "{entry:?}"
                    );
                    assert!(!entry.name.contains(['/', '\n', '\0']), "{entry:?}");
                }
            }
            Err(bad) => assert!((1..=text.lines().count()).contains(&bad.line), "{bad:?}"),
        }
    }
    let path = format!("/mirror/{text}");
    if let Some(MirrorPath::Files(dialect, path)) = MirrorPath::parse(&path) {
        match dialect.wanted(path) {
            Wanted::File(query) | Wanted::References(query) => {
                assert!(
                    query.name.is_some() || !query.digests.is_empty(),
                    "{query:?}"
                );
            }
            Wanted::Url(url) => assert!(url.starts_with('/'), "{url:?}"),
            Wanted::Layout(_) | Wanted::Nothing => {}
        }
    }
});
