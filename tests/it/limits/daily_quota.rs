//! `limits.bytes_per_day`: what one client may receive in 24 hours.

use std::io::{Read as _, Write as _};

use crate::harness::{Answer, Body, Builder, Gateway, Nginx, Origin, Reply, archive, sha256};
use crate::http::tunnel::{connect, listener, open, tunnelling_to};
use crate::nginx::requests::behind_nginx;

const PATH: &str = "/pub/x-1.0.tar.gz";
const OTHER: &str = "/pub/y-1.0.tar.gz";
const BYTES: usize = 100_000;

fn body() -> Body {
    archive(1, BYTES)
}

/// Returns a gateway whose clients may receive a bit less than two files a day.
fn limited(origin: &Origin) -> Builder {
    origin.serve(PATH, Reply::file(&body()));
    origin.serve(OTHER, Reply::file(&archive(2, BYTES)));
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder
        .set("gateway.trusted_proxies", "[\"127.0.0.0/8\"]")
        .set("policy.allow_clients", "[\"0.0.0.0/0\", \"::/0\"]")
        .text("limits.bytes_per_day", "190KB")
}

fn get(gateway: &Gateway, url: &str, client: &str) -> Answer {
    gateway.get(url).header("X-Forwarded-For", client).send()
}

#[track_caller]
fn assert_used_up(answer: &Answer) {
    answer.assert_problem(429);
    let seconds: u64 = answer
        .wants("retry-after")
        .parse()
        .expect("a number of seconds");
    assert!(
        (86_000..=86_401).contains(&seconds),
        "Retry-After: {seconds}"
    );
    assert!(
        answer.text().contains("limits.bytes_per_day"),
        "{}",
        answer.text()
    );
}

#[test]
fn used_up_quota_refuses_one_client() {
    let origin = Origin::start();
    let gateway = limited(&origin).start();
    let url = origin.url(PATH);
    for _ in 0..2 {
        get(&gateway, &url, "10.0.0.1").assert_body(200, &body());
    }
    assert_used_up(&get(&gateway, &url, "10.0.0.1"));
    assert_used_up(&get(&gateway, &origin.url(OTHER), "10.0.0.1"));
    assert_eq!(
        origin.requests(OTHER).len(),
        0,
        "a refused request asks no origin"
    );
    let by_digest = format!("/api/v1/objects/sha256/{}", sha256(&body()));
    let by_digest = gateway.request("GET", &by_digest);
    assert_used_up(&by_digest.header("X-Forwarded-For", "10.0.0.1").send());
    get(&gateway, &url, "10.0.0.2").assert_body(200, &body());
    let page = gateway
        .request("GET", "/healthz")
        .header("X-Forwarded-For", "10.0.0.1");
    assert_eq!(page.send().status, 200, "the quota is for files");
    let stat = gateway
        .operate("GET", "/api/v1/stats")
        .header("X-Forwarded-For", "10.0.0.1");
    assert_eq!(stat.send().status, 200, "an operator is not locked out");
}

#[test]
fn parts_count_with_their_own_bytes() {
    let origin = Origin::start();
    let gateway = limited(&origin).start();
    let url = origin.url(PATH);
    get(&gateway, &url, "10.0.0.2").assert_body(200, &body());
    for _ in 0..19 {
        let head = gateway.request("HEAD", &format!("/{url}"));
        let head = head.header("X-Forwarded-For", "10.0.0.1").send();
        assert_eq!(head.status, 200, "HEAD has no body that counts");
        let part = gateway.get(&url).header("Range", "bytes=0-9999");
        let part = part.header("X-Forwarded-For", "10.0.0.1").send();
        part.assert_body(206, &body()[..10_000]);
    }
    assert_used_up(&get(&gateway, &url, "10.0.0.1"));
}

#[test]
fn exempt_clients_have_no_quota() {
    let origin = Origin::start();
    let builder = limited(&origin).set("limits.exempt_clients", "[\"10.1.0.0/16\"]");
    let gateway = builder.start();
    for _ in 0..4 {
        get(&gateway, &origin.url(PATH), "10.1.2.3").assert_body(200, &body());
    }
}

#[test]
fn files_that_nginx_sends_count() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&body()));
    let gateway = behind_nginx(&origin)
        .text("limits.bytes_per_day", "190KB")
        .start();
    let nginx = Nginx::before(&gateway);
    let url = origin.url(PATH);
    nginx.get(&url).send().assert_body(200, &body());
    gateway.await_stored(&url);
    for _ in 0..3 {
        let head = nginx.request("HEAD", &format!("/{url}")).send();
        assert_eq!(head.status, 200, "HEAD has no body that counts");
    }
    nginx.get(&url).send().assert_body(200, &body());
    gateway.log().wait_for("the hit that nginx sends", |event| {
        event["message"] == "request" && event["completion"] == "offloaded"
    });
    assert_eq!(nginx.get(&url).send().status, 429);
}

#[test]
fn tunnels_count_what_they_carry_down() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address)
        .text("limits.bytes_per_day", "1000B")
        .start();
    let (mut client, mut server) = open(&gateway, &listener);
    let mut buffer = [0; 2000];
    client.write_all(&buffer).expect("the tunnel takes bytes");
    server
        .read_exact(&mut buffer)
        .expect("the tunnel gives bytes");
    let (mut second, mut other_server) = open(&gateway, &listener);
    server.write_all(&buffer).expect("the tunnel takes bytes");
    client
        .read_exact(&mut buffer)
        .expect("the tunnel gives bytes");
    let refused = connect(&gateway, &address.to_string(), b"");
    assert_eq!(refused.head.status, 429);
    // A tunnel that has begun goes on.
    other_server
        .write_all(b"more")
        .expect("the tunnel takes bytes");
    second
        .read_exact(&mut buffer[..4])
        .expect("the tunnel gives bytes");
    assert_eq!(&buffer[..4], b"more");
}
