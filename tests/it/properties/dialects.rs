//! Paths of build systems: whatever they contain, they ask for one file name or for digests.

use millpond::catalog::CatalogQuery;
use millpond::dialects::{Dialect, MirrorPath, Wanted};
use millpond::model::{Algorithm, Digest};
use proptest::prelude::*;
use proptest::sample::select;

use super::{CASES, cases};
use crate::mirror::dialects::base32;

/// Segments that dialects give a meaning to, and others.
fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "distfiles",
            "layout.conf",
            "sha256",
            "sha512",
            "md5",
            "file",
            "archive",
            "_source-cache",
            "v2",
            "blobs",
            "..",
            "%2e%2e",
            "%2f",
            "%00",
            "ab",
            "x-1.0.tar.gz",
        ])
        .prop_map(str::to_owned),
        "[0-9a-f]{64}",
        "[0-9a-f]{128}(\\.json)?",
        "\\PC{0,12}",
    ]
}

fn query_of(wanted: Wanted) -> Option<CatalogQuery> {
    match wanted {
        Wanted::File(query) | Wanted::References(query) => Some(query),
        Wanted::Url(_) | Wanted::Layout(_) | Wanted::Nothing => None,
    }
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn paths_ask_for_names_or_digests(
        dialect in select(Dialect::ALL.to_vec()),
        segments in prop::collection::vec(segment(), 0..7),
    ) {
        let path = format!("/mirror/{}/{}", dialect.name(), segments.join("/"));
        let Some(MirrorPath::Files(found, rest)) = MirrorPath::parse(&path) else {
            panic!("{path} is below a dialect");
        };
        prop_assert_eq!(found, dialect);
        if let Some(query) = query_of(dialect.wanted(rest)) {
            prop_assert!(query.name.is_some() || !query.digests.is_empty());
            if let Some(name) = &query.name {
                let name = name.as_str();
                prop_assert!(!name.is_empty() && !name.contains('/') && name != "..");
                prop_assert!(!name.contains('\0'));
            }
        }
    }

    #[test]
    fn base32_and_hex_mean_one_digest(bytes in prop::collection::vec(any::<u8>(), 32)) {
        let hex = hex::encode(bytes);
        let wanted = Digest::parse(Algorithm::Sha256, &hex).expect("it has 64 digits");
        for text in [hex.clone(), base32(&hex)] {
            let nix = Dialect::Nix.wanted(&format!("sha256/{text}"));
            let query = query_of(nix).expect("it is a digest");
            prop_assert!(query.digests.iter().eq([&wanted]));
        }
    }
}
