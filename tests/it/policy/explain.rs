//! Tests of `millpond explain`: output and exit code, without a gateway.

use serde_json::Value;

use crate::harness::{Run, millpond};

fn explain(arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().expect("a folder can be created");
    millpond(folder.path(), &[&["explain"], arguments].concat())
}

#[test]
fn class_and_deciding_line_are_shown() {
    let run = explain(&["https://example.org/o/r/archive/main.tar.gz"]);
    run.assert_success();
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines[0], "class      revalidate");
    assert_eq!(lines[1], "reason     mutable word \"main\"");
    assert_eq!(
        lines[2],
        "target     https://example.org/o/r/archive/main.tar.gz"
    );
}

#[test]
fn json_has_digest_and_denial() {
    let hex = "ab".repeat(32);
    let url = format!("https://example.org/by-hash/SHA256/{hex}");
    let run = explain(&[
        "--json",
        "--set",
        "policy.deny_hosts=[\"example.org\"]",
        &url,
    ]);
    run.assert_success();
    let shown: Value = serde_json::from_str(&run.stdout).expect("the output is JSON");
    assert_eq!(shown["class"], "immutable");
    assert_eq!(shown["reason"], "digest in the path");
    assert_eq!(shown["required_digest"], format!("sha256:{hex}"));
    assert_eq!(shown["stored_as"], url.as_str());
    let denied = shown["denied"].as_str().expect("the host is denied");
    assert!(denied.contains("policy.deny_hosts"), "{denied}");
}

#[test]
fn invalid_url_or_configuration_is_rejected() {
    for arguments in [
        &["example.org/x"][..],
        &["gopher://example.org/x"],
        &["--set", "cache.max_size=much", "https://example.org/x"],
    ] {
        let run = explain(arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
        assert_eq!(run.stderr.trim_end().lines().count(), 1, "{run:?}");
    }
}
