//! Tests that the output and the exit code of `millpond doctor` report whether a gateway is ready.

use crate::harness::{Body, Gateway, Origin, Reply, Run, listen, millpond};

fn doctor(url: &str) -> Run {
    let folder = tempfile::tempdir().expect("a folder can be created");
    millpond(folder.path(), &["doctor", "--gateway", url])
}

#[track_caller]
fn assert_complaint(run: &Run, part: &str) {
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stderr.trim_end().lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains(part), "{run:?}");
}

#[test]
fn ready_gateway_is_reported_as_ready() {
    let gateway = Gateway::builder().start();
    let run = doctor(&gateway.url("/"));
    run.assert_success();
    assert!(run.stdout.contains("is ready"), "{run:?}");
}

#[test]
fn warnings_of_ready_gateway_are_reported() {
    let origin = Origin::start();
    let page = "ready\nbut the disk of the cache is full\nbut 7 lines are lost\n";
    origin.serve("/readyz", Reply::ok(&Body::from(page.as_bytes())));
    let run = doctor(&origin.url(""));
    run.assert_success();
    let (first, warnings) = run.stdout.split_once('\n').expect("there are warnings");
    assert!(first.ends_with("is ready"), "{run:?}");
    assert_eq!(
        warnings, "but the disk of the cache is full\nbut 7 lines are lost\n",
        "{run:?}"
    );
}

#[test]
fn unready_gateway_is_reported_with_its_reason() {
    let origin = Origin::start();
    origin.serve("/readyz", Reply::status(503));
    assert_complaint(&doctor(&origin.url("")), "is not ready: ");
}

#[test]
fn unreachable_gateway_is_reported_as_not_ready() {
    let listener = listen("127.0.0.1");
    let address = listener.local_addr().expect("a listener has an address");
    drop(listener);
    assert_complaint(&doctor(&format!("http://{address}")), "refused");
    assert_complaint(&doctor("no url"), "not ready");
}
