//! `millpond top`: the traffic of a gateway, each second, as lines, as JSON and on a terminal.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Body, Origin, Reply, Scene, Tool, archive, millpond};

const BINARY: &str = env!("CARGO_BIN_EXE_millpond");

/// Returns the counters of a gateway after this number of downloads of 1 MiB, half of them hits.
fn stats(downloads: u64) -> Reply {
    let bytes = downloads << 20;
    let document = json!({
        "name": "node-1",
        "ready": true,
        "in_flight": 3,
        "disk": null,
        "incidents": {"alerts": 1, "notices": 0},
        "since_start": {
            "requests": downloads * 2,
            "downloads": downloads,
            "hits": downloads / 2,
            "sent_bytes": bytes,
            "hit_bytes": bytes / 4,
            "received_bytes": bytes / 2,
            "fetches_stored": downloads / 2,
            "fetches_failed": 0,
        },
    });
    Reply::ok(&Body::from(document.to_string().into_bytes()))
}

/// Returns a gateway that has 20 downloads in the first second, and none later.
fn scripted() -> Origin {
    let fake = Origin::start();
    fake.script("/api/v1/stats?", vec![stats(100), stats(120), stats(120)]);
    fake
}

#[test]
fn top_prints_one_document_each_second() {
    let fake = scripted();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = fake.url("");
    let run = millpond(
        folder.path(),
        &["top", "-n", "2", "--json", "--gateway", &url],
    );
    run.assert_success();
    let documents = run.documents();
    assert_eq!(documents.len(), 2, "{run:?}");
    let counts = |document: &Value| {
        [
            "requests",
            "downloads",
            "hits",
            "sent_bytes",
            "received_bytes",
        ]
        .map(|name| document[name].as_u64())
    };
    let expected = [40, 20, 10, 20 << 20, 10 << 20].map(Some);
    assert_eq!(counts(&documents[0]), expected, "{documents:?}");
    assert_eq!(counts(&documents[1]), [Some(0); 5], "{documents:?}");
    for document in &documents {
        assert_eq!(document["in_flight"], 3);
        assert_eq!(document["name"], "node-1");
        let seconds = document["interval_seconds"].as_f64().expect("a number");
        assert!((0.5..10.0).contains(&seconds), "{document}");
    }
}

#[test]
fn top_prints_plain_lines_into_pipe() {
    let fake = scripted();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = millpond(
        folder.path(),
        &["top", "-n", "2", "--gateway", &fake.url("")],
    );
    run.assert_success();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{run:?}");
    for word in ["REQ/S", "HITS", "OUT/S", "IN/S", "FETCHES"] {
        assert!(lines[0].contains(word), "{run:?}");
    }
    assert!(
        lines[1].contains("50.0 %") && lines[1].contains("25.0 %"),
        "{run:?}"
    );
    assert!(lines[1].contains("MiB"), "{run:?}");
    assert!(lines[2].contains("  0.0  "), "{run:?}");
    assert!(!run.stdout.contains('\u{1b}'), "{run:?}");
}

#[test]
fn top_names_hosts_with_token() {
    let (_origin, gateway, body, url) = Scene::relaying("/x-1.0.tar.gz", archive(3, 40_000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = gateway.run_command(folder.path(), &["top", "-n", "2", "--json"]);
    run.assert_success();
    let last = run.documents().pop().expect("there are documents");
    let host = json!([{"host": "127.0.0.1", "stored": 1, "stored_bytes": 40_000}]);
    assert_eq!(last["hosts"], host, "{last}");
}

#[test]
fn top_survives_restart_of_gateway() {
    let fake = Origin::start();
    let replies = vec![stats(100), Reply::status(503), stats(10), stats(11)];
    fake.script("/api/v1/stats?", replies);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = millpond(
        folder.path(),
        &["top", "-n", "3", "--json", "--gateway", &fake.url("")],
    );
    run.assert_success();
    let downloads: Vec<_> = run
        .documents()
        .iter()
        .map(|view| view["downloads"].clone())
        .collect();
    assert_eq!(downloads, [json!(0), json!(1)], "{run:?}");
    assert!(run.stderr.starts_with("millpond: "), "{run:?}");
    // A gateway that never answers is an error.
    let run = millpond(folder.path(), &["top", "--gateway", "127.0.0.1:1"]);
    assert_eq!(run.code, Some(1), "{run:?}");
}

#[test]
fn interrupt_ends_top_on_terminal() {
    let fake = scripted();
    // script(1) gives the command a terminal, and shows what it writes.
    // Without the interrupt, it ends after 60 views. The interrupt reaches the whole group of the
    // terminal, so that a shell that waits for the command could end before it.
    let line = format!("exec {BINARY} top -n 60 --gateway {}", fake.url(""));
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script can be started: install the Debian package bsdutils");
    let mut output = child.stdout.take().expect("standard output is piped");
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    let mut is_interrupted = false;
    while let Ok(count @ 1..) = output.read(&mut piece) {
        seen.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&seen);
        if !is_interrupted && text.contains("hits       50.0 %") && text.contains("incidents") {
            is_interrupted = true;
            let mut input = child.stdin.take().expect("standard input is piped");
            input.write_all(b"\x03").expect("the terminal takes input");
            // The end of the input would end the terminal.
            child.stdin = Some(input);
        }
    }
    let status = child.wait().expect("a child can be waited for");
    let text = String::from_utf8_lossy(&seen);
    let views = text.matches("\u{1b}[H\u{1b}[J").count();
    assert!((1..30).contains(&views), "{text}");
    assert!(
        text.contains("requests") && text.contains("3 running"),
        "{text}"
    );
    // script(1) ends with the code of the command, with -e.
    assert_eq!(status.code(), Some(0), "{text}");
}

#[test]
fn top_ends_when_reader_is_gone() {
    let fake = scripted();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let line = format!("{BINARY} top --json --gateway {} | head -n 1", fake.url(""));
    let run = Tool::new("sh", "dash", folder.path())
        .args(&["-c", &line])
        .run();
    run.assert_success();
    assert_eq!(run.documents().len(), 1);
}
