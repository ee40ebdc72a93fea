//! Tests of lease files. A stale lease, or a malformed lease record, does no harm.

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::harness::{
    Builder, Gate, Gateway, Origin, Reply, archive, assert_same, eventually, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn with(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

/// Returns a lease record as another process would write it, about a file in the slot of
/// [`Foreign`].
fn record_of(file: u64, length: usize) -> String {
    framed(&content_of(file, length, "null"))
}

/// Returns the content of a lease record, with a validator in JSON.
fn content_of(file: u64, length: usize, validator: &str) -> String {
    format!(
        concat!(
            r#"{{"streaming":{{"file":{{"process":{process},"id":{file}}},"length":{length},"#,
            r#""headers":{{"content_type":"application/gzip"}},"#,
            r#""source":"http://127.0.0.1","validator":{validator}}}}}"#,
        ),
        process = Foreign::NUMBER,
        file = file,
        length = length,
        validator = validator,
    )
}

/// Returns a record with its digest, as a lease file holds it.
fn framed(record: &str) -> String {
    format!("{}\n{record}", sha256(record.as_bytes()))
}

/// A staging folder as of another process. Dropping it removes the folder.
struct Foreign {
    folder: PathBuf,
    _lock: File,
}

impl Foreign {
    const NAME: &str = "0123456789abcdef";

    const NUMBER: u64 = 0x0123_4567_89ab_cdef;

    fn make(gateway: &Gateway) -> Self {
        // The folder is locked before it is moved into place, because Millpond sweeps unlocked
        // folders.
        let aside = gateway.cache().join(Self::NAME);
        fs::create_dir(&aside).expect("the folder can be written");
        let lock = File::create(aside.join(".lock")).expect("the folder can be written");
        lock.lock().expect("no process has locked the folder yet");
        let folder = gateway.cache().join("staging").join(Self::NAME);
        fs::rename(aside, &folder).expect("the folder can be written");
        Self {
            folder,
            _lock: lock,
        }
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

/// Takes the lease on a target as another process would. The file is locked before it has its name,
/// because the start-up removes lease files without a holder.
fn hold_lease(gateway: &Gateway, url: &str) -> File {
    let draft = gateway.cache().join("draft");
    let lease = File::create(&draft).expect("the folder can be written");
    lease.lock().expect("no process holds the lease yet");
    fs::rename(draft, gateway.lease_of(url)).expect("the lease can be named");
    lease
}

fn write_record(gateway: &Gateway, url: &str, record: &str) {
    fs::write(gateway.lease_of(url), record).expect("the lease record can be written");
}

#[test]
fn lease_of_dead_process_is_swept() {
    let origin = Origin::start();
    let body = archive(16, 200_000);
    let gate = Gate::new();
    origin.script(
        PATH,
        vec![
            Reply::file(&body).gate_at(100_000, &gate),
            Reply::file(&body),
        ],
    );
    let mut first = with(&origin).start();
    let url = origin.url(PATH);
    let mut lost = first.get(&url).open();
    assert_same(&lost.read(100_000), &body[..100_000]);
    first.kill9();
    drop(lost);
    let lease = first.lease_of(&url);
    let record = fs::read(&lease).expect("the lease of the dead process exists");
    assert!(
        !record.is_empty(),
        "the lease record describes the staged body"
    );
    first.restart();
    eventually("the lease is swept", || (!lease.exists()).then_some(()));
    // The test writes the lease back, as if it came from elsewhere or was not swept yet.
    fs::write(&lease, record).expect("the folder can be written");
    first.assert_serves(&url, &body);
    first.await_stored(&url);
    assert_eq!(origin.count(PATH), 2);
    assert!(!lease.exists());
}

#[test]
fn lease_record_cannot_name_files_outside_staging() {
    let origin = Origin::start();
    let body = archive(17, 300_000);
    origin.serve(PATH, Reply::ok(&body));
    let gateway = with(&origin).start();
    let url = origin.url(PATH);
    let lease = hold_lease(&gateway, &url);
    let foreign = Foreign::make(&gateway);
    fs::write(gateway.cache().join("secret"), &body[..1000]).expect("the folder can be written");
    std::os::unix::fs::symlink(gateway.cache().join("secret"), foreign.folder.join("8"))
        .expect("a link can be created");
    let waiting = gateway.get(&url).start();
    let named = |name: &str| {
        let number = format!("{{\"process\":{},\"id\":7}}", Foreign::NUMBER);
        framed(&content_of(7, 2000, "null").replace(&number, name))
    };
    let intact = record_of(7, 2000);
    foreign.write("7", &body[..1000]);
    for record in [
        named(r#""../secret""#),
        named(r#"{"process":"../","id":"secret"}"#),
        named(&format!(
            r#"{{"process":{},"id":"../../secret"}}"#,
            Foreign::NUMBER
        )),
        named(&format!(r#"{{"process":{},"id":-7}}"#, Foreign::NUMBER)),
        record_of(6, 2000),
        record_of(8, 2000),
        intact.replace("2000", "3000"),
        "x".repeat(1 << 20),
    ] {
        write_record(&gateway, &url, &record);
        // The test cannot observe when Millpond reads the record. This is more than twice the time
        // that a read takes.
        thread::sleep(Duration::from_millis(400));
        assert!(!waiting.has_answer(), "an invalid lease record was used");
    }
    assert_eq!(origin.count(PATH), 0, "another process holds the lease");
    write_record(&gateway, &url, &record_of(7, 300_000));
    let mut answer = waiting.head();
    assert_eq!(answer.head.wants("content-length"), "300000");
    assert_same(&answer.read(1000), &body[..1000]);
    drop(lease);
    answer.finish().assert_body(200, &body[1000..]);
    gateway.await_stored(&url);
}

#[test]
fn lease_record_with_wrong_bytes_cuts_the_transfer() {
    let origin = Origin::start();
    let (body, wrong) = (archive(18, 300_000), archive(19, 300_000));
    origin.serve(PATH, Reply::file(&body));
    let gateway = with(&origin).start();
    let url = origin.url(PATH);
    let lease = hold_lease(&gateway, &url);
    let foreign = Foreign::make(&gateway);
    foreign.write("1", &wrong);
    write_record(&gateway, &url, &record_of(1, 300_000));
    let mut answer = gateway.get(&url).open();
    // The last byte is withheld until the object is published.
    assert_same(&answer.read(299_999), &wrong[..299_999]);
    drop(lease);
    answer.finish().assert_broken();
    assert_eq!(gateway.await_fetch(&url)["outcome"], "failed");
    drop(foreign);
    gateway.assert_nothing_stored();
}

#[test]
fn validator_of_another_file_is_not_taken() {
    let origin = Origin::start();
    let body = archive(29, 300_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = with(&origin).start();
    let url = origin.url(PATH);
    // Two holders have the lease one after the other, with the same file. The second one has less
    // than the readers, and dies with a validator of its own bytes.
    let lease = hold_lease(&gateway, &url);
    let foreign = Foreign::make(&gateway);
    foreign.write("1", &body[..1000]);
    write_record(&gateway, &url, &record_of(1, 300_000));
    let mut answer = gateway.get(&url).open();
    assert_same(&answer.read(1000), &body[..1000]);
    foreign.write("2", &body[..500]);
    let other = framed(&content_of(2, 300_000, r#""\"two\"""#));
    write_record(&gateway, &url, &other);
    drop(lease);
    answer.finish().assert_body(200, &body[1000..]);
    gateway.await_stored(&url);
    let requests = origin.requests(PATH);
    assert_eq!((requests.len(), requests[0].header("range")), (1, None));
}

#[test]
fn fetch_proceeds_if_lease_cannot_be_taken() {
    let origin = Origin::start();
    let body = archive(20, 200_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = with(&origin).start();
    let url = origin.url(PATH);
    fs::create_dir(gateway.lease_of(&url)).expect("the folder can be written");
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let is_warning =
        |line: &str| line.contains("lease could not be acquired") && line.contains("WARN");
    gateway
        .log()
        .wait_for_line("the warning about the lease", is_warning);
}

#[test]
fn published_object_must_match_bytes_already_sent() {
    let origin = Origin::start();
    let (body, wrong) = (archive(25, 300_000), archive(26, 300_000));
    for (path, sent) in [("/right-1.0.tar.gz", &body), ("/wrong-1.0.tar.gz", &wrong)] {
        origin.serve(path, Reply::file(&body));
        let mut gateway = with(&origin).start();
        let url = origin.url(path);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        gateway.restart();
        // The record is moved away, and comes back when the other process is said to have
        // published.
        let records = gateway.records_of(&url)[0]
            .parent()
            .expect("a record has a parent folder")
            .to_owned();
        let aside = gateway.cache().join("aside");
        fs::rename(&records, &aside).expect("the folder can be written");
        let lease = hold_lease(&gateway, &url);
        let foreign = Foreign::make(&gateway);
        foreign.write("1", &sent[..200_000]);
        write_record(&gateway, &url, &record_of(1, 300_000));
        let mut answer = gateway.get(&url).open();
        assert_same(&answer.read(200_000), &sent[..200_000]);
        fs::rename(&aside, &records).expect("the folder can be written");
        drop(lease);
        let rest = answer.finish();
        if sent == &body {
            rest.assert_body(200, &body[200_000..]);
            assert_eq!(gateway.await_fetch(&url)["outcome"], "already_stored");
        } else {
            rest.assert_broken();
            assert_eq!(gateway.await_fetch(&url)["outcome"], "failed");
        }
        gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
        assert_eq!(origin.count(path), 1);
    }
}

#[test]
fn follower_awaits_holder_without_permit() {
    let origin = Origin::start();
    let (body, gate) = (archive(27, 100_000), Gate::new());
    let other = "/other-1.0.tar.gz";
    origin.serve(other, Reply::file(&body).gate_at(50_000, &gate));
    origin.serve(PATH, Reply::file(&body));
    let first = with(&origin).set("fetch.per_host", "1").start();
    let second = first.sibling().text("fetch.idle_timeout", "1s").start();
    let url = origin.url(PATH);
    let holding = first.get(&origin.url(other)).start();
    gate.await_reached(1);
    let waiting = first.get(&url).start();
    eventually("the first process holds the lease", || {
        first.lease_of(&url).exists().then_some(())
    });
    let following = second.get(&url).start();
    // Longer than the idle timeout, after which a body that has begun would count as hanging.
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(origin.count(PATH), 0, "the follower waits too");
    gate.open();
    for answer in [holding, waiting, following] {
        answer.head().finish().assert_body(200, &body);
    }
    Gateway::assert_one_fetched(&[&first, &second], &url);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn waiting_holder_finds_stored_body() {
    let origin = Origin::start();
    let (body, gate) = (archive(28, 100_000), Gate::new());
    let other = "/other-1.0.tar.gz";
    origin.serve(other, Reply::file(&body).gate_at(50_000, &gate));
    origin.serve(PATH, Reply::file(&body));
    let first = with(&origin).set("fetch.per_host", "1").start();
    let second = first.sibling().text("fetch.idle_timeout", "400ms").start();
    let url = origin.url(PATH);
    let holding = first.get(&origin.url(other)).start();
    gate.await_reached(1);
    let waiting = first.get(&url).start();
    eventually("the first process holds the lease", || {
        first.lease_of(&url).exists().then_some(())
    });
    second.assert_serves(&url, &body);
    second.await_stored(&url);
    gate.open();
    for answer in [holding, waiting] {
        answer.head().finish().assert_body(200, &body);
    }
    assert_eq!(first.await_fetch(&url)["outcome"], "already_stored");
    assert_eq!(origin.count(PATH), 1);
}
