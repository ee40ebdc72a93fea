//! Signed URLs and secrets: they pass through, and are never stored or logged.

use std::{fs, io};

use crate::harness::{
    Act, FtpServer, Gateway, Origin, Reply, Scene, archive, assert_same, files_under, say,
};

const SECRET: &str = "5ecre7";

/// Asserts that the secret is in no log line and in no file of the cache.
#[track_caller]
fn assert_kept_secret(gateway: &Gateway) {
    let log = gateway.log().text();
    let line = log.lines().find(|line| line.contains(SECRET));
    assert_eq!(line, None, "the secret was logged");
    for file in files_under(gateway.cache()) {
        let bytes = match fs::read(&file) {
            // The gateway removed a temporary file after it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.expect("a file of the cache can be read"),
        };
        let found = bytes
            .windows(SECRET.len())
            .any(|window| window == SECRET.as_bytes());
        assert!(!found, "the secret was written to {}", file.display());
    }
}

#[test]
fn signed_targets_pass_through_unlogged() {
    let origin = Origin::start();
    let (first, second) = (archive(1, 5000), archive(2, 6000));
    let gateway = Gateway::relaying(&origin);
    for (number, parameter) in [
        "X-Amz-Signature",
        "X-Goog-Signature",
        "Signature",
        "sig",
        "token",
        "AWSAccessKeyId",
        "x-obs-signature",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/x-{number}.tar.gz?a=1&{parameter}={SECRET}&b=2");
        origin.script(
            &path,
            vec![
                Reply::file(&first),
                Reply::file(&second),
                Reply::file(&first),
            ],
        );
        let url = origin.url(&path);
        let answer = gateway.get(&url).send();
        answer.assert_body(200, &first);
        answer.assert_cache(&["fwd=bypass"]);
        gateway.get(&url).send().assert_body(200, &second);
        gateway.proxied("GET", &url).send().assert_body(200, &first);
        gateway.log().wait_for_many("the requests", 3, |event| {
            crate::harness::is_request_of(event, &format!("/x-{number}.tar.gz"))
        });
    }
    gateway.assert_nothing_stored();
    assert_kept_secret(&gateway);
}

#[test]
fn failed_signed_target_is_not_logged() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("log.level", "trace")
        .start();
    for (number, reply) in [
        Reply::status(403),
        Reply::status(500),
        Reply::html().cut_at(20),
        Reply::redirect(302, "http://10.0.0.1/?sig=5ecre7"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}.tar.gz?sig={SECRET}");
        origin.serve(&path, reply);
        for answer in [
            gateway.get(&origin.url(&path)).send(),
            gateway.proxied("GET", &origin.url(&path)).send(),
        ] {
            assert!(!answer.text().contains(SECRET), "{}", answer.text());
        }
    }
    gateway
        .get(&format!("http://10.0.0.1/x-7.0.tar.gz?sig={SECRET}"))
        .send()
        .assert_status(403);
    gateway
        .log()
        .wait_for_many("the requests", 9, |event| event["message"] == "request");
    assert_kept_secret(&gateway);
}

#[test]
fn signed_redirect_is_stored_under_first_url() {
    let (origin, store) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(3, 20_000);
    let signed = format!("/blob?X-Amz-Expires=300&X-Amz-Signature={SECRET}");
    origin.serve("/x-1.0.tar.gz", Reply::redirect(302, &store.url(&signed)));
    store.serve(&signed, Reply::file(&body));
    let gateway = Gateway::builder()
        .origin(&origin)
        .origin(&store)
        .relay()
        .text("log.level", "trace")
        .start();
    let url = origin.url("/x-1.0.tar.gz");
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    assert_eq!(store.count(&signed), 1);
    assert_eq!(gateway.records().len(), 1);
    assert_kept_secret(&gateway);
}

#[test]
fn resume_behind_signed_redirect_requests_first_url() {
    let (origin, store) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(4, 200_000);
    let (old, new) = (
        format!("/blob?sig={SECRET}1"),
        format!("/blob?sig={SECRET}2"),
    );
    origin.script(
        "/x-1.0.tar.gz",
        vec![
            Reply::redirect(302, &store.url(&old)),
            Reply::redirect(302, &store.url(&new)),
        ],
    );
    store.script(
        &old,
        vec![Reply::file(&body).cut_at(100_000), Reply::status(403)],
    );
    store.serve(&new, Reply::file(&body));
    let builder = Gateway::builder()
        .origin(&origin)
        .origin(&store)
        .relay()
        .set("fetch.attempts", "4");
    let gateway = builder.start();
    gateway.assert_serves(&origin.url("/x-1.0.tar.gz"), &body);
    gateway.await_stored(&origin.url("/x-1.0.tar.gz"));
    assert_eq!(
        store.count(&new),
        1,
        "the resumed fetch uses a new signature"
    );
    assert_kept_secret(&gateway);
}

#[test]
fn signed_target_redirect_is_not_cacheable() {
    let path = format!("/x-1.0.tar.gz?token={SECRET}");
    let (_origin, gateway, body, url) = Scene::of(&path, archive(5, 5000))
        .gateway(|builder| builder)
        .start();
    let answer = gateway.get(&url).wget_agent().send();
    // The gateway may relay or redirect, but it must not store the body.
    if answer.status == 302 {
        assert_eq!(answer.wants("cache-control"), "no-store");
    } else {
        assert_same(&answer.body, &body);
    }
    gateway
        .log()
        .wait_for("the request", |event| event["message"] == "request");
    gateway.assert_nothing_stored();
    assert_kept_secret(&gateway);
}

#[test]
fn password_in_request_is_not_logged() {
    let origin = Origin::start();
    let ftp = FtpServer::start();
    ftp.serve("x-7.0.tar.gz", &archive(1, 5000));
    ftp.script(
        "PASS",
        vec![
            Act::Usual,
            say(&format!("530 {SECRET} is no password")),
            Act::HangUp,
        ],
    );
    let gateway = Gateway::builder()
        .origin(&origin)
        .port(ftp.port())
        .relay()
        .text("log.level", "trace")
        .start();
    for status in [200, 502, 504] {
        let url = format!("ftp://user:{SECRET}@127.0.0.1:{}/x-7.0.tar.gz", ftp.port());
        let answer = gateway.proxied("GET", &url).send();
        answer.assert_status(status);
        assert!(!answer.text().contains(SECRET), "{status}");
    }
    gateway
        .get(&format!(
            "http://user:{SECRET}@127.0.0.1:{}/x-7.0.tar.gz",
            origin.port()
        ))
        .send()
        .assert_status(404);
    let request = gateway
        .proxied("GET", &origin.url("/x.html"))
        .header("Authorization", &format!("Bearer {SECRET}"));
    request.header("Cookie", &format!("a={SECRET}")).send();
    gateway
        .log()
        .wait_for_many("the requests", 5, |event| event["message"] == "request");
    assert_kept_secret(&gateway);
}
