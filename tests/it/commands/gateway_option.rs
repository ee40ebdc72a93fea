//! The gateway of a command: its URL and token may stand before the command and after it.

use std::fs;

use crate::harness::{Gateway, Origin, Reply, Run, archive, millpond};

#[test]
fn gateway_may_stand_before_and_behind() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .port(443)
        .start();
    let body = archive(1, 5000);
    origin.serve("/x-1.0.tar.gz", Reply::file(&body));
    let file = origin.url("/x-1.0.tar.gz");
    let folder = tempfile::tempdir().expect("a folder can be created");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).expect("the folder is writable");
    };
    write("token", gateway.token().as_bytes());
    write("copy-1.0.tar.gz", &body);
    let copy = "https://example.org/";
    let address = gateway.addr().to_string();
    let place = ["--gateway", &address, "--token-file", "token"];
    let start = ["jobs", "start", "fetch", &file, "--wait"];
    let started = run_between(folder.path(), &start[..2], &place, &start[2..]);
    started.assert_success();
    let id = started
        .stdout
        .split(' ')
        .next()
        .expect("a job has an identity");
    let commands: [&[&str]; 17] = [
        &["jobs"],
        &["jobs", "list"],
        &start,
        &["jobs", "show", id],
        &["jobs", "cancel", id],
        &["events"],
        &["status"],
        &["ls"],
        &["incidents"],
        &["stat", &file],
        &["get", &file],
        &["ensure", &file],
        &["refresh", &file],
        &["pin", &file],
        &["import", "copy-1.0.tar.gz", "--url", copy],
        &["doctor"],
        &["rm", "--yes", "--sha256", &"0".repeat(64)],
    ];
    for command in commands {
        for split in 0..=command.len() {
            // An option of the command keeps its value.
            if split > 0 && command[split - 1].starts_with("--") {
                continue;
            }
            let run = run_between(folder.path(), &command[..split], &place, &command[split..]);
            let code = if command[0] == "rm" { 3 } else { 0 };
            assert_eq!(run.code, Some(code), "{command:?} at {split}: {run:?}");
        }
    }
}

/// Runs a command with arguments in its middle.
fn run_between(folder: &std::path::Path, first: &[&str], place: &[&str], last: &[&str]) -> Run {
    millpond(folder, &[first, place, last].concat())
}

#[test]
fn help_lists_gateway_apart() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let help = millpond(folder.path(), &["jobs", "start", "--help"]).stdout;
    let (own, gateway) = help
        .split_once("Gateway that a command uses:")
        .expect("the help has a heading");
    for (part, options) in [
        (own, &["--wait", "--json"][..]),
        (gateway, &["--gateway", "--token-file"]),
    ] {
        for option in options {
            let line = format!("  {option} ");
            assert!(
                part.contains(&line) || part.contains(&format!("  {option}\n")),
                "{help}"
            );
        }
    }
    assert!(!gateway.contains("--json"), "{help}");
}

#[test]
fn unused_gateway_argument_is_rejected() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    for arguments in [
        &["--gateway", "example.org"][..],
        &["serve", "--gateway", "example.org"],
        &["--token-file", "token", "check-config"],
    ] {
        let run = millpond(folder.path(), arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
        assert!(run.stderr.contains("uses no gateway"), "{run:?}");
    }
}
