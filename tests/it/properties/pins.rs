//! Properties of the checksum file. It reads back as written, and an invalid file is rejected as a
//! whole.

use millpond::model::{Sha256, Target};
use millpond::policy::{ChecksumLineError, ChecksumList};
use proptest::collection::btree_map;
use proptest::prelude::*;

use super::{CASES, cases};

/// Returns a line in one of the forms that tools and people write.
fn line(sha256: &Sha256, path: &str, style: u8) -> String {
    let (hex, url) = (sha256.to_string(), format!("https://example.org/{path}"));
    match style % 5 {
        0 => format!("{hex}  {url}"),
        1 => format!("{hex} *{url}"),
        2 => format!("{}\t{url}", hex.to_uppercase()),
        3 => format!("  {hex}  {url}  \r"),
        _ => format!("# of {path}\n\n{hex}  {url}"),
    }
}

proptest! {
    #![proptest_config(cases(CASES / 8))]

    #[test]
    fn checksum_lines_read_back_as_written(
        stated in btree_map("[a-z0-9.+-]{1,20}\\.tar\\.gz", (any::<[u8; 32]>(), any::<u8>()), 0..20)
    ) {
        let lines = |(path, (bytes, style)): (&String, &([u8; 32], u8))| {
            line(&Sha256::from_bytes(*bytes), path, *style)
        };
        let text = stated.iter().map(lines).collect::<Vec<_>>().join("\n");
        let pins = ChecksumList::parse(&text).unwrap();
        prop_assert_eq!(pins.len(), stated.len());
        for (path, (bytes, _)) in &stated {
            let target = Target::parse(&format!("HTTPS://Example.org:443/{path}")).unwrap();
            prop_assert_eq!(pins.get(&target), Some(Sha256::from_bytes(*bytes)));
            let other = Target::parse(&format!("https://example.org/other/{path}")).unwrap();
            prop_assert_eq!(pins.get(&other), None);
        }
        // Repeated identical lines are accepted.
        let repeated = ChecksumList::parse(&format!("{text}\n{text}\n")).unwrap();
        prop_assert_eq!(repeated.len(), stated.len());
    }

    #[test]
    fn contradiction_names_both_lines(one: [u8; 32], other: [u8; 32], comments in 0_usize..5) {
        prop_assume!(one != other);
        let [one, other] = [one, other].map(|bytes| line(&Sha256::from_bytes(bytes), "x", 0));
        let text = format!("{one}\n{}{other}\n", "#\n".repeat(comments));
        let error = ChecksumList::parse(&text).unwrap_err();
        let expected = (comments + 2, ChecksumLineError::Contradiction(1));
        prop_assert_eq!((error.line, error.error), expected);
    }

    #[test]
    fn arbitrary_text_parses_or_names_its_line(text in "(?s).{0,400}") {
        if let Err(error) = ChecksumList::parse(&text) {
            prop_assert!((1..=text.lines().count()).contains(&error.line));
        }
    }
}
