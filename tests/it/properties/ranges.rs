//! Properties of ranges, compared with a model that counts bytes one by one.

use millpond::model::{ByteRange, RangeSpec, Selected};
use proptest::prelude::*;

use super::{CASES, cases};

/// Parses `bytes=A-B`, `bytes=A-` and `bytes=-B` one character at a time. Numbers above `u64::MAX`
/// are treated as `u64::MAX`.
fn naive_range(header: &str) -> Option<(Option<u128>, Option<u128>)> {
    let set = header.to_ascii_lowercase();
    let set = set
        .trim()
        .strip_prefix("bytes")?
        .trim_start()
        .strip_prefix('=')?
        .trim()
        .to_owned();
    let mut numbers: [Option<u128>; 2] = [None, None];
    let mut which = 0;
    for char in set.chars() {
        match (char, which) {
            ('-', 0) => which = 1,
            ('0'..='9', _) => {
                let digit = u128::from(char.to_digit(10)?);
                let number = numbers[which].unwrap_or(0) * 10 + digit;
                numbers[which] = Some(number.min(u128::from(u64::MAX)));
            }
            _ => return None,
        }
    }
    match (which, numbers) {
        (0, _) | (_, [None, None]) => None,
        (_, [Some(first), Some(last)]) if last < first => None,
        (_, [first, last]) => Some((first, last)),
    }
}

/// Returns the positions of the bytes that a range selects, one by one.
fn naive_selection(range: (Option<u128>, Option<u128>), size_bytes: u64) -> Vec<u64> {
    let size = u128::from(size_bytes);
    let wanted = |at: u128| match range {
        (Some(first), last) => at >= first && last.is_none_or(|last| at <= last),
        (None, length) => at + length.unwrap_or(0) >= size,
    };
    (0..size_bytes)
        .filter(|&at| wanted(u128::from(at)))
        .collect()
}

fn range_headers() -> impl Strategy<Value = String> {
    let number = || {
        prop_oneof![
            3 => "[0-9]{0,2}",
            1 => "[0-9]{18,24}",
            1 => Just("18446744073709551615".to_owned()),
        ]
    };
    prop_oneof![
        6 => (number(), number()).prop_map(|(first, last)| format!("bytes={first}-{last}")),
        1 => (number(), number()).prop_map(|(first, last)| format!("BYTES= {first}-{last} ")),
        1 => "(bytes|items|)=?[0-9, -]{0,8}",
        1 => "\\PC{0,12}",
    ]
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn range_selects_the_named_bytes(
        header in range_headers(),
        size_bytes in prop_oneof![0..4u64, 0..120u64],
    ) {
        let parsed = RangeSpec::parse(&header);
        let naive = naive_range(&header);
        prop_assert_eq!(parsed.is_some(), naive.is_some(), "{:?}", header);
        let (Some(parsed), Some(naive)) = (parsed, naive) else { return Ok(()) };
        let selected = match parsed.select(size_bytes) {
            Selected::Part(part) => {
                prop_assert_eq!(part.size_bytes(), part.last - part.first + 1);
                (part.first..=part.last).collect()
            }
            Selected::Unsatisfiable => Vec::new(),
        };
        let expected = naive_selection(naive, size_bytes);
        prop_assert_eq!(selected, expected, "{:?} of {}", header, size_bytes);
    }

    #[test]
    fn selected_range_lies_within_the_body(header in range_headers(), size_bytes in any::<u64>()) {
        let selected = RangeSpec::parse(&header).map(|range| range.select(size_bytes));
        if let Some(Selected::Part(ByteRange { first, last })) = selected {
            prop_assert!(first <= last && last < size_bytes);
        }
    }
}
