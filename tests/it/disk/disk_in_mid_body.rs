//! Tests of a disk that fails in the middle of a body. Every response goes on through memory.

use std::thread;

use crate::disk::disk_failures::stage;
use crate::harness::{Disk, Ended, Gate, Reply, Streaming, Trouble, archive, assert_same, sha256};

/// Asserts that a disk fault in the middle of a fetch breaks no response.
#[track_caller]
fn assert_goes_on(cause: &str, spoil: impl Fn(&Disk), mend: impl Fn(&Disk)) {
    const START: usize = 400_000;
    let stage = stage(|builder| builder.text("fetch.idle_timeout", "5s"));
    let body = archive(3, 12 << 20);
    for path in ["/length-1.0.tar.gz", "/chunks-1.0.tar.gz"] {
        let gate = Gate::new();
        let reply = Reply::file(&body).gate_at(START, &gate);
        stage.origin.serve(
            path,
            if path.starts_with("/chunks") {
                reply.chunked()
            } else {
                reply
            },
        );
        let url = stage.origin.url(path);
        // One client reads the body, one expects the right digest, and one expects another digest.
        let mut reader = stage.gateway.get(&url).open();
        let first = reader.read(START);
        let mut expecting = stage
            .gateway
            .get(&url)
            .header("X-Expected-Sha256", &sha256(&body))
            .open();
        let begun = expecting.read(START);
        let mut wrong = stage
            .gateway
            .get(&url)
            .header("X-Expected-Sha256", &sha256(b"other"))
            .open();
        let misled = wrong.read(START);
        spoil(&stage.disk);
        gate.open();
        let rest = |answer: Streaming, first: Vec<u8>| {
            let answer = answer.finish();
            (answer.ended, [first, answer.body].concat())
        };
        let [read, expected, misled] = thread::scope(|scope| {
            [(reader, first), (expecting, begun), (wrong, misled)]
                .map(|(answer, first)| scope.spawn(move || rest(answer, first)))
                .map(|thread| thread.join().expect("the client thread does not panic"))
        });
        for (ended, bytes) in [read, expected] {
            assert_eq!(ended, Ended::Whole);
            assert_same(&bytes, &body);
        }
        assert_eq!(
            misled.0,
            Ended::Cut,
            "the client with another digest gets a cut transfer"
        );
        assert_eq!(stage.origin.count(path), 1, "the origin gets one request");
        let fetch = stage.gateway.await_fetch(&url);
        assert_eq!(
            (&fetch["outcome"], &fetch["cause"]),
            (&"failed".into(), &cause.into())
        );
        stage.gateway.assert_serves(&url, &body);
        mend(&stage.disk);
        stage.await_readiness(200, "ready\n");
        assert!(stage.gateway.records_of(&url).is_empty());
    }
    stage.assert_mended();
}

const NO_SPACE: &str = "there is no space to store the body";
const UNSTORABLE: &str = "the body could not be stored";

#[test]
fn disk_full_during_fetch_breaks_no_response() {
    assert_goes_on(
        NO_SPACE,
        |disk| disk.set_capacity(1),
        |disk| disk.set_capacity(1 << 30),
    );
}

#[test]
fn disk_failure_during_fetch_breaks_no_response() {
    assert_goes_on(
        UNSTORABLE,
        |disk| disk.set(Trouble::ReadOnly),
        |disk| disk.set(Trouble::Nothing),
    );
}

#[test]
fn disk_hang_during_fetch_breaks_no_response() {
    assert_goes_on(
        UNSTORABLE,
        |disk| disk.set(Trouble::Hangs),
        |disk| disk.set(Trouble::Nothing),
    );
}

#[test]
fn disk_fault_during_index_breaks_no_response() {
    const START: usize = 400_000;
    let stage = stage(|builder| builder.text("fetch.idle_timeout", "5s"));
    let body = archive(4, 6 << 20);
    for (path, trouble) in [
        ("/1/index", Trouble::ReadOnly),
        ("/2/index", Trouble::Hangs),
    ] {
        let (url, gate) = (stage.origin.url(path), Gate::new());
        stage
            .origin
            .serve(path, Reply::file(&body).gate_at(START, &gate));
        let mut reader = stage.gateway.proxied("GET", &url).open();
        let first = reader.read(START);
        stage.disk.set(trouble);
        gate.open();
        let rest = reader.finish();
        assert_eq!(rest.ended, Ended::Whole, "{path}");
        assert_same(&[first, rest.body].concat(), &body);
        // Other requests pass through meanwhile.
        for request in [
            stage.gateway.proxied("GET", &url),
            stage.gateway.get(&url).http_1_0(),
        ] {
            request.send().assert_body(200, &body);
        }
        stage.disk.set(Trouble::Nothing);
        stage.await_readiness(200, "ready\n");
    }
}
