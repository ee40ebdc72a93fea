//! Properties of sizes and durations.

use std::time::Duration;

use millpond::model::{HumanDuration, Size};
use proptest::prelude::*;
use proptest::sample::select;

use super::{CASES, cases};

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn sizes_read_back_as_written(bytes in prop_oneof![
        any::<u64>(),
        0..5000u64,
        (0..1024u64, 0..6u32).prop_map(|(number, unit)| number << (10 * unit)),
    ]) {
        let size = Size { bytes };
        prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
        prop_assert_eq!(Size::try_from(String::from(size)), Ok(size));
    }

    #[test]
    fn sizes_are_multiplied_by_their_unit(number in 0..4096u64, (unit, factor) in select(vec![
        ("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30),
        ("TiB", 1u64 << 40),
    ])) {
        let expected = Size { bytes: number * factor };
        prop_assert_eq!(format!("{number}{unit}").parse::<Size>(), Ok(expected));
    }

    #[test]
    fn durations_read_back_as_written(
        secs in prop_oneof![0..4000u64, 0..10 * 365 * 86_400u64],
        nanos in prop_oneof![Just(0), 0..1_000_000_000u32],
    ) {
        let span = HumanDuration(Duration::new(secs, nanos));
        prop_assert_eq!(HumanDuration::try_from(String::from(span)), Ok(span));
    }

    #[test]
    fn arbitrary_text_never_breaks_sizes_and_durations(
        text in prop_oneof!["\\PC{0,16}", "-?[0-9.eE]{0,24} ?[a-zA-Z]{0,6}"]
    ) {
        // Parsing may fail here, but it must neither panic nor read back as another value.
        if let Ok(size) = text.parse::<Size>() {
            prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
        }
        if let Ok(span) = HumanDuration::try_from(text) {
            prop_assert_eq!(HumanDuration::try_from(String::from(span)), Ok(span));
        }
    }
}
