//! Outcomes of the targets of jobs: what counts, and what is said of it.

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::harness::{Body, Gateway, Origin, Reply, archive, encoded, sha256};
use crate::operate::jobs::{archives, await_end, start};

/// Returns the counts of a job: targets, done, unchanged, failed, and bytes.
fn counts(job: &Value) -> [Option<u64>; 5] {
    ["targets", "done", "unchanged", "failed", "bytes"].map(|name| job[name].as_u64())
}

#[test]
fn evict_job_frees_exact_bytes() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let all = archives(&origin, 4);
    for (url, body) in &all {
        gateway.assert_serves(url, body);
        gateway.await_stored(url);
    }
    let index = Body::from(&b"index"[..]);
    origin.serve("/list", Reply::ok(&index).header("ETag", "\"1\""));
    let list = origin.url("/list");
    gateway.assert_serves(&list, &index);
    // The third target has a variant that is not pinned.
    origin.serve("/x-2.0.tar.gz", Reply::file(&archive(99, 30_000)));
    let refresh = json!({"kind": "refresh", "targets": [all[2].0]});
    let refreshed = await_end(&gateway, &start(&gateway, &refresh));
    assert_eq!(counts(&refreshed), [1, 1, 0, 0, 30_000].map(Some));
    let pin = format!("/api/v1/pins?url={}", encoded(&all[2].0));
    gateway.operate("PUT", &pin).send().assert_status(200);
    let asked = origin.total();
    let never = origin.url("/never-1.0.tar.gz");
    let targets = [&all[0].0, &all[1].0, &all[2].0, &never, &list];
    let evict = json!({"kind": "evict", "targets": targets});
    let job = await_end(&gateway, &start(&gateway, &evict));
    assert_eq!(counts(&job), [5, 5, 1, 1, 70_005].map(Some), "{job}");
    let failures = json!([
        {"url": all[2].0, "error": "the object is pinned; unpin it first"},
    ]);
    assert_eq!(job["failures"], failures);
    let mut left = gateway.objects();
    left.sort();
    let mut kept = [&all[2].1, &all[3].1].map(|body| gateway.object_path(body));
    kept.sort();
    assert_eq!(left, kept);
    // Targets without bytes on disk count as unchanged.
    let again = json!({"kind": "evict", "targets": [all[0].0, never, list]});
    let job = await_end(&gateway, &start(&gateway, &again));
    assert_eq!(counts(&job), [3, 3, 3, 0, 0].map(Some), "{job}");
    assert_eq!(job["state"], "succeeded");
    assert_eq!(origin.total(), asked, "an eviction asks no origin");
}

#[test]
fn all_digests_of_target_count() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .start();
    let all = archives(&origin, 4);
    let first = |hex: &str, at: usize| format!("{hex} {}\n", all[at].0);
    let right = |at: usize| first(&sha256(&all[at].1), at);
    let second = |hex: &str, at: usize| format!("sha1:{hex} {}\n", all[at].0);
    // A wrong digest counts, whichever of the two it is.
    let list = [
        right(0),
        second(&sha1_of(&all[0].1), 0),
        right(1),
        second(&"0".repeat(40), 1),
        first(&"0".repeat(64), 2),
        second(&sha1_of(&all[2].1), 2),
        right(3),
    ];
    let list = list.concat();
    let job = json!({"kind": "fetch", "list": list});
    let job = await_end(&gateway, &start(&gateway, &job));
    assert_eq!(counts(&job), [4, 4, 0, 2, 40_000].map(Some), "{job}");
    let failures = job["failures"].as_array().expect("failures are a list");
    let failed = |at: usize| failures.iter().any(|failure| failure["url"] == all[at].0);
    assert!(failed(1) && failed(2), "{job}");
}

/// Returns the SHA-1 of a body in hexadecimal.
fn sha1_of(body: &[u8]) -> String {
    hex::encode(Sha1::digest(body))
}

#[test]
fn job_stores_despite_directives_of_origin() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .start();
    let body = Body::from(&b"{\"up\": true}"[..]);
    let no_store = Reply::ok(&body).header("Cache-Control", "no-store, private");
    origin.serve("/status", no_store);
    origin.serve("/list", Reply::ok(&body).header("ETag", "\"1\""));
    let pass = "/x-1.0.tar.gz?token=a";
    origin.serve(pass, Reply::file(&archive(1, 2000)));
    let [status, list, pass_url] = ["/status", "/list", pass].map(|path| origin.url(path));
    gateway.assert_serves(&status, &body);
    gateway.assert_nothing_stored();
    let order = json!({"kind": "fetch", "targets": [status, list, pass_url]});
    let job = await_end(&gateway, &start(&gateway, &order));
    let size = body.len() as u64;
    assert_eq!(counts(&job), [3, 3, 0, 1, 2 * size].map(Some), "{job}");
    assert_eq!(job["despite_directives"], 1);
    let error = job["failures"][0]["error"]
        .as_str()
        .expect("a failure has a text");
    assert!(
        error.starts_with("the class of this target is pass"),
        "{error}"
    );
    assert_eq!(
        origin.count(pass),
        0,
        "a target of class pass is not asked for"
    );
    gateway.log().wait_for("the stored target", |event| {
        event["message"] == "stored despite the directives of the origin" && event["uri"] == status
    });
    let again = json!({"kind": "fetch", "targets": [status]});
    let job = await_end(&gateway, &start(&gateway, &again));
    assert_eq!(counts(&job), [1, 1, 1, 0, 0].map(Some), "{job}");
    assert_eq!(job["despite_directives"], 0);
    // The bytes answer while the origin is away, and only then.
    let newer = Body::from(&b"{\"up\": 2}"[..]);
    origin.serve(
        "/status",
        Reply::ok(&newer).header("Cache-Control", "no-store"),
    );
    gateway.assert_serves(&status, &newer);
    origin.serve("/status", Reply::status(503));
    gateway.assert_serves(&status, &body);
}

#[test]
fn ensure_agrees_with_job_for_operators() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .start();
    let body = Body::from(&b"{\"up\": true}"[..]);
    origin.serve(
        "/status",
        Reply::ok(&body).header("Cache-Control", "no-store"),
    );
    origin.serve("/list", Reply::ok(&body).header("ETag", "\"1\""));
    let pass = "/x-1.0.tar.gz?token=a";
    origin.serve(pass, Reply::file(&archive(1, 2000)));
    let [status, list, pass] = ["/status", "/list", pass].map(|path| origin.url(path));
    let folder = tempfile::tempdir().expect("a folder can be created");
    let ensure =
        |more: &[&str]| gateway.run_command(folder.path(), &[&["ensure", "--json"], more].concat());
    for (url, despite) in [(&status, true), (&list, false)] {
        let run = ensure(&[url]);
        run.assert_success();
        let ensured = run.documents().remove(0);
        assert_eq!(ensured["sha256"], sha256(&body), "{run:?}");
        assert_eq!(ensured["despite_directives"], despite, "{run:?}");
    }
    let order = json!({"kind": "fetch", "targets": [status, pass]});
    let job = await_end(&gateway, &start(&gateway, &order));
    assert_eq!(counts(&job), [2, 2, 1, 1, 0].map(Some), "{job}");
    let run = ensure(&[&pass]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let error = &run.documents()[0]["error"]["message"];
    assert_eq!(*error, job["failures"][0]["error"], "{run:?}");
    // Fields of the request are for that request only, and a wrong digest stores nothing.
    let run = ensure(&["--header", "X-Team: blue", &status]);
    assert_eq!(run.code, Some(1), "{run:?}");
    origin.serve(
        "/other",
        Reply::ok(&body).header("Cache-Control", "no-store"),
    );
    let wrong = format!("sha256:{}", "0".repeat(64));
    let run = ensure(&["--digest", &wrong, &origin.url("/other")]);
    assert_eq!(run.code, Some(4), "{run:?}");
    assert_eq!(gateway.records_of(&origin.url("/other")).len(), 0);
}
