//! A log that cannot be written: no request waits or fails, `/readyz` shows it, and it recovers by
//! itself.

use std::fs::{self, File, OpenOptions};
use std::io::{PipeReader, Read, pipe};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Bare, Body, Builder, Disk, Gateway, Kept, Log, Origin, Reply, archive, is_request_of,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Far more than a request takes here, and less than any timeout.
const PROMPT: Duration = Duration::from_secs(5);

/// More than a pipe holds (64 KiB), in requests of [`Stage::long_path`].
const MORE_THAN_A_PIPE: usize = 40;

/// More than a pipe and the queue (4 MiB) hold.
const MORE_THAN_THE_QUEUE: usize = 1000;

/// An origin with one file.
struct Stage {
    origin: Origin,
    body: Body,
}

impl Stage {
    fn new() -> Self {
        let (origin, body) = (Origin::start(), archive(1, 5000));
        origin.serve(PATH, Reply::file(&body));
        Self { origin, body }
    }

    fn builder(&self) -> Builder {
        Gateway::builder()
            .origin(&self.origin)
            .relay()
            .one_attempt()
            .set("limits.requests_per_second", "0")
    }

    /// A refused target whose line in the log is 6 KB long and names `number`.
    fn long_path(number: usize) -> String {
        format!("/http://10.0.0.1/{}/n{number}.tar.gz", "x".repeat(6000))
    }

    /// Sends one request after the other, which must be answered promptly.
    #[track_caller]
    fn flood(bare: &Bare, numbers: std::ops::Range<usize>) {
        let mut kept = Kept::connect(bare.addr()).expect("the gateway takes the connection");
        for number in numbers {
            let began = Instant::now();
            let answered = kept
                .ask(&Self::long_path(number))
                .expect("the gateway answers");
            assert_eq!(answered, (403, true), "request {number}");
            assert!(
                began.elapsed() < PROMPT,
                "request {number} took {:?}",
                began.elapsed()
            );
        }
    }

    /// Asserts that hits and misses are served, whatever becomes of the log.
    #[track_caller]
    fn assert_serves(&self, bare: &Bare, missed: &str) {
        for _ in 0..20 {
            bare.get(&self.origin.url(PATH))
                .send()
                .assert_body(200, &self.body);
        }
        self.origin.serve(missed, Reply::file(&self.body));
        bare.store(&self.origin.url(missed), &self.body);
        assert_eq!(self.origin.count(missed), 1);
        assert_eq!(self.origin.count(PATH), 1);
        bare.get("healthz").send().assert_status(200);
    }
}

/// The numbers of the logged requests of [`Stage::long_path`], in the order of the log. Every line
/// is whole.
fn numbers(text: &str) -> Vec<usize> {
    let event = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let number = |event: Value| {
        event["uri"]
            .as_str()?
            .rsplit_once("/n")?
            .1
            .strip_suffix(".tar.gz")?
            .parse()
            .ok()
    };
    text.lines().map(event).filter_map(number).collect()
}

fn rest_of(mut reader: PipeReader) -> String {
    let mut text = String::new();
    reader
        .read_to_string(&mut text)
        .expect("the pipe can be read");
    text
}

#[test]
fn log_reader_exit_costs_no_request() {
    for format in ["text", "json"] {
        let stage = Stage::new();
        let (reader, writer) = pipe().expect("a pipe can be made");
        let mut bare = stage
            .builder()
            .text("log.format", format)
            .start_logging_to(writer);
        bare.store(&stage.origin.url(PATH), &stage.body);
        bare.await_ready("all is well", |text| text == "ready\n");
        drop(reader);
        stage.assert_serves(&bare, "/other-1.0.tar.gz");
        bare.await_ready("the loss shows", |text| {
            text.starts_with("ready\nbut the log cannot be written: Broken pipe")
                && text.lines().count() == 2
        });
        bare.assert_stops_within(PROMPT);
    }
}

#[test]
fn unread_log_pipe_delays_no_request() {
    let stage = Stage::new();
    let (reader, writer) = pipe().expect("a pipe can be made");
    let mut bare = stage.builder().start_logging_to(writer);
    bare.store(&stage.origin.url(PATH), &stage.body);
    Stage::flood(&bare, 0..MORE_THAN_THE_QUEUE);
    stage.assert_serves(&bare, "/other-1.0.tar.gz");
    bare.await_ready("the loss shows", |text| {
        text.starts_with("ready\nbut the log cannot be written: no write ends within 5s; ")
            && text.ends_with(" lines are lost\n")
            && text.lines().count() == 2
    });

    let log = Log::read(reader);
    let stated = log.wait_for("the loss", |event| event["lost_lines"].is_u64());
    assert_eq!(
        (&stated["level"], &stated["message"]),
        (&Value::from("ERROR"), &Value::from("log lines were lost"))
    );
    bare.await_ready("the log has recovered", |text| text == "ready\n");
    Stage::flood(&bare, MORE_THAN_THE_QUEUE..MORE_THAN_THE_QUEUE + 10);
    bare.assert_stops_within(PROMPT);
    assert!(log.await_end());

    let (text, events) = (log.text(), log.events());
    assert_eq!(text.lines().count(), events.len(), "every line is whole");
    let (before, after): (Vec<_>, Vec<_>) = numbers(&text)
        .into_iter()
        .partition(|n| *n < MORE_THAN_THE_QUEUE);
    assert_eq!(
        before,
        (0..before.len()).collect::<Vec<_>>(),
        "up to the loss nothing is missing"
    );
    assert!(
        before.len() > 600 && before.len() < MORE_THAN_THE_QUEUE,
        "{} lines were queued",
        before.len()
    );
    assert_eq!(
        after,
        (MORE_THAN_THE_QUEUE..MORE_THAN_THE_QUEUE + 10).collect::<Vec<_>>(),
        "behind it neither"
    );
    let losses: Vec<_> = events
        .iter()
        .filter(|event| event["lost_lines"].is_u64())
        .collect();
    assert_eq!(losses.len(), 1, "{losses:?}");
    let place = events.iter().position(|event| event == losses[0]);
    let last_before = events
        .iter()
        .rposition(|event| is_request_of(event, &format!("/n{}.", before.len() - 1)));
    assert_eq!(
        place,
        last_before.map(|place| place + 1),
        "the loss is stated where it was"
    );
    // The hits and the miss are among them.
    let lost = stated["lost_lines"].as_u64().expect("it is a number");
    assert!(
        lost >= (MORE_THAN_THE_QUEUE - before.len()) as u64,
        "{lost} lines"
    );
}

#[test]
fn full_disk_for_log_costs_no_request() {
    let stage = Stage::new();
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("the system has it");
    let mut bare = stage.builder().start_logging_to(full);
    bare.store(&stage.origin.url(PATH), &stage.body);
    stage.assert_serves(&bare, "/other-1.0.tar.gz");
    bare.await_ready("the loss shows", |text| {
        text.starts_with("ready\nbut the log cannot be written: No space left on device")
            && text.lines().count() == 2
    });
    bare.assert_stops_within(PROMPT);
}

#[test]
fn log_disk_with_space_again_gets_every_line() {
    let stage = Stage::new();
    let disk = Disk::mount();
    fs::create_dir_all(disk.folder()).expect("the disk can be written");
    let file = disk.folder().join("log");
    let output = File::options()
        .append(true)
        .create(true)
        .open(&file)
        .expect("the disk can be written");
    let mut bare = stage.builder().start_logging_to(output);
    bare.store(&stage.origin.url(PATH), &stage.body);
    Stage::flood(&bare, 0..10);
    // The disk fills up 3000 bytes later, in the middle of a line.
    disk.set_capacity(fs::metadata(&file).expect("it is there").len() + 3000);
    Stage::flood(&bare, 10..100);
    bare.await_ready("the loss shows", |text| {
        text.contains("the log cannot be written: No space left on device")
    });
    stage.assert_serves(&bare, "/other-1.0.tar.gz");
    disk.set_capacity(1 << 30);
    bare.await_ready("the log has recovered", |text| text == "ready\n");
    Stage::flood(&bare, 100..110);
    bare.assert_stops_within(PROMPT);
    let text = fs::read_to_string(&file).expect("the disk can be read");
    assert_eq!(numbers(&text), (0..110).collect::<Vec<_>>());
}

fn open_for_reading(fifo: &Path) -> File {
    File::options()
        .read(true)
        .open(fifo)
        .expect("a FIFO can be opened")
}

#[test]
fn returning_log_reader_gets_whole_lines() {
    let stage = Stage::new();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let fifo = folder.path().join("log");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "mkfifo is in the Debian package coreutils"
    );
    // To open one end alone would wait for the other.
    let both = File::options()
        .read(true)
        .write(true)
        .open(&fifo)
        .expect("a FIFO can be opened");
    let writer = File::options()
        .write(true)
        .open(&fifo)
        .expect("a FIFO can be opened");
    let mut bare = stage.builder().start_logging_to(writer);
    bare.store(&stage.origin.url(PATH), &stage.body);
    Stage::flood(&bare, 0..1);
    drop(both);
    Stage::flood(&bare, 1..100);
    bare.await_ready("the loss shows", |text| {
        text.contains("the log cannot be written: Broken pipe")
    });
    stage.assert_serves(&bare, "/other-1.0.tar.gz");
    let log = Log::read(open_for_reading(&fifo));
    log.wait_for("the last request", |event| is_request_of(event, "/n99."));
    bare.await_ready("the log has recovered", |text| text == "ready\n");
    Stage::flood(&bare, 100..110);
    bare.assert_stops_within(PROMPT);
    assert!(log.await_end());
    let numbers = numbers(&log.text());
    // The line before may have been lost in the pipe.
    let first = numbers[0];
    assert!(first <= 1, "{first}");
    assert_eq!(numbers, (first..110).collect::<Vec<_>>());
}

#[test]
fn shutdown_writes_all_queued_lines() {
    let stage = Stage::new();
    let (reader, writer) = pipe().expect("a pipe can be made");
    let mut bare = stage.builder().start_logging_to(writer);
    Stage::flood(&bare, 0..MORE_THAN_A_PIPE);
    bare.terminate();
    let text = rest_of(reader);
    assert_eq!(bare.await_exit(), Some(0));
    assert_eq!(numbers(&text), (0..MORE_THAN_A_PIPE).collect::<Vec<_>>());
    assert!(
        text.lines()
            .last()
            .is_some_and(|line| line.contains("\"stopped\"")),
        "the last line is the end's"
    );
}

#[test]
fn shutdown_waits_shortly_for_unread_log() {
    let stage = Stage::new();
    let (_reader, writer) = pipe().expect("a pipe can be made");
    let mut bare = stage.builder().start_logging_to(writer);
    Stage::flood(&bare, 0..MORE_THAN_A_PIPE);
    bare.assert_stops_within(PROMPT);
}

#[test]
fn read_log_is_whole_and_in_order() {
    let stage = Stage::new();
    let (reader, writer) = pipe().expect("a pipe can be made");
    let log = Log::read(reader);
    let mut bare = stage.builder().start_logging_to(writer);
    Stage::flood(&bare, 0..MORE_THAN_THE_QUEUE);
    bare.await_ready("all is well", |text| text == "ready\n");
    bare.assert_stops_within(PROMPT);
    assert!(log.await_end());
    assert_eq!(
        numbers(&log.text()),
        (0..MORE_THAN_THE_QUEUE).collect::<Vec<_>>()
    );
    assert!(!log.text().contains("lost_lines"));
}
