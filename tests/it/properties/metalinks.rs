//! Properties of Metalink documents.

use millpond::metalink::{Metalink, MetalinkUrl, is_file_name};
use millpond::model::{PieceList, Sha256};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{CASES, cases};

/// Names and URLs with the characters that XML, paths and terminals give a meaning.
const HOSTILE: &str = "\\PC{0,40}|[<>&\"'/\\\\.;#\\[\\]!?= \t\r\n\u{0}\u{7f}\u{fffe}a-]{0,40}";

prop_compose! {
    fn document()(
        name in HOSTILE,
        sha256 in any::<[u8; 32]>(),
        size_bytes in 0_u64..(3 << 20),
        has_pieces in any::<bool>(),
        urls in vec((HOSTILE, any::<u32>()), 0..5),
    ) -> Metalink {
        let count = usize::try_from(size_bytes.div_ceil(1 << 20)).expect("it is small");
        let digests = vec![Sha256::from_bytes(sha256); count];
        let is_text = |c: &char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
        let url = |path: String| {
            let path: String = path.chars().filter(is_text).collect();
            format!("https://h/{path}x")
        };
        Metalink {
            name: if is_file_name(&name) { name } else { "x".to_owned() },
            size_bytes,
            sha256: Sha256::from_bytes(sha256),
            pieces: PieceList::new(size_bytes, digests).filter(|_| has_pieces),
            urls: urls
                .into_iter()
                .map(|(path, priority)| MetalinkUrl { url: url(path), priority })
                .collect(),
        }
    }
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn documents_read_back_as_written(document in document()) {
        let text = document.render();
        prop_assert_eq!(Metalink::parse(&text).expect("the document is valid"), document);
    }

    #[test]
    fn file_names_stay_in_folder(name in HOSTILE) {
        if is_file_name(&name) {
            let path = std::path::Path::new(&name);
            prop_assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(&*name));
            prop_assert!(name != ".." && !name.contains(|c: char| c.is_control()));
        }
    }

    #[test]
    fn damaged_documents_are_refused_or_whole(
        document in document(),
        cut in any::<prop::sample::Index>(),
        replaced in "[<>&\"'/=a]{0,3}",
    ) {
        let text = document.render();
        let at = cut.index(text.len());
        let Some((before, after)) = text.split_at_checked(at) else { return Ok(()) };
        for damaged in [before.to_owned(), format!("{before}{replaced}{after}")] {
            if let Ok(found) = Metalink::parse(&damaged) {
                prop_assert!(is_file_name(&found.name));
                let count = found.pieces.as_ref().map(|list| list.digests().len() as u64);
                prop_assert!(count.is_none_or(|count| count == found.size_bytes.div_ceil(1 << 20)));
            }
        }
    }
}
