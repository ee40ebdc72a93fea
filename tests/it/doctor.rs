//! `millpond doctor` says whether a gateway can be asked, by its exit code too.

use crate::harness::{Gateway, Origin, Reply, Run, listen, millpond};

fn doctor(url: &str) -> Run {
    let folder = tempfile::tempdir().expect("a folder can be made");
    millpond(folder.path(), &["doctor", "--gateway", url])
}

#[track_caller]
fn assert_complaint(run: &Run, part: &str) {
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stderr.trim_end().lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains(part), "{run:?}");
}

#[test]
fn a_gateway_that_is_ready_is_said_to_be() {
    let gateway = Gateway::builder().start();
    let run = doctor(&gateway.url("/"));
    run.assert_success();
    assert!(run.stdout.contains("is ready"), "{run:?}");
}

#[test]
fn a_gateway_that_is_not_ready_says_why() {
    let origin = Origin::start();
    origin.serve("/readyz", Reply::status(503));
    assert_complaint(&doctor(&origin.url("")), "is not ready: ");
}

#[test]
fn a_gateway_that_is_not_there_is_no_ready_one() {
    let listener = listen("127.0.0.1");
    let address = listener.local_addr().expect("a listener has an address");
    drop(listener);
    assert_complaint(&doctor(&format!("http://{address}")), "refused");
    assert_complaint(&doctor("no url"), "not ready");
}
