//! Lists of files in the formats of build systems, and paths of their mirrors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::catalog::{BadLine, ListFormat, parse_apt_list};
use millpond::dialects::{MirrorPath, Wanted};

fuzz_target!(|text: &str| {
    let formats = ListFormat::ALL.into_iter();
    let lists = formats.map(|format| format.parse(text));
    let apt = parse_apt_list(text, Some("https://example.org"));
    for list in lists.chain([apt]) {
        match list {
            Ok(entries) => {
                for entry in entries {
                    assert!(
                        !entry.name.is_empty() && entry.name.len() <= 255,
                        "{entry:?}"
                    );
                    assert!(!entry.name.contains(['/', '\n', '\0']), "{entry:?}");
                }
            }
            Err(BadLine { line, reason }) => {
                assert!(
                    (1..=text.lines().count()).contains(&line),
                    "{line}: {reason}"
                );
            }
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
