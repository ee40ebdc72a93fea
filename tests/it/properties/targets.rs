//! Properties of targets. Each target has one key, whatever its spelling, and every parser reads
//! the same target.

use millpond::model::{Key, Target, TargetError};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::spellings::{
    PATH_ENCODED, Parts, QUERY_ENCODED, Style, check_promises, decoded, dubious_urls, encoded,
    parts, styles,
};
use super::{CASES, cases};

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn spellings_of_one_target_have_one_key(parts in parts(), one in styles(), other in styles()) {
        // The table `targets.tsv` decides whether an IP address may end in a dot.
        let dotted = |style: Style| Style {
            trailing_dot: style.trailing_dot && parts.host.parse::<std::net::Ipv4Addr>().is_err(),
            ..style
        };
        let (one, other) = (dotted(one), dotted(other));
        let first = Target::parse(&parts.spelled(&one));
        let second = Target::parse(&parts.spelled(&other));
        let canonical = parts.canonical();
        let parsed = first.as_ref().map(Target::as_str);
        prop_assert_eq!(parsed, Ok(canonical.as_str()), "{:?}", parts.spelled(&one));
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(Key::new(&first.unwrap()), Key::new(&second.unwrap()));
    }

    #[test]
    fn different_targets_have_different_keys(
        parts in parts(),
        other in parts(),
        which in 0..5,
        styles in (styles(), styles()),
    ) {
        // Only one part differs, so that the two targets are as similar as possible.
        let near = match which {
            0 => Parts { scheme: other.scheme, ..parts.clone() },
            1 => Parts { host: other.host, ..parts.clone() },
            2 => Parts { port: other.port, ..parts.clone() },
            3 => Parts { segments: other.segments, ..parts.clone() },
            _ => Parts { query: other.query, ..parts.clone() },
        };
        if near.canonical() == parts.canonical() {
            return Ok(());
        }
        let plain = |style: Style| Style { trailing_dot: false, ..style };
        let one = Target::parse(&parts.spelled(&plain(styles.0))).unwrap();
        let two = Target::parse(&near.spelled(&plain(styles.1))).unwrap();
        prop_assert_ne!(&one, &two);
        prop_assert_ne!(Key::new(&one), Key::new(&two));
    }

    #[test]
    fn small_path_and_query_changes_make_other_targets(parts in parts(), which in 0..6) {
        // Some normalising caches treat each of these changes as the same target. Millpond does
        // not.
        let path = encoded(&parts.path(), PATH_ENCODED);
        let query = parts.query.clone().unwrap_or_default();
        let changed = match which {
            0 => format!("{path}/?{query}"),
            1 => format!("{}?{query}", path.replacen('/', "//", 1)),
            2 => format!("{path}?{query}&"),
            3 => format!("{path}%20?{query}"),
            4 => format!("{}?{query}", path.replace("%2F", "%2f").replace('a', "%61")),
            _ => format!("{}?{query}", path.to_ascii_uppercase()),
        };
        let start = format!("{}://{}", parts.scheme, parts.host);
        let original = Target::parse(&format!("{start}{path}?{query}")).unwrap();
        let changed = Target::parse(&format!("{start}{changed}")).unwrap();
        // A path without a lower-case letter is unchanged by upper-casing.
        if which < 4 || changed != original {
            prop_assert_ne!(Key::new(&original), Key::new(&changed));
        }
    }

    #[test]
    fn path_and_query_are_kept_byte_for_byte(parts in parts()) {
        let query = parts.query.clone().unwrap_or_default();
        let url = format!("{}://{}{}?{query}", parts.scheme, parts.host, parts.path());
        let target = Target::parse(&url).unwrap();
        prop_assert_eq!(target.path(), encoded(&parts.path(), PATH_ENCODED));
        let expected = Some(encoded(&query, QUERY_ENCODED));
        prop_assert_eq!(target.url().query().map(str::to_owned), expected);
        // Encoding adds nothing that decoding does not remove.
        prop_assert_eq!(decoded(target.path()), decoded(&parts.path()));
    }

    #[test]
    fn every_parsed_target_has_the_target_properties(
        text in prop_oneof![dubious_urls(), "\\PC{0,40}", "https?://\\PC{0,40}"]
    ) {
        if let Ok(target) = Target::parse(&text) {
            check_promises(&target)?;
        }
    }

    #[test]
    fn one_bad_byte_makes_a_target_invalid(
        parts in parts(), at in any::<prop::sample::Index>(), bad in 0..=0x20u8
    ) {
        let mut text = parts.canonical();
        let at = at.index(text.len() + 1);
        let (byte, error) = match bad {
            0x20 => ('\\', TargetError::Backslash),
            byte => (char::from(byte), TargetError::ControlByte),
        };
        text.insert(at, byte);
        prop_assert_eq!(Target::parse(&text), Err(error));
    }

    #[test]
    fn dot_segment_anywhere_is_rejected(
        parts in parts(),
        at in any::<prop::sample::Index>(),
        dots in select(vec![".", "..", "%2e", "%2E", ".%2e", "%2e.", "%2E%2e"]),
        between in select(vec!["/", "%2f", "%2F", "%5c", "%5C"]),
    ) {
        let mut segments = parts.segments.clone();
        let at = at.index(segments.len() + 1);
        segments.insert(at, dots.to_owned());
        let spelling = format!("{}://{}/{}", parts.scheme, parts.host, segments.join(between));
        prop_assert_eq!(Target::parse(&spelling), Err(TargetError::DotSegment));
    }

    #[test]
    fn redirect_gives_valid_target_or_error(base in parts(), reference in prop_oneof![
        dubious_urls(),
        "[a-z./?#%:@\\[\\]2e \\\\]{0,16}",
        "//[a-z.:@0-9]{0,10}/[a-z./]{0,10}",
    ]) {
        let base = Target::parse(&base.canonical()).unwrap();
        if let Ok(target) = base.join(&reference) {
            check_promises(&target)?;
        }
    }

    #[test]
    fn absolute_redirect_gives_its_own_target(base in parts(), to in parts(), style in styles()) {
        let base = Target::parse(&base.canonical()).unwrap();
        let spelling = to.spelled(&Style { trailing_dot: false, fragment: None, ..style });
        prop_assert_eq!(base.join(&spelling), Target::parse(&spelling));
    }

    #[test]
    fn relative_redirect_keeps_scheme_host_and_port(
        base in parts(),
        name in "[a-z0-9._-]{0,7}[a-z0-9]",
        query in option::of("[a-z=&:/?]{0,12}"),
    ) {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let base_target = Target::parse(&base.canonical()).unwrap();
        let sibling = base_target.join(&format!("{name}{query}")).unwrap();
        let folder = Parts { query: None, ..base.clone() }.canonical();
        let folder = &folder[..=folder.rfind('/').unwrap()];
        prop_assert_eq!(sibling.as_str(), format!("{folder}{name}{query}"));
        let absolute = base_target.join(&format!("/{name}{query}")).unwrap();
        let root = Parts { query: None, segments: vec![name], ..base }.canonical();
        prop_assert_eq!(absolute.as_str(), format!("{root}{query}"));
    }
}
