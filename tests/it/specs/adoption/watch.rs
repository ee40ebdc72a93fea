//! A watched folder: files are taken once they are complete, whatever the gateway does.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use super::depot::{Depot, tarball};
use crate::harness::{DEADLINE, eventually};

/// A running `millpond adopt --watch`.
struct Watch {
    child: Child,
    documents: Receiver<Value>,
}

impl Watch {
    fn start(depot: &Depot, more: &[&str]) -> Self {
        let quick = [
            "--watch",
            "--json",
            "--interval",
            "20ms",
            "--settle",
            "100ms",
        ];
        let mut child = Command::new(env!("CARGO_BIN_EXE_millpond"))
            .args(depot.arguments(&[&quick, more].concat()))
            .current_dir(depot.folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let output = BufReader::new(child.stdout.take().expect("it has an output"));
        let (sender, documents) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let document = serde_json::from_str(&line).expect("each line is JSON");
                if sender.send(document).is_err() {
                    return;
                }
            }
        });
        Self { child, documents }
    }

    /// Waits for the next document, which must be that of a file.
    #[track_caller]
    fn next(&self, file: &str) -> Value {
        let document = self.documents.recv_timeout(DEADLINE);
        let document = document.expect("a file is reported");
        assert_eq!(document["file"], file, "{document}");
        document
    }

    /// Ends the command with a signal. Returns its exit code and the last document.
    #[track_caller]
    fn end(mut self, signal: &str) -> (Option<i32>, Value) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(killed.is_ok_and(|status| status.success()));
        let code = eventually("the command ends", || {
            self.child.try_wait().expect("it can be awaited")
        });
        let last = self.documents.iter().last().expect("it prints a summary");
        (code.code(), last)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A test that failed leaves no process. One that has ended cannot be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn watch_takes_file_once_it_is_closed() {
    let depot = Depot::new();
    let first = depot.source("a-1.0.tar.gz", 1);
    let watch = Watch::start(&depot, &[]);
    assert_eq!(watch.next("a-1.0.tar.gz")["outcome"], "copied");
    let body = tarball(2);
    let path = depot.path("sources/b-1.0.tar.gz");
    let mut writer = fs::File::create(path).expect("the folder is writable");
    let (begin, end) = body.split_at(body.len() / 2);
    writer.write_all(begin).expect("the file can be written");
    let other = depot.source("c-1.0.tar.gz", 3);
    // The open file does not change either, and was found before the other one.
    assert_eq!(watch.next("c-1.0.tar.gz")["outcome"], "copied");
    assert!(!depot.gateway.object_path(&body[..body.len() / 2]).exists());
    assert_eq!(depot.gateway.objects().len(), 2);
    writer.write_all(end).expect("the file can be written");
    drop(writer);
    assert_eq!(watch.next("b-1.0.tar.gz")["outcome"], "copied");
    depot.assert_found("a-1.0.tar.gz", &first);
    depot.assert_found("b-1.0.tar.gz", &body);
    depot.assert_found("c-1.0.tar.gz", &other);
    let (code, last) = watch.end("TERM");
    assert_eq!(code, Some(0));
    assert!(last["summary"].is_array(), "{last}");
    assert!(depot.gateway.staged().is_empty());
}

#[test]
fn watch_survives_restart_of_gateway() {
    let mut depot = Depot::new();
    let watch = Watch::start(&depot, &[]);
    let first = depot.source("a-1.0.tar.gz", 1);
    assert_eq!(watch.next("a-1.0.tar.gz")["outcome"], "copied");
    depot.gateway.stop();
    let second = depot.source("b-1.0.tar.gz", 2);
    assert_eq!(watch.next("b-1.0.tar.gz")["outcome"], "copied");
    depot.gateway.restart();
    let third = depot.source("c-1.0.tar.gz", 3);
    assert_eq!(watch.next("c-1.0.tar.gz")["outcome"], "copied");
    depot.assert_found("a-1.0.tar.gz", &first);
    depot.assert_found("b-1.0.tar.gz", &second);
    depot.assert_found("c-1.0.tar.gz", &third);
    assert_eq!(watch.end("INT").0, Some(0));
}

#[test]
fn watch_reports_each_result_once() {
    let depot = Depot::new();
    depot.source("a-1.0.tar.gz.part", 1);
    let watch = Watch::start(&depot, &["--link"]);
    assert_eq!(watch.next("a-1.0.tar.gz.part")["outcome"], "skipped");
    // The mode of a linked file changes, and the file is done all the same.
    depot.source("b-1.0.tar.gz", 2);
    let outcome = watch.next("b-1.0.tar.gz")["outcome"].clone();
    assert!(outcome == "linked" || outcome == "cloned", "{outcome}");
    fs::rename(
        depot.path("sources/a-1.0.tar.gz.part"),
        depot.path("sources/c-1.0.tar.gz"),
    )
    .expect("a file can be renamed");
    assert_eq!(watch.next("c-1.0.tar.gz")["outcome"], outcome);
    depot.write("sources/b-1.0.tar.gz.new", tarball(3));
    watch.next("b-1.0.tar.gz.new");
    fs::rename(
        depot.path("sources/b-1.0.tar.gz.new"),
        depot.path("sources/b-1.0.tar.gz"),
    )
    .expect("a file can be renamed");
    // The bytes are stored already, under another name.
    assert_eq!(watch.next("b-1.0.tar.gz")["outcome"], "recorded");
    let (code, last) = watch.end("INT");
    assert_eq!(code, Some(0));
    let rows = last["summary"].as_array().expect("the summary has rows");
    let files = rows.iter().map(|row| row["files"].as_u64().unwrap_or(0));
    assert_eq!(files.sum::<u64>(), 5, "{last}");
}
