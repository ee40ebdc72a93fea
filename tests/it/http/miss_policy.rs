//! Misses at the gateway endpoint: redirects, relayed bodies and the negative cache.

use std::fs;

use serde_json::Value;

use crate::harness::{
    Answer, Builder, Gate, Gateway, Origin, Reply, Scene, archive, assert_same, eventually, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn redirecting(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).one_attempt()
}

#[test]
fn first_miss_redirects_and_starts_fetch() {
    let origin = Origin::start();
    let body = archive(1, 50_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(0, &gate));
    let gateway = redirecting(&origin).start();
    let url = origin.url(PATH);
    let answer = gateway.get(&url).wget_agent().send();
    answer.assert_status(302);
    assert_eq!(answer.wants("location"), url);
    assert_eq!(answer.wants("cache-control"), "no-store");
    answer.assert_cache(&["detail=redirect"]);
    gate.await_reached(1);
    gate.open();
    gateway.await_stored(&url);
    gateway
        .assert_serves(&url, &body)
        .assert_cache(&["hit", "detail=disk"]);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn redirect_points_to_canonical_target() {
    let origin = Origin::start();
    let gateway = redirecting(&origin).start();
    let answer = gateway
        .get(&format!(
            "HTTP://LOCALHOST.:{}{PATH}?b=2&a='#top",
            origin.port()
        ))
        .wget_agent()
        .send();
    answer.assert_status(302);
    let target = origin.named_url(&format!("{PATH}?b=2&a=%27"));
    assert_eq!(answer.wants("location"), target);
    // The log hides values of parameters that name no file or version.
    gateway.await_fetch(&origin.named_url(&format!("{PATH}?b=…&a=%27")));
}

/// Requests a target for the first time, as `agent` or without a name.
fn first_answer(gateway: &Gateway, origin: &Origin, agent: Option<&str>, number: usize) -> Answer {
    let path = format!("/x-{number}.0.tar.gz");
    origin.serve(&path, Reply::file(&archive(1, 5000)));
    let request = gateway.get(&origin.url(&path));
    let request = agent.into_iter().fold(request, |request, agent| {
        request.header("User-Agent", agent)
    });
    let answer = request.send();
    gateway.await_stored(&origin.url(&path));
    assert_eq!(origin.count(&path), 1, "{agent:?}");
    answer
}

#[test]
fn only_agents_in_redirect_agents_are_redirected() {
    let origin = Origin::start();
    let body = archive(1, 5000);
    let gateway = redirecting(&origin).start();
    let listed = [
        "Wget/1.21.3",
        "aria2/1.36.0",
        "Axel/2.17.11 (Linux)",
        "Homebrew/4.4.0 (Macintosh; arm64)",
    ];
    for (number, agent) in listed.into_iter().enumerate() {
        first_answer(&gateway, &origin, Some(agent), number).assert_status(302);
    }
    let others = [
        None,
        Some(""),
        Some("curl/7.88.1"),
        Some("Ruby"),
        Some("PycURL/7.45.2 libcurl/7.88.1"),
        Some("fetcher/1.0"),
        // The beginning counts, in its own case.
        Some("wget/1.21.3"),
        Some("fetcher/1.0 (like Wget/1.21.3)"),
        Some("Wget"),
    ];
    for (number, agent) in others.into_iter().enumerate() {
        first_answer(&gateway, &origin, agent, 10 + number).assert_body(200, &body);
    }
}

#[test]
fn configured_redirect_agents_replace_the_default() {
    let origin = Origin::start();
    let body = archive(1, 5000);
    let mut gateway = redirecting(&origin)
        .set("gateway.redirect_agents", "[\"Fetcher/\"]")
        .start();
    first_answer(&gateway, &origin, Some("Fetcher/2"), 1).assert_status(302);
    first_answer(&gateway, &origin, Some("Wget/1.21.3"), 2).assert_body(200, &body);
    gateway.restart_with(|builder| builder.set("gateway.redirect_agents", "[]"));
    first_answer(&gateway, &origin, Some("Fetcher/2"), 3).assert_body(200, &body);
    gateway.restart_with(|builder| {
        builder
            .set("gateway.redirect_agents", "[\"Wget/\"]")
            .relay()
    });
    first_answer(&gateway, &origin, Some("Wget/1.21.3"), 4).assert_body(200, &body);
}

#[test]
fn relay_agents_is_an_unknown_key() {
    let run = Gateway::builder()
        .set("gateway.relay_agents", "[\"curl/\"]")
        .run_to_end();
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(
        run.stderr.contains("gateway.relay_agents"),
        "{}",
        run.stderr
    );
}

#[test]
fn range_miss_is_relayed() {
    let origin = Origin::start();
    let body = archive(2, 50_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = redirecting(&origin).start();
    let answer = gateway
        .get(&origin.url(PATH))
        .wget_agent()
        .range("bytes=100-199")
        .send();
    answer.assert_body(206, &body[100..200]);
    assert_eq!(answer.wants("content-range"), "bytes 100-199/50000");
}

#[test]
fn miss_with_expected_digest_is_relayed() {
    let origin = Origin::start();
    let body = archive(3, 5000);
    for path in ["/a-1.0.tar.gz", "/b-1.0.tar.gz"] {
        origin.serve(path, Reply::file(&body));
    }
    let gateway = redirecting(&origin).start();
    let request = gateway
        .get(&origin.url("/a-1.0.tar.gz"))
        .wget_agent()
        .header("X-Expected-Sha256", &sha256(&body));
    request.send().assert_body(200, &body);
    let path = format!("/sha256:{}/{}", sha256(&body), origin.url("/b-1.0.tar.gz"));
    gateway
        .request("GET", &path)
        .wget_agent()
        .send()
        .assert_body(200, &body);
}

#[test]
fn head_miss_asks_origin_and_stores_nothing() {
    let origin = Origin::start();
    let body = archive(4, 5000);
    origin.serve(
        PATH,
        Reply::file(&body).header("Content-Type", "application/gzip"),
    );
    let gateway = redirecting(&origin).start();
    let answer = gateway
        .request("HEAD", &format!("/{}", origin.url(PATH)))
        .wget_agent()
        .send();
    answer.assert_body(200, b"");
    assert_eq!(answer.wants("content-length"), "5000");
    assert_eq!(answer.wants("content-type"), "application/gzip");
    assert_eq!(origin.request(PATH).method, "HEAD");
    gateway.assert_nothing_stored();
}

#[test]
fn second_request_joins_running_fetch() {
    let origin = Origin::start();
    let body = archive(5, 50_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(20_000, &gate));
    let gateway = redirecting(&origin).start();
    let url = origin.url(PATH);
    gateway.get(&url).wget_agent().send().assert_status(302);
    gate.await_reached(1);
    let mut joined = gateway.get(&url).wget_agent().open();
    assert_eq!(joined.head.status, 200);
    assert_same(&joined.read(20_000), &body[..20_000]);
    joined.head.assert_cache(&["collapsed"]);
    gate.open();
    assert_same(&joined.finish().body, &body[20_000..]);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn evicted_target_is_relayed() {
    let origin = Origin::start();
    let body = archive(6, 5000);
    origin.serve(PATH, Reply::file(&body));
    let mut gateway = redirecting(&origin).start();
    let url = origin.url(PATH);
    gateway.get(&url).wget_agent().send().assert_status(302);
    gateway.await_stored(&url);
    gateway.stop();
    fs::remove_file(gateway.object_path(&body)).expect("the object exists");
    gateway.restart();
    gateway
        .get(&url)
        .wget_agent()
        .send()
        .assert_body(200, &body);
    assert_eq!(origin.count(PATH), 2);
}

#[test]
fn negative_cache_answers_without_asking_origin() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::status(404));
    origin.serve("/y-1.0.tar.gz", Reply::status(500));
    let gateway = redirecting(&origin).start();
    for (path, status) in [(PATH, 404), ("/y-1.0.tar.gz", 502)] {
        gateway
            .get(&origin.url(path))
            .wget_agent()
            .send()
            .assert_status(302);
        let fetch = gateway.await_fetch(&origin.url(path));
        assert_ne!(fetch["outcome"], "stored");
        assert!(
            fetch["cause"]
                .as_str()
                .is_some_and(|cause| !cause.is_empty()),
            "the log has the cause: {fetch}"
        );
        gateway
            .get(&origin.url(path))
            .wget_agent()
            .send()
            .assert_problem(status);
        assert_eq!(origin.count(path), 1, "{path}");
    }
    gateway.assert_nothing_stored();
}

#[test]
fn negative_cache_entry_expires() {
    let origin = Origin::start();
    let body = archive(7, 5000);
    origin.script(PATH, vec![Reply::status(404), Reply::file(&body)]);
    let gateway = redirecting(&origin)
        .relay()
        .text("cache.negative_ttl", "300ms")
        .start();
    gateway.get(&origin.url(PATH)).send().assert_status(404);
    let answer = eventually("the negative cache entry expires", || {
        Some(gateway.get(&origin.url(PATH)).send()).filter(|answer| answer.status != 404)
    });
    answer.assert_body(200, &body);
    assert_eq!(origin.count(PATH), 2);
}

#[test]
fn origin_status_maps_to_gateway_status() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for (said, told) in [
        (404, 404),
        (410, 410),
        (400, 502),
        (401, 502),
        (403, 502),
        (429, 502),
        (500, 502),
        (503, 502),
        (304, 502),
        (206, 502),
        (204, 502),
    ] {
        let path = format!("/says-{said}.tar.gz");
        origin.serve(&path, Reply::status(said));
        let answer = gateway.get(&origin.url(&path)).send();
        answer.assert_problem(told);
        assert!(answer.header("location").is_none());
        gateway.get(&origin.url(&path)).send().assert_problem(told);
        assert_eq!(origin.count(&path), 1, "{said}");
    }
    gateway.assert_nothing_stored();
}

#[test]
fn error_is_json_if_client_accepts_it() {
    let (_origin, gateway, url) = Scene::replying(PATH, Reply::status(500));
    let plain = gateway.get(&url).send();
    plain.assert_problem(502);
    assert!(
        plain.wants("content-type").starts_with("text/plain"),
        "{:?}",
        plain.header("content-type")
    );
    assert!(
        plain.wants("proxy-status").contains("mill-test"),
        "{:?}",
        plain.header("proxy-status")
    );
    let json = gateway
        .get(&url)
        .header("Accept", "application/problem+json, */*;q=0.1")
        .send();
    json.assert_status(502);
    assert_eq!(json.wants("content-type"), "application/problem+json");
    let problem: Value = serde_json::from_slice(&json.body).expect("the body is JSON");
    assert_eq!(problem["status"], 502);
    assert!(
        problem["title"].is_string() && problem["detail"].is_string(),
        "{problem}"
    );
    let folder = gateway
        .cache()
        .to_str()
        .expect("the path is text")
        .to_owned();
    assert!(
        !plain.text().contains(&folder) && !json.text().contains(&folder),
        "the error text contains no path"
    );
}

#[test]
fn only_if_cached_never_asks_origin() {
    let (origin, gateway, body, url) = Scene::relaying(PATH, archive(8, 5000));
    let only_if_cached = || {
        gateway
            .get(&url)
            .header("Cache-Control", "only-if-cached")
            .send()
    };
    only_if_cached().assert_problem(504);
    gateway
        .proxied("GET", &url)
        .header("Cache-Control", "only-if-cached")
        .send()
        .assert_problem(504);
    assert_eq!(origin.total(), 0);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    only_if_cached().assert_body(200, &body);
}

#[test]
fn no_cache_does_not_bypass_cache() {
    let (origin, gateway, body, url) = Scene::relaying(PATH, archive(9, 5000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let headers = [
        ("Cache-Control", "no-cache"),
        ("Pragma", "no-cache"),
        ("Cache-Control", "max-age=0"),
        ("Cache-Control", "no-store"),
    ];
    for (name, value) in headers {
        gateway
            .get(&url)
            .header(name, value)
            .send()
            .assert_cache(&["hit"]);
        gateway
            .proxied("GET", &url)
            .header(name, value)
            .send()
            .assert_cache(&["hit"]);
    }
    assert_eq!(origin.count(PATH), 1);
}
