//! Processes that hang while they hold a lock or a lease of the folder. Other processes pass over
//! them within a bound, and say so.

use std::fs::File;
use std::time::{Duration, Instant};

use crate::harness::{Builder, Gate, Gateway, Origin, Reply, archive, assert_same, eventually};

const PATH: &str = "/pub/x-1.0.tar.gz";
const NEW: &str = "/pub/y-1.0.tar.gz";

/// Bound on the wait for a lock, with a margin for a busy machine.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Time without a heartbeat after which the holder of a lease counts as hanging.
const SILENCE: Duration = Duration::from_secs(15);

fn with(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

/// Locks files below `locks/`, as a process does that hangs afterwards.
fn hold_locks(gateway: &Gateway, names: impl IntoIterator<Item = String>) -> Vec<File> {
    let hold = |name: String| {
        let path = gateway.cache().join("locks").join(name);
        let lock = File::create(path).expect("the folder can be written");
        lock.lock().expect("the gateway holds no lock");
        lock
    };
    names.into_iter().map(hold).collect()
}

fn digits() -> impl Iterator<Item = String> {
    (0..=u8::MAX).map(|digits| format!("{digits:02x}"))
}

#[test]
fn held_locks_cost_no_response() {
    let origin = Origin::start();
    let (body, new) = (archive(1, 50_000), archive(2, 50_000));
    origin.serve(PATH, Reply::file(&body));
    origin.serve(NEW, Reply::file(&new));
    let gateway = with(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    for prefix in ["", "target-"] {
        let locks = hold_locks(&gateway, digits().map(|digits| format!("{prefix}{digits}")));
        let began = Instant::now();
        gateway
            .assert_serves(&origin.url(PATH), &body)
            .assert_cache(&["hit"]);
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "a hit takes no lock"
        );
        gateway.assert_serves(&origin.url(NEW), &new);
        assert!(
            began.elapsed() < LONGEST_WAIT,
            "a new body waits within a bound"
        );
        gateway
            .log()
            .wait_for_line("the warning about the lock", |line| {
                line.contains("another process has held the lock")
            });
        drop(locks);
    }
    eventually("the new body is stored", || {
        let answer = gateway.assert_serves(&origin.url(NEW), &new);
        answer.wants("cache-status").contains("; hit").then_some(())
    });
}

#[test]
fn eviction_passes_over_held_lock() {
    let origin = Origin::start();
    let gateway = with(&origin).text("cache.max_size", "1MiB").start();
    let _lock = hold_locks(&gateway, ["evict".to_owned()]);
    for number in 0..6 {
        let (path, body) = (format!("/{number}-1.0.tar.gz"), archive(number, 300_000));
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
    }
    gateway
        .log()
        .wait_for_line("the warning about the lock", |line| {
            line.contains("evicting without the lock of eviction")
        });
}

#[test]
fn peer_continues_fetch_of_stopped_process() {
    let origin = Origin::start();
    let body = archive(3, 300_000);
    let gate = Gate::new();
    let replies = [
        Reply::file(&body).gate_at(100_000, &gate),
        Reply::file(&body),
    ];
    origin.script(PATH, replies.to_vec());
    let first = with(&origin).start();
    let second = first.sibling().text("fetch.idle_timeout", "1s").start();
    let url = origin.url(PATH);
    let lost = first.get(&url).start();
    gate.await_reached(1);
    let mut follower = second.get(&url).open();
    assert_same(&follower.read(100_000), &body[..100_000]);
    first.signal("STOP");
    follower.finish().assert_body(200, &body[100_000..]);
    second.await_stored(&url);
    second
        .log()
        .wait_for_line("the warning about the holder", |line| {
            line.contains("makes no progress")
        });
    let requests = origin.requests(PATH);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].header("range"), Some("bytes=100000-"));
    // The stopped process goes on, and finds what the other one has stored.
    first.signal("CONT");
    gate.open();
    lost.head().finish().assert_body(200, &body);
    first.assert_serves(&url, &body).assert_cache(&["hit"]);
}

#[test]
fn peer_replaces_process_stopped_before_head() {
    let origin = Origin::start();
    let body = archive(4, 100_000);
    let gate = Gate::new();
    let replies = [
        Reply::file(&body).gate_before_head(&gate),
        Reply::file(&body),
    ];
    origin.script(PATH, replies.to_vec());
    let first = with(&origin).start();
    let second = first.sibling().text("fetch.idle_timeout", "1s").start();
    let url = origin.url(PATH);
    let lost = first.get(&url).start();
    gate.await_reached(1);
    first.signal("STOP");
    let began = Instant::now();
    second.assert_serves(&url, &body);
    assert!(
        began.elapsed() < LONGEST_WAIT,
        "the fetch goes on without the holder"
    );
    second.await_stored(&url);
    first.signal("CONT");
    gate.open();
    lost.head().finish().assert_body(200, &body);
}

#[test]
fn removed_folders_are_created_again() {
    let origin = Origin::start();
    let gateway = with(&origin).start();
    for (number, folder) in ["locks", "leases", "staging"].into_iter().enumerate() {
        let (path, body) = (
            format!("/{folder}-1.0.tar.gz"),
            archive(number as u64, 9_000),
        );
        origin.serve(&path, Reply::file(&body));
        std::fs::remove_dir_all(gateway.cache().join(folder)).expect("the folder exists");
        eventually("bodies are stored again", || {
            let answer = gateway.assert_serves(&origin.url(&path), &body);
            answer.wants("cache-status").contains("; hit").then_some(())
        });
        let ready = gateway.request("GET", "/readyz").send();
        ready.assert_body(200, b"ready\n");
        assert!(
            gateway.cache().join(folder).is_dir(),
            "{folder} exists again"
        );
    }
}

#[test]
fn silent_holder_is_replaced_before_idle_timeout() {
    let origin = Origin::start();
    let body = archive(5, 100_000);
    origin.serve(PATH, Reply::file(&body));
    // The idle timeout is that of the default, a minute.
    let gateway = with(&origin).start();
    let url = origin.url(PATH);
    let held = File::create(gateway.lease_of(&url)).expect("the folder can be written");
    held.lock().expect("no process holds the lease");
    let began = Instant::now();
    gateway.assert_serves(&url, &body);
    let waited = began.elapsed();
    assert!(waited >= SILENCE, "{waited:?}: a holder may be slow");
    assert!(waited < SILENCE + LONGEST_WAIT, "{waited:?}");
    gateway.await_stored(&url);
}

#[test]
fn waiting_holder_keeps_lease_by_heartbeat() {
    let origin = Origin::start();
    let body = archive(6, 100_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_before_head(&gate));
    let first = with(&origin).start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    let (begun, follower) = (first.get(&url).start(), second.get(&url).start());
    second.await_at_lease(&url);
    let lease = first.lease_of(&url);
    let touched = || {
        let metadata = lease.metadata().expect("the lease is held");
        metadata.modified().expect("the file system has times")
    };
    // One beat more than fit into the time after which a silent holder is replaced.
    let mut last = touched();
    for _ in 0..6 {
        last = eventually("the holder touches its lease", || {
            Some(touched()).filter(|touched| *touched != last)
        });
    }
    gate.open();
    for waiting in [begun, follower] {
        waiting.head().finish().assert_body(200, &body);
    }
    Gateway::assert_one_fetched(&[&first, &second], &url);
    assert_eq!(origin.count(PATH), 1);
}
