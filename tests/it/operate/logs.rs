//! Tests of the log: one event for each request and one for each fetch, each complete in itself.

use serde_json::Value;

use crate::harness::{
    Builder, Gate, Gateway, Origin, Reply, Scene, archive, is_request_of, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[track_caller]
fn only_request(gateway: &Gateway, part: &str) -> Value {
    let events = gateway
        .log()
        .wait_for_many("the request", 1, |event| is_request_of(event, part));
    assert_eq!(events.len(), 1, "each request logs one event: {events:?}");
    events.into_iter().next().expect("there is one")
}

#[test]
fn each_request_logs_one_complete_event() {
    let origin = Origin::start();
    let body = archive(1, 12_345);
    let gateway = Gateway::relaying(&origin);
    for path in ["/miss-1.0.tar.gz", "/passed.bin", "/absent-1.0.tar.gz"] {
        origin.serve(path, Reply::file(&body));
    }
    origin.serve("/absent-1.0.tar.gz", Reply::status(404));
    gateway.assert_serves(&origin.url("/miss-1.0.tar.gz"), &body);
    let miss = only_request(&gateway, "/miss-1.0.tar.gz");
    assert_eq!(miss["client"], "127.0.0.1");
    assert_eq!(miss["endpoint"], "gateway");
    assert_eq!(miss["method"], "GET");
    assert_eq!(miss["uri"], origin.url("/miss-1.0.tar.gz"));
    assert_eq!(miss["status"], 200);
    assert_eq!(miss["sent_bytes"], 12_345);
    assert_eq!(miss["completion"], "complete");
    assert!(
        miss["cache"]
            .as_str()
            .is_some_and(|cache| !cache.is_empty()),
        "{miss}"
    );
    assert!(miss["duration_ms"].is_number(), "{miss}");
    assert_eq!(miss["level"], "INFO");
    assert!(
        miss["timestamp"].is_string() && miss["target"].is_string(),
        "{miss}"
    );

    gateway
        .proxied("GET", &origin.url("/passed.bin"))
        .send()
        .assert_status(200);
    let passed = only_request(&gateway, "/passed.bin");
    assert_eq!(
        (&passed["endpoint"], &passed["status"]),
        (&Value::from("proxy"), &Value::from(200))
    );

    gateway
        .get(&origin.url("/absent-1.0.tar.gz"))
        .send()
        .assert_status(404);
    let absent = only_request(&gateway, "/absent-1.0.tar.gz");
    assert_eq!(absent["status"], 404);
    assert_eq!(absent["level"], "INFO", "a miss is not an error in the log");

    gateway.request("GET", "/robots.txt").send();
    let page = gateway.log().wait_for("the page", |event| {
        event["message"] == "request" && event["endpoint"] == "page"
    });
    assert_eq!(page["status"], 200);
}

#[test]
fn log_distinguishes_hit_and_304_from_miss() {
    let (_origin, gateway, body, url) = Scene::relaying(PATH, archive(2, 5000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let hit = gateway.assert_serves(&url, &body);
    let events = gateway
        .log()
        .wait_for_many("both requests", 2, |event| is_request_of(event, PATH));
    assert!(
        events[1]["cache"]
            .as_str()
            .is_some_and(|cache| cache.contains("hit")),
        "{}",
        events[1]
    );
    assert!(
        !events[0]["cache"]
            .as_str()
            .is_some_and(|cache| cache.contains("hit")),
        "{}",
        events[0]
    );
    gateway
        .get(&url)
        .header("If-None-Match", hit.wants("etag"))
        .send()
        .assert_status(304);
    let events = gateway
        .log()
        .wait_for_many("all three requests", 3, |event| is_request_of(event, PATH));
    assert_eq!(
        (&events[2]["status"], &events[2]["sent_bytes"]),
        (&Value::from(304), &Value::from(0))
    );
}

#[test]
fn each_fetch_logs_one_complete_event() {
    let origin = Origin::start();
    let body = archive(3, 23_456);
    origin.script(PATH, vec![Reply::status(503), Reply::file(&body)]);
    origin.serve("/absent-1.0.tar.gz", Reply::status(404));
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("fetch.attempts", "4")
        .start();
    gateway.assert_serves(&origin.url(PATH), &body);
    let stored = gateway.await_stored(&origin.url(PATH));
    assert_eq!(stored["size_bytes"], 23_456);
    assert_eq!(stored["sha256"], sha256(&body));
    assert_eq!(stored["attempts"], 2);
    assert!(stored["duration_ms"].is_number(), "{stored}");
    gateway.get(&origin.url("/absent-1.0.tar.gz")).send();
    let absent = gateway.await_fetch(&origin.url("/absent-1.0.tar.gz"));
    assert_ne!(absent["outcome"], "stored");
    assert!(
        absent["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("404")),
        "{absent}"
    );
    let fetches = gateway
        .log()
        .events()
        .iter()
        .filter(|event| event["message"] == "fetch")
        .count();
    assert_eq!(fetches, 2);
}

#[test]
fn collapsed_requests_log_no_further_fetch() {
    let gate = Gate::new();
    let (_origin, gateway, _, url) = Scene::of(PATH, archive(4, 20_000))
        .reply(|file| file.gate_at(10_000, &gate))
        .start();
    let joined: Vec<_> = (0..5).map(|_| gateway.get(&url).open()).collect();
    gate.open();
    for answer in joined {
        answer.finish();
    }
    gateway
        .log()
        .wait_for_many("the requests", 5, |event| is_request_of(event, PATH));
    gateway.await_stored(&url);
    let fetches = gateway
        .log()
        .events()
        .iter()
        .filter(|event| event["message"] == "fetch")
        .count();
    assert_eq!(fetches, 1);
}

#[test]
fn cut_response_is_logged_as_cut() {
    let gate = Gate::new();
    let (_origin, gateway, _, url) = Scene::of(PATH, archive(5, 50_000))
        .reply(|file| file.gate_at(10_000, &gate).cut_at(20_000))
        .start();
    let mut answer = gateway.get(&url).open();
    answer.read(10_000);
    gate.open();
    answer.finish().assert_broken();
    let event = only_request(&gateway, PATH);
    assert_eq!(event["completion"], "aborted");
    assert!(
        event["sent_bytes"]
            .as_u64()
            .is_some_and(|bytes| (10_000..=20_000).contains(&bytes)),
        "{event}"
    );
}

#[test]
fn each_line_of_json_log_is_json() {
    let (origin, mut gateway, _, url) = Scene::of(PATH, archive(6, 5000))
        .gateway(|builder| builder.relay().text("log.level", "debug"))
        .start();
    gateway.get(&url).send();
    gateway
        .get(&origin.url("/\u{1b}[31mred\"quoted\".tar.gz"))
        .send();
    let log = gateway.log().clone();
    gateway.stop();
    for line in log.text().lines() {
        let event: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            event["message"].is_string() && event["level"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn text_log_has_the_same_events() {
    let (_origin, mut gateway, body, url) = Scene::of(PATH, archive(7, 5000))
        .gateway(|builder| builder.relay().text("log.format", "text"))
        .start();
    gateway.assert_serves(&url, &body);
    let line = gateway.log().wait_for_line("the request", |line| {
        line.contains("request") && line.contains(PATH)
    });
    assert!(line.contains("200") && line.contains("127.0.0.1"), "{line}");
    gateway.log().wait_for_line("the fetch", |line| {
        line.contains("fetch") && line.contains("stored")
    });
    let log = gateway.log().clone();
    gateway.stop();
    assert!(log.text().contains("stopped"), "{}", log.text());
    assert!(
        !log.text().contains('\u{1b}'),
        "a log to a pipe has no colours"
    );
    assert!(log.events().is_empty(), "a text log holds no JSON");
}

#[test]
fn log_level_filters_lower_levels() {
    let (_origin, mut gateway, _, url) = Scene::of(PATH, archive(8, 5000))
        .gateway(Builder::relay)
        .start();
    gateway.get(&url).send();
    gateway
        .log()
        .wait_for("the request", |event| is_request_of(event, PATH));
    let noisy = gateway
        .log()
        .events()
        .into_iter()
        .find(|event| !matches!(event["level"].as_str(), Some("INFO" | "WARN" | "ERROR")));
    assert_eq!(noisy, None, "the default level is info");
    gateway.stop();
}

#[test]
fn request_log_names_agent_and_fetch_source() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(9, 5000);
    other.serve(PATH, Reply::file(&body));
    origin.serve(PATH, Reply::redirect(302, &other.url(PATH)));
    let gateway = Gateway::builder()
        .origin(&origin)
        .origin(&other)
        .relay()
        .start();
    let url = origin.url(PATH);
    let request = gateway.get(&url).header("User-Agent", "build \"7\" \t=x");
    request.send().assert_status(200);
    let event = only_request(&gateway, PATH);
    assert_eq!(event["user_agent"], "build \"7\" \t=x");
    assert!(!event["cache"].to_string().contains("stored"), "{event}");
    let fetch = gateway.await_stored(&url);
    assert_eq!(fetch["source"], other.url(""), "final host with its port");
}

#[test]
fn unstored_bodies_are_not_logged_as_stored() {
    let origin = Origin::start();
    let body = archive(10, 5000);
    let other_digest = format!("/v2/x/blobs/sha256:{}", "0".repeat(64));
    let replies = [
        (other_digest.as_str(), Reply::file(&body)),
        ("/b-1.0.tar.gz", Reply::html()),
        ("/c-1.0.tar.gz", Reply::file(&body).cut_at(2000)),
        ("/d-1.0.tar.gz", Reply::status(404)),
    ];
    let gateway = Gateway::relaying(&origin);
    for (path, reply) in replies {
        origin.serve(path, reply);
        drop(gateway.get(&origin.url(path)).send());
        only_request(&gateway, path);
        gateway.await_fetch(&origin.url(path));
    }
    gateway.assert_nothing_stored();
    assert!(
        !gateway.log().text().contains("stored\""),
        "{}",
        gateway.log().text()
    );
}

#[test]
fn text_log_is_logfmt_for_any_client_text() {
    let origin = Origin::start();
    let mut gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("log.format", "text")
        .start();
    let request = gateway.get(&origin.url("/a b\"c=d.tar.gz"));
    let request = request.header("User-Agent", "evil\tlevel=ERROR message=\"x\"");
    drop(request.send());
    gateway
        .log()
        .wait_for_line("the request", |line| line.contains("message=request"));
    let log = gateway.log().clone();
    gateway.stop();
    for line in log.text().lines() {
        assert!(line.starts_with("timestamp=2"), "{line}");
        // Outside quotes, each word is a key with a value.
        let mut plain = String::new();
        for (at, part) in line.replace("\\\"", "").split('"').enumerate() {
            plain.push_str(if at % 2 == 0 { part } else { "quoted" });
        }
        for word in plain.split(' ') {
            assert_eq!(word.matches('=').count(), 1, "{word} in {line}");
        }
        assert!(!plain.contains("ERROR"), "{line}");
    }
}
