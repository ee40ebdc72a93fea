//! Digests that no file has: what they cost the origin and the other clients of the target.

use crate::harness::{
    Body, Builder, Gate, Gateway, Origin, Reply, Request, archive, eventually, sha256,
};

const PATH: &str = "/x-1.0.tar.gz";

/// Client that states wrong digests.
const EVE: &str = "10.0.0.1";

/// Client that states the digest of a new release.
const BOB: &str = "10.0.0.2";

/// Returns a gateway that takes the client's address from `X-Forwarded-For`.
fn with_clients(origin: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder
        .set("gateway.trusted_proxies", "[\"127.0.0.0/8\"]")
        .set("policy.allow_clients", "[\"0.0.0.0/0\", \"::/0\"]")
}

fn stating(gateway: &Gateway, url: &str, client: &str, digest: &str) -> Request {
    let request = gateway.request("GET", &format!("/sha256:{digest}/{url}"));
    request.header("X-Forwarded-For", client)
}

fn wrong(number: usize) -> String {
    sha256(&number.to_le_bytes())
}

/// Stores the first release of the target. Returns its URL.
fn stored(gateway: &Gateway, origin: &Origin, body: &Body) -> String {
    origin.serve(PATH, Reply::file(body));
    let url = origin.url(PATH);
    gateway.assert_serves(&url, body);
    gateway.await_stored(&url);
    url
}

#[test]
fn fetch_for_wrong_digest_ends_with_reader() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let (old, new) = (archive(1, 40_000), archive(2, 300_000));
    // A silent origin does not end the fetch.
    let gateway = with_clients(&origin)
        .text("fetch.idle_timeout", "10m")
        .start();
    let url = stored(&gateway, &origin, &old);
    let endless = Reply::file(&old).chunked().gate_at(30_000, &gate);
    origin.serve(PATH, endless);
    let readers = [1, 2].map(|number| stating(&gateway, &url, EVE, &wrong(number)).open());
    gate.await_reached(1);
    let [first, second] = readers;
    // The fetch goes on as long as one of its readers is there.
    drop(first);
    gateway
        .log()
        .wait_for("the first reader has left", |event| {
            event["completion"] == "aborted"
        });
    let stats = gateway.request("GET", "/api/v1/stats").send().json();
    assert_eq!(stats["in_flight"], 1, "{stats}");
    // The origin still holds the rest back.
    drop(second);
    gateway.log().wait_for("the fetch has failed", |event| {
        // The harness ends the silence of the origin after a while, which ends the fetch too.
        let cause = event["cause"].as_str().unwrap_or_default();
        event["message"] == "fetch" && cause.contains("no client waits")
    });
    eventually("nothing is staged", || {
        gateway.staged().is_empty().then_some(())
    });
    assert_eq!(origin.count(PATH), 2);
    origin.serve(PATH, Reply::file(&new));
    let answer = stating(&gateway, &url, EVE, &sha256(&new)).send();
    answer.assert_body(200, &new);
    gateway.assert_serves(&url, &old).assert_cache(&["hit"]);
    gate.open();
}

#[test]
fn wrong_digests_leave_requests_for_others() {
    let origin = Origin::start();
    let (old, new) = (archive(3, 40_000), archive(4, 50_000));
    let gateway = with_clients(&origin).start();
    let url = stored(&gateway, &origin, &old);
    for number in 0..20 {
        let answer = stating(&gateway, &url, EVE, &wrong(number)).send();
        answer.assert_problem(409);
    }
    assert_eq!(origin.count(PATH), 3, "two requests of the client");
    origin.serve(PATH, Reply::file(&new));
    let answer = stating(&gateway, &url, BOB, &sha256(&new)).send();
    answer.assert_body(200, &new);
    // Many clients together are bounded too.
    for number in 0..20 {
        let client = format!("10.0.1.{number}");
        let answer = stating(&gateway, &url, &client, &wrong(100 + number)).send();
        answer.assert_problem(409);
    }
    assert_eq!(origin.count(PATH), 9, "eight requests of all clients");
}
