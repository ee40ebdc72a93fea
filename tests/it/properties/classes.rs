//! Classes: a companion and its file, and spellings of one name, are of one class.

use millpond::limits::LimitsConfig;
use millpond::model::Target;
use millpond::policy::{Class, Config, Policy};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{CASES, cases};

/// Companion suffixes under which a fixed name is kept.
const KEPT_SUFFIXES: [&str; 7] = [
    ".asc",
    ".sig",
    ".sign",
    ".minisig",
    ".md5",
    ".sha256",
    ".sha512sum",
];

const ALL_SUFFIXES: [&str; 13] = [
    ".asc",
    ".sig",
    ".sign",
    ".minisig",
    ".md5",
    ".sha256",
    ".sha512sum",
    ".sigstore",
    ".metadata",
    ".sha384",
    ".b2",
    ".b3",
    ".gpg",
];

const INDEX_NAMES: [&str; 9] = [
    "Packages.xz",
    "Translation-en.bz2",
    "core.db",
    "specs.4.8.gz",
    "SHA256SUMS",
    "maven-metadata.xml",
    "setup.xz",
    "repodata/primary.xml.gz",
    "compositeContent.jar",
];

const MUTABLE_WORDS: [&str; 8] = [
    "latest", "current", "nightly", "snapshot", "master", "main", "stable", "gh-pages",
];

fn policy() -> Policy {
    Policy::new(Config::default(), Vec::new(), &[], LimitsConfig::default())
        .expect("the defaults are valid")
}

fn class_of(policy: &Policy, path: &str) -> Class {
    let target = Target::parse(&format!("https://example.org/{path}")).expect("the path is plain");
    policy
        .admit(target)
        .expect("the defaults allow the host")
        .class()
}

fn with_case(text: &str, upper: &[bool]) -> String {
    let flip = |(at, byte): (usize, char)| {
        if upper[at % upper.len()] {
            byte.to_ascii_uppercase()
        } else {
            byte
        }
    };
    text.chars().enumerate().map(flip).collect()
}

/// Paths of names with and without versions, words and suffixes.
fn paths() -> impl Strategy<Value = String> {
    let parts = vec![
        "x",
        "foo",
        "1.2.3",
        "20300131",
        "0123abc",
        "main",
        "latest",
        "dev",
        "git",
        "archive",
        "raw",
        "releases",
        "download",
        "compare",
        "snapshot",
        "repodata",
        "dists",
        "f41",
        "openEuler-22.03-LTS",
        "v2",
        "core.db",
    ];
    let segment = vec(select(parts), 1..4).prop_map(|words| words.join("-"));
    let suffix = select(vec![
        "", ".tar.gz", ".zip", ".patch", ".db", ".xml.gz", ".rpm", ".jar",
    ]);
    (vec(segment, 1..5), suffix).prop_map(|(segments, suffix)| segments.join("/") + suffix)
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn companions_of_mutable_names_are_passed(
        by_index in any::<bool>(),
        index in select(&INDEX_NAMES[..]),
        word in select(&MUTABLE_WORDS[..]),
        suffixes in vec(select(&ALL_SUFFIXES[..]), 0..4),
        upper in vec(any::<bool>(), 1..8),
    ) {
        let name = if by_index { format!("a/{index}") } else { format!("a/x-{word}.tar.gz") };
        let path = with_case(&format!("{name}{}", suffixes.concat()), &upper);
        prop_assert_eq!(class_of(&policy(), &path), Class::Revalidate, "{}", path);
    }

    #[test]
    fn companions_of_fixed_names_are_kept(
        name in select(vec![
            "x-1.0.tar.gz",
            "a/master/x-2.0-rc1.zip",
            "Packages-1.0.tar.xz",
            "x-latest-20300131.tgz",
        ]),
        suffixes in vec(select(&KEPT_SUFFIXES[..]), 0..4),
        upper in vec(any::<bool>(), 1..8),
    ) {
        let path = with_case(&format!("{name}{}", suffixes.concat()), &upper);
        prop_assert_eq!(class_of(&policy(), &path), Class::Immutable, "{}", path);
    }

    #[test]
    fn case_and_companion_suffix_never_change_the_class(
        path in paths(),
        suffix in select(&KEPT_SUFFIXES[..]),
        upper in vec(any::<bool>(), 1..8),
    ) {
        let policy = policy();
        let class = class_of(&policy, &path);
        prop_assert_eq!(class_of(&policy, &with_case(&path, &upper)), class, "{}", path);
        let file = path.clone() + ".gz";
        let companion = format!("{file}{suffix}");
        prop_assert_eq!(class_of(&policy, &companion), class_of(&policy, &file), "{}", companion);
    }

    #[test]
    fn every_path_has_a_class(path in "[ -~]{0,60}") {
        if let Ok(target) = Target::parse(&format!("https://example.org/{path}"))
            && let Ok(admitted) = policy().admit(target)
        {
            prop_assert!(matches!(
                admitted.class(),
                Class::Immutable | Class::Revalidate | Class::PassThrough
            ));
        }
    }
}
