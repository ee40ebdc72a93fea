//! Classes: a companion and its file, and spellings of one name, are of one class. A secret is
//! never stored.

use millpond::limits::LimitsConfig;
use millpond::model::Target;
use millpond::policy::{Class, Config, Policy, Rule};
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

/// Encodes the bytes that `encoded` selects, except for slashes.
fn with_encoding(text: &str, encoded: &[bool]) -> String {
    let encode = |(at, c): (usize, char)| {
        if encoded[at % encoded.len()] && c != '/' {
            format!("%{:02X}", u32::from(c))
        } else {
            c.to_string()
        }
    };
    text.chars().enumerate().map(encode).collect()
}

/// URLs that contain a login, a token or a signature.
fn secret_urls() -> impl Strategy<Value = String> {
    let name = select(vec![
        "x-1.0.tar.gz",
        "x.tar.gz",
        "core.db",
        "",
        "x-1.0.tar.gz.asc",
    ]);
    let parameter = select(vec![
        "token=a",
        "X-Amz-Signature=a",
        "private%5Ftoken=a",
        "SIG=a",
        "access_token",
    ]);
    let before = select(vec!["", "a=1&", "h=0123abc;"]);
    (name, parameter, before, any::<bool>()).prop_map(|(name, parameter, before, is_login)| {
        if is_login {
            format!("ftp://user:password@example.org/a/x{name}")
        } else {
            format!("https://example.org/a/{name}?{before}{parameter}")
        }
    })
}

/// Rules that would change the class, the target or the use of stored bytes.
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let class = select(vec![
        Class::Immutable,
        Class::Revalidate,
        Class::PassThrough,
    ]);
    let query = select(vec!["", "*", "token=*"]);
    let rule = (class, query, any::<bool>()).prop_map(|(class, query, offline)| Rule {
        query: query.to_owned(),
        class: Some(class),
        offline: Some(offline),
        ignored_query_parameters: vec!["token".to_owned(), "X-Amz-Signature".to_owned()],
        ..Rule::default()
    });
    vec(rule, 0..4)
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
    fn encoding_never_changes_the_class(
        path in paths(),
        suffix in select(&["", ".asc", ".sha256"][..]),
        encoded in vec(any::<bool>(), 1..8),
    ) {
        let (policy, path) = (policy(), path + suffix);
        let spelling = with_encoding(&path, &encoded);
        prop_assert_eq!(class_of(&policy, &spelling), class_of(&policy, &path), "{}", spelling);
    }

    #[test]
    fn secrets_are_passed_whatever_rules_set(url in secret_urls(), rules in rules()) {
        let policy = Policy::new(Config::default(), rules, &[], LimitsConfig::default())
            .expect("the rules are valid");
        let target = Target::parse(&url).expect("the URL is valid");
        let admitted = policy.admit(target.clone()).expect("the defaults allow the host");
        prop_assert_eq!(admitted.class(), Class::PassThrough, "{}", target);
        prop_assert!(!admitted.is_offline());
        prop_assert_eq!(admitted.target(), &target, "no rule changes the target");
    }

    #[test]
    fn every_path_has_a_class(path in "[ -~]{0,60}") {
        if let Ok(target) = Target::parse(&format!("https://example.org/{path}"))
            && let Ok(admitted) = policy().admit(target)
        {
            let is_decided = !admitted.classified().reason().to_string().is_empty();
            prop_assert!(is_decided, "{}", path);
        }
    }
}
