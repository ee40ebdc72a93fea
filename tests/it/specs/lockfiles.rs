//! `millpond ensure --lockfile`: the files of lock files are stored, with the digests they state.

use crate::harness::sha256;
use crate::specs::spec_commands::SpecDesk;

#[test]
fn lockfile_files_are_stored_and_compared() {
    let desk = SpecDesk::new();
    let good = desk.serve("/crates/a/1.0.0/download", 1);
    desk.serve("/crates/b/1.0.0/download", 2);
    let package = |name: &str, digest: &str| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n\
             checksum = \"{digest}\"\n"
        )
    };
    let lock = package("a", &sha256(&good)) + &package("b", &"0".repeat(64));
    desk.write("Cargo.lock", format!("version = 3\n{lock}"));
    let base = format!("cargo={}", desk.origin.url("/crates/"));
    let run = desk.run(&["ensure", "--lockfile", "Cargo.lock", "--registry", &base]);
    assert_eq!(run.code, Some(4), "{run:?}");
    assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
    let url = desk.origin.url("/crates/a/1.0.0/download");
    desk.gateway
        .assert_serves(&url, &good)
        .assert_cache(&["hit"]);
    let run = desk.run(&["ensure", "--lockfile", "Cargo.lock"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("name one by cargo=URL"), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
}

#[test]
fn bad_lockfile_is_one_clear_line() {
    let desk = SpecDesk::new();
    for (name, text, error) in [
        (
            "x",
            &b"hello"[..],
            "x: this is none of the known lock files",
        ),
        (
            "Cargo.lock",
            b"version = 9",
            "Cargo.lock: Cargo.lock of version 9 is not known",
        ),
        ("go.sum", b"a b c\n", "go.sum: the file is invalid: line 1"),
        (
            "yarn.lock",
            b"\xff\xfe\0",
            "yarn.lock: stream did not contain valid UTF-8",
        ),
        (
            "bom.xml",
            b"<bom xmlns=\"http://cyclonedx.org\"/>",
            "bom.xml: CycloneDX as XML",
        ),
    ] {
        desk.write(name, text);
        let run = desk.run(&["ensure", "--lockfile", name]);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(
            run.stderr.starts_with(&format!("millpond: {error}")),
            "{run:?}"
        );
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    }
    assert_eq!(desk.origin.total(), 0);
}
