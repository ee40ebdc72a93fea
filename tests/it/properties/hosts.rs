//! Properties of host patterns.

use millpond::policy::HostPattern;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::spellings::hosts;
use super::{CASES, cases};

fn labels() -> impl Strategy<Value = Vec<String>> {
    vec(
        select(vec!["a", "b", "ab", "example", "org", "xn--a-b", "x-y"]).prop_map(str::to_owned),
        1..5,
    )
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn host_patterns_match_whole_labels(
        pattern in labels(),
        host in labels(),
        with_subdomains in any::<bool>(),
        upper in any::<bool>(),
    ) {
        let mut text = format!("{}{}", if with_subdomains { "." } else { "" }, pattern.join("."));
        if upper {
            text.make_ascii_uppercase();
        }
        let expected = if with_subdomains { host.ends_with(&pattern) } else { host == pattern };
        let parsed = HostPattern::parse(&text).unwrap();
        let name = host.join(".");
        prop_assert_eq!(parsed.matches(&name), expected, "{} on {}", text, name);
        // A pattern matches its own host, and subdomains only if it starts with a dot.
        prop_assert!(parsed.matches(&pattern.join(".")));
        prop_assert_eq!(parsed.matches(&format!("c.{}", pattern.join("."))), with_subdomains);
        prop_assert!(!parsed.matches(&["c", &pattern.join(".")].concat()));
        prop_assert!(!parsed.matches(&[&pattern.join("."), ".c"].concat()));
        prop_assert_eq!(HostPattern::parse(&parsed.to_string()), Ok(parsed));
    }

    #[test]
    fn arbitrary_text_never_breaks_a_host_pattern(text in "\\PC{0,12}", host in hosts()) {
        if let Ok(pattern) = HostPattern::parse(&text) {
            let is_other = pattern.to_string().trim_start_matches('.') != host;
            prop_assert!(pattern.matches(&host) || is_other);
            prop_assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
        }
    }
}
