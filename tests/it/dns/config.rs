//! Tests of the `[dns]` section. Errors name the key, and never show the secret.

use std::path::Path;

use crate::harness::{Run, millpond};

const SECRET: &str = "U0VDUkVULVNFQ1JFVC1TRUNSRVQtU0VDUkVU";

/// All required keys, with the secret in a file.
const WHOLE: [(&str, &str); 6] = [
    ("server", "\"192.0.2.1:53\""),
    ("zone", "\"example.org\""),
    ("name", "\"sources.example.org\""),
    ("addresses", "[\"192.0.2.11\", \"2001:db8::11\"]"),
    ("tsig_name", "\"node.example.org\""),
    ("tsig_secret_file", "\"secret\""),
];

/// Checks the required keys with other values for some of them. `None` leaves a key out.
fn check(folder: &Path, changes: &[(&str, Option<&str>)]) -> Run {
    std::fs::write(folder.join("secret"), format!("{SECRET}\n"))
        .expect("the folder can be written");
    std::fs::write(folder.join("short"), "c2hvcnQ=").expect("the folder can be written");
    let whole = WHOLE
        .iter()
        .filter(|(key, _)| changes.iter().all(|(changed, _)| changed != key));
    let given = changes
        .iter()
        .filter_map(|(key, value)| Some((*key, (*value)?)));
    let lines: Vec<_> = whole
        .copied()
        .chain(given)
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    let file = folder.join("dns.toml");
    std::fs::write(&file, format!("[dns]\n{}", lines.concat())).expect("the folder can be written");
    millpond(
        folder,
        &[
            "check-config",
            "--config",
            file.to_str().expect("the path is UTF-8"),
        ],
    )
}

#[track_caller]
fn assert_refused(changes: &[(&str, Option<&str>)], parts: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let run = check(folder.path(), changes);
    assert_eq!(run.code, Some(2), "{changes:?}: {run:?}");
    assert_eq!(run.stderr.trim_end().lines().count(), 1, "{}", run.stderr);
    for part in parts {
        assert!(
            run.stderr.contains(part),
            "{part:?} is not named: {}",
            run.stderr
        );
    }
    assert!(
        !run.stderr.contains(SECRET) && !run.stdout.contains(SECRET),
        "{}",
        run.stderr
    );
}

#[track_caller]
fn assert_taken(changes: &[(&str, Option<&str>)]) {
    let folder = tempfile::tempdir().expect("a folder can be created");
    check(folder.path(), changes).assert_success();
}

#[test]
fn missing_keys_are_reported() {
    for key in ["zone", "name", "addresses", "tsig_name"] {
        assert_refused(&[(key, None)], &[&format!("dns.{key}")]);
    }
    assert_refused(&[("tsig_secret_file", None)], &["dns.tsig_secret"]);
}

#[test]
fn without_server_other_keys_are_not_checked() {
    assert_taken(&[
        ("server", None),
        ("zone", Some("\"\"")),
        ("tsig_secret_file", Some("\"/does/not/exist\"")),
    ]);
}

#[test]
fn unusable_values_are_rejected_with_their_key() {
    for (key, value) in [
        ("server", "\"ns.example.org:53\""),
        ("server", "\"192.0.2.1\""),
        ("zone", "\".\""),
        ("zone", "\"a..b\""),
        ("name", "\"*.example.org\""),
        ("name", "\"sources.example.com\""),
        ("name", "\"sourcesexample.org\""),
        ("name", "\"söurces.example.org\""),
        ("addresses", "[]"),
        ("addresses", "[\"0.0.0.0\"]"),
        ("addresses", "[\"ff02::1\"]"),
        ("addresses", "[\"::ffff:192.0.2.11\"]"),
        ("addresses", "[\"192.0.2.11/32\"]"),
        ("ttl", "\"0s\""),
        ("ttl", "\"1500ms\""),
        ("ttl", "\"25h\""),
        ("tsig_algorithm", "\"hmac-md5\""),
        ("tsig_secret_file", "\"short\""),
        ("tsig_secret_file", "\"/does/not/exist\""),
        ("withdraw_after", "\"99ms\""),
        ("withdraw_after", "\"61m\""),
        ("restore_after", "\"99ms\""),
        ("restore_after", "\"61m\""),
    ] {
        assert_refused(&[(key, Some(value))], &[key.trim_end_matches("_file")]);
    }
    let many: Vec<_> = (0..17).map(|last| format!("\"192.0.2.{last}\"")).collect();
    assert_refused(
        &[("addresses", Some(&format!("[{}]", many.join(","))))],
        &["dns.addresses"],
    );
}

#[test]
fn values_at_their_bounds_are_accepted() {
    for algorithm in ["hmac-sha256", "hmac-sha384", "hmac-sha512"] {
        assert_taken(&[("tsig_algorithm", Some(&format!("\"{algorithm}\"")))]);
    }
    assert_taken(&[
        ("ttl", Some("\"1s\"")),
        ("withdraw_after", Some("\"100ms\"")),
        ("restore_after", Some("\"1h\"")),
    ]);
    assert_taken(&[
        ("ttl", Some("\"1day\"")),
        ("withdraw_after", Some("\"1h\"")),
        ("server", Some("\"[::1]:53\"")),
    ]);
    // The name may be that of the zone, and fully qualified names end in a dot.
    assert_taken(&[
        ("name", Some("\"example.org\"")),
        ("zone", Some("\"EXAMPLE.org.\"")),
    ]);
}

#[test]
fn invalid_secret_is_not_shown() {
    let quoted = |text: &str| format!("\"{text}\"");
    let in_the_file = ("tsig_secret_file", None);
    assert_taken(&[in_the_file, ("tsig_secret", Some(&quoted(SECRET)))]);
    assert_refused(
        &[
            in_the_file,
            ("tsig_secret", Some(&quoted(&format!("{SECRET}%")))),
        ],
        &["dns.tsig_secret"],
    );
    assert_refused(
        &[("tsig_secret", Some(&quoted(SECRET)))],
        &["dns.tsig_secret_file"],
    );
}
