//! Tests of imports. An operator's copy is the answer for a target, whatever upstream returns.

use std::net::SocketAddr;

use crate::harness::{
    Gateway, Nginx, Origin, Reply, Request, Scene, Tool, Waiting, archive, encoded, eventually,
    is_request_of, sha256,
};
use crate::nginx::requests::behind_nginx;

const PATH: &str = "/pub/x-1.0.tar.gz";
const WRONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn upload(gateway: &Gateway, url: &str) -> Request {
    gateway.operate("PUT", &format!("/api/v1/objects?url={}", encoded(url)))
}

/// Sends the beginning of an upload of `length` bytes, and disconnects.
fn cut_upload(address: SocketAddr, gateway: &Gateway, url: &str, beginning: &[u8], length: usize) {
    let (url, token) = (encoded(url), gateway.token());
    let head = format!(
        "PUT /api/v1/objects?url={url} HTTP/1.1\r\nHost: x\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
    );
    drop(Waiting::send(
        address,
        &[head.as_bytes(), beginning].concat(),
        false,
    ));
}

/// Waits until the gateway has logged the end of an upload that was cut.
fn await_cut(gateway: &Gateway) {
    let event = gateway.log().wait_for("the end of the upload", |event| {
        is_request_of(event, "/api/v1/objects")
    });
    assert!(event["status"] == 400 || event["status"] == 499, "{event}");
}

#[test]
fn imported_target_is_served_without_asking_upstream() {
    let body = archive(1, 300_000);
    let (origin, gateway, url) = Scene::replying(PATH, Reply::status(404));
    let imported = upload(&gateway, &url).body(&body).send();
    imported.assert_status(201);
    let imported = imported.json();
    assert_eq!(imported["size_bytes"], body.len());
    assert_eq!(imported["digests"]["sha256"], sha256(&body));
    assert_eq!(imported["pinned"], sha256(&body));
    let answer = gateway.assert_serves(&url, &body);
    answer.assert_cache(&["hit"]);
    gateway.proxied("GET", &url).send().assert_body(200, &body);
    assert_eq!(origin.count(PATH), 0);
    let shown = gateway
        .request("GET", &format!("/api/v1/targets?url={}", encoded(&url)))
        .send()
        .json();
    let record = &shown["records"][0];
    assert_eq!(record["source"], "import");
    assert_eq!(
        record["digests"], imported["digests"],
        "the record has the digests that the import returned"
    );
    assert!(record["pinned"].is_string());
}

/// A name without a version is asked for anew each time, unless an operator pinned its bytes.
#[test]
fn imported_changing_target_is_pinned() {
    const MOVING: &str = "/get?id=7";
    let (first, copy) = (archive(1, 20_000), archive(2, 20_000));
    let (origin, gateway, url) =
        Scene::replying(MOVING, Reply::file(&first).header("etag", "\"1\""));
    gateway.assert_serves(&url, &first);
    upload(&gateway, &url).body(&copy).send().assert_status(201);
    let before = origin.count(MOVING);
    gateway.assert_serves(&url, &copy).assert_cache(&["hit"]);
    origin.serve(MOVING, Reply::status(404));
    gateway.assert_serves(&url, &copy).assert_cache(&["hit"]);
    gateway.proxied("GET", &url).send().assert_body(200, &copy);
    let ranged = gateway.get(&url).range("bytes=100-199").send();
    ranged.assert_body(206, &copy[100..200]);
    assert_eq!(origin.count(MOVING), before, "the origin is not asked");
    let unpin = gateway.operate("DELETE", &format!("/api/v1/pins?url={}", encoded(&url)));
    assert_eq!(unpin.send().json()["unpinned"], 1);
    gateway.get(&url).send().assert_status(404);
    assert_eq!(
        origin.count(MOVING),
        before + 1,
        "an unpinned one is asked for"
    );
}

#[test]
fn import_digests_match_coreutils() {
    let body = archive(2, 100_000);
    let gateway = Gateway::builder().port(443).start();
    let folder = tempfile::tempdir().expect("a folder can be created");
    std::fs::write(folder.path().join("x"), &body).expect("the folder can be written");
    let imported = upload(&gateway, "https://example.org/x-1.0.tar.gz")
        .chunked_body(&body)
        .send()
        .json();
    for algorithm in ["md5", "sha1", "sha256", "sha512"] {
        let run = Tool::new(&format!("{algorithm}sum"), "coreutils", folder.path())
            .arg("x")
            .run();
        let digest = run.stdout.split(' ').next().expect("a digest comes first");
        assert_eq!(imported["digests"][algorithm], digest, "{algorithm}");
    }
}

#[test]
fn import_replaces_fetched_object() {
    let (fetched, own) = (archive(3, 20_000), archive(4, 30_000));
    let (_origin, mut gateway, url) = Scene::replying(PATH, Reply::file(&fetched));
    gateway.assert_serves(&url, &fetched);
    gateway.await_stored(&url);
    upload(&gateway, &url).body(&own).send().assert_status(201);
    gateway.assert_serves(&url, &own);
    gateway.restart();
    gateway.assert_serves(&url, &own);
    let by_digest = gateway.request(
        "GET",
        &format!("/api/v1/objects/sha256/{}", sha256(&fetched)),
    );
    by_digest.send().assert_body(200, &fetched);
}

#[test]
fn import_with_wrong_digest_stores_nothing() {
    let body = archive(5, 20_000);
    let gateway = Gateway::builder().port(443).start();
    let url = "https://example.org/x-1.0.tar.gz";
    for (name, digest) in [
        ("X-Expected-Sha256", WRONG),
        ("X-Expected-Md5", &WRONG[..32]),
    ] {
        upload(&gateway, url)
            .header(name, digest)
            .body(&body)
            .send()
            .assert_problem(409);
    }
    upload(&gateway, url)
        .header("X-Expected-Sha256", "nonsense")
        .body(&body)
        .send()
        .assert_problem(400);
    gateway.assert_nothing_stored();
    upload(&gateway, url)
        .header("X-Expected-Sha256", &sha256(&body))
        .body(&body)
        .send()
        .assert_status(201);
}

#[test]
fn import_that_cannot_be_served_is_rejected() {
    let body = archive(6, 20_000);
    let gateway = Gateway::builder()
        .port(443)
        .text("policy.max_object_size", "10KiB")
        .start();
    upload(&gateway, "https://example.org/x-1.0.tar.gz")
        .body(&body)
        .send()
        .assert_problem(403);
    upload(&gateway, "https://example.org/x-1.0.tar.gz")
        .chunked_body(&body)
        .send()
        .assert_problem(403);
    upload(&gateway, "https://example.org/x-1.0.tar.gz")
        .body(b"")
        .send()
        .assert_problem(400);
    upload(&gateway, "https://example.org/x-1.0.tar.gz?token=a")
        .body(&body[..100])
        .send()
        .assert_problem(400);
    upload(&gateway, "https://example.org/x.mp3")
        .body(&body[..100])
        .send()
        .assert_problem(403);
    gateway.assert_nothing_stored();
}

#[test]
fn import_without_space_is_507() {
    let gateway = Gateway::builder()
        .port(443)
        .text("cache.max_size", "1MiB")
        .start();
    let answer = upload(&gateway, "https://example.org/x-1.0.tar.gz")
        .body(&archive(7, 2 << 20))
        .send();
    answer.assert_problem(507);
    gateway.assert_nothing_stored();
}

#[test]
fn cut_upload_stores_nothing() {
    let body = archive(8, 200_000);
    let gateway = Gateway::builder().port(443).start();
    cut_upload(
        gateway.addr(),
        &gateway,
        "https://example.org/x-1.0.tar.gz",
        &body[..150_000],
        body.len(),
    );
    await_cut(&gateway);
    gateway.assert_nothing_stored();
}

#[test]
fn import_works_through_nginx() {
    let origin = Origin::start();
    let body = archive(9, 3 << 20);
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let url = origin.url(PATH);
    cut_upload(nginx.addr(), &gateway, &url, &body[..1 << 20], body.len());
    await_cut(&gateway);
    gateway.assert_nothing_stored();
    let put = |token: &str| {
        let request = nginx.request("PUT", &format!("/api/v1/objects?url={}", encoded(&url)));
        request
            .header("Authorization", &format!("Bearer {token}"))
            .body(&body)
            .send()
    };
    put("not-the-token").assert_status(401);
    put(&gateway.token()).assert_status(201);
    nginx.get(&url).send().assert_body(200, &body);
    assert_eq!(origin.count(PATH), 0);
    let line = eventually("the upload is logged", || {
        let mut lines = nginx.accesses().into_iter();
        lines.find(|line| line.contains("PUT"))
    });
    assert!(!line.contains(&gateway.token()));
}

#[test]
fn imported_object_is_never_evicted() {
    let origin = Origin::start();
    let own = archive(10, 400_000);
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("cache.max_size", "1MiB");
    let mut gateway = builder.start();
    let url = origin.url(PATH);
    upload(&gateway, &url).body(&own).send().assert_status(201);
    let fill = |gateway: &Gateway, numbers: std::ops::Range<u64>| {
        for number in numbers {
            let path = format!("/x-{number}.tar.gz");
            let body = archive(100 + number, 300_000);
            origin.serve(&path, Reply::file(&body));
            gateway.assert_serves(&origin.url(&path), &body);
            gateway.await_stored(&origin.url(&path));
        }
    };
    fill(&gateway, 0..5);
    assert!(gateway.object_path(&own).exists());
    // The new index contains no pin, but the pin files remain.
    gateway.kill9();
    std::fs::remove_file(gateway.cache().join("index.sqlite")).expect("the index exists");
    gateway.restart();
    gateway.log().wait_for("the index", |event| {
        event["message"] == "reconciled index with disk"
    });
    fill(&gateway, 5..10);
    gateway.assert_serves(&url, &own).assert_cache(&["hit"]);
    eventually("the other objects were evicted", || {
        (gateway.objects().len() <= 3).then_some(())
    });
    gateway
        .operate(
            "DELETE",
            &format!("/api/v1/objects/sha256/{}", sha256(&own)),
        )
        .send()
        .assert_problem(423);
    gateway
        .operate("DELETE", &format!("/api/v1/pins?url={}", encoded(&url)))
        .send()
        .json();
    fill(&gateway, 10..15);
    assert!(
        !gateway.object_path(&own).exists(),
        "the unpinned object is evicted"
    );
}
