//! The files of the claims: what is left in them, and what is written into them, does no harm.

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::harness::{Builder, Gate, Gateway, Origin, Reply, archive, assert_same, eventually, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn with(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

/// A note as a process leaves it in its claim.
fn note_of(file: &str, length: usize) -> String {
    let note = format!(
        r#"{{"flowing":{{"file":"{file}","length":{length},"headers":{{"content_type":"application/gzip"}},"source":"http://127.0.0.1","validator":null}}}}"#
    );
    format!("{}\n{note}", sha256(note.as_bytes()))
}

/// A staging folder as of another process. Dropped, it is gone.
struct Foreign {
    folder: PathBuf,
    _lock: File,
}

impl Foreign {
    const NAME: &str = "0123456789abcdef";

    fn make(gateway: &Gateway) -> Self {
        // It comes locked to its place: what nobody holds is swept.
        let aside = gateway.cache().join(Self::NAME);
        fs::create_dir(&aside).expect("the folder can be written");
        let lock = File::create(aside.join(".lock")).expect("the folder can be written");
        lock.lock().expect("nobody knows of it yet");
        let folder = gateway.cache().join("staging").join(Self::NAME);
        fs::rename(aside, &folder).expect("the folder can be written");
        Self { folder, _lock: lock }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.join(name), bytes).expect("the folder can be written");
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Claims a target as another process would.
fn claim(gateway: &Gateway, url: &str) -> File {
    let claim = File::create(gateway.claim_of(url)).expect("the folder can be written");
    claim.lock().expect("nobody has claimed it yet");
    claim
}

fn tell(gateway: &Gateway, url: &str, note: &str) {
    fs::write(gateway.claim_of(url), note).expect("the note can be written");
}

#[test]
fn a_dead_process_claim_does_no_harm_and_is_swept() {
    let origin = Origin::start();
    let body = archive(16, 200_000);
    let gate = Gate::new();
    origin.script(PATH, vec![Reply::file(&body).gate_at(100_000, &gate), Reply::file(&body)]);
    let mut first = with(&origin).start();
    let url = origin.url(PATH);
    let mut lost = first.get(&url).open();
    assert_same(&lost.read(100_000), &body[..100_000]);
    first.kill9();
    drop(lost);
    let claim = first.claim_of(&url);
    let note = fs::read(&claim).expect("the dead one's claim is there");
    assert!(!note.is_empty(), "its followers had seen the head");
    first.restart();
    eventually("the claim is swept", || (!claim.exists()).then_some(()));
    // One that comes from elsewhere, or was not swept yet.
    fs::write(&claim, note).expect("the folder can be written");
    first.assert_serves(&url, &body);
    first.await_stored(&url);
    assert_eq!(origin.count(PATH), 2);
    assert!(!claim.exists());
}

#[test]
fn a_note_names_nothing_outside_of_staging() {
    let origin = Origin::start();
    let body = archive(17, 300_000);
    origin.serve(PATH, Reply::ok(&body));
    let gateway = with(&origin).start();
    let url = origin.url(PATH);
    let claim = claim(&gateway, &url);
    let foreign = Foreign::make(&gateway);
    fs::write(gateway.cache().join("secret"), &body[..1000]).expect("the folder can be written");
    std::os::unix::fs::symlink(gateway.cache().join("secret"), foreign.folder.join("8")).expect("a link can be made");
    let waiting = gateway.get(&url).start();
    let torn = note_of("0123456789abcdef/7", 2000);
    foreign.write("7", &body[..1000]);
    for note in [
        note_of("../secret", 2000),
        note_of("0123456789abcdef/../../secret", 2000),
        note_of(gateway.cache().join("secret").to_str().expect("the path is text"), 2000),
        note_of("0123456789abcdef/6", 2000),
        note_of("0123456789abcdef/8", 2000),
        torn.replace("2000", "3000"),
        "x".repeat(1 << 20),
    ] {
        tell(&gateway, &url, &note);
        // Nothing tells when it was looked at: this is more than twice as long as that takes.
        thread::sleep(Duration::from_millis(400));
        assert!(!waiting.has_answer(), "the note was believed");
    }
    assert_eq!(origin.count(PATH), 0, "another process holds the claim");
    tell(&gateway, &url, &note_of("0123456789abcdef/7", 300_000));
    let mut answer = waiting.head();
    assert_eq!(answer.head.wants("content-length"), "300000");
    assert_same(&answer.read(1000), &body[..1000]);
    drop(claim);
    answer.finish().assert_body(200, &body[1000..]);
    gateway.await_stored(&url);
}

#[test]
fn a_note_that_lies_ends_in_a_broken_transfer() {
    let origin = Origin::start();
    let (body, lie) = (archive(18, 300_000), archive(19, 300_000));
    origin.serve(PATH, Reply::file(&body));
    let gateway = with(&origin).start();
    let url = origin.url(PATH);
    let claim = claim(&gateway, &url);
    let foreign = Foreign::make(&gateway);
    foreign.write("1", &lie);
    tell(&gateway, &url, &note_of("0123456789abcdef/1", 300_000));
    let mut answer = gateway.get(&url).open();
    // The last byte waits for what will be published.
    assert_same(&answer.read(299_999), &lie[..299_999]);
    drop(claim);
    answer.finish().assert_broken();
    assert_eq!(gateway.await_fetch(&url)["outcome"], "failed");
    drop(foreign);
    gateway.assert_nothing_stored();
}

#[test]
fn where_nothing_can_be_claimed_it_is_fetched_all_the_same() {
    let origin = Origin::start();
    let body = archive(20, 200_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = with(&origin).start();
    let url = origin.url(PATH);
    fs::create_dir(gateway.claim_of(&url)).expect("the folder can be written");
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let is_warning = |line: &str| line.contains("could not be claimed") && line.contains("WARN");
    gateway.log().wait_for_line("the trouble", is_warning);
}

#[test]
fn what_was_published_must_begin_as_what_was_shown() {
    let origin = Origin::start();
    let (body, lie) = (archive(25, 300_000), archive(26, 300_000));
    for (path, told) in [("/truth.tar.gz", &body), ("/lie.tar.gz", &lie)] {
        origin.serve(path, Reply::file(&body));
        let mut gateway = with(&origin).start();
        let url = origin.url(path);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        gateway.restart();
        // The record is out of the way, until another process is said to have published.
        let records = gateway.records_of(&url)[0].parent().expect("a record lies in a folder").to_owned();
        let aside = gateway.cache().join("aside");
        fs::rename(&records, &aside).expect("the folder can be written");
        let claim = claim(&gateway, &url);
        let foreign = Foreign::make(&gateway);
        foreign.write("1", &told[..200_000]);
        tell(&gateway, &url, &note_of("0123456789abcdef/1", 300_000));
        let mut answer = gateway.get(&url).open();
        assert_same(&answer.read(200_000), &told[..200_000]);
        fs::rename(&aside, &records).expect("the folder can be written");
        drop(claim);
        let rest = answer.finish();
        if told == &body {
            rest.assert_body(200, &body[200_000..]);
            assert_eq!(gateway.await_fetch(&url)["outcome"], "found");
        } else {
            rest.assert_broken();
            assert_eq!(gateway.await_fetch(&url)["outcome"], "failed");
        }
        gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
        assert_eq!(origin.count(path), 1);
    }
}
