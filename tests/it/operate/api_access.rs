//! Access to the API: reader tokens, wrong tokens, and the names under which it answers.

use crate::harness::{Gateway, Scene, archive, encoded, eventually};

const PATH: &str = "/pub/x-1.0.tar.gz";
const READER: &str = "a-token-of-a-reader";

#[test]
fn reader_token_reads_lists_and_changes_nothing() {
    let (_origin, gateway, body, url) = Scene::of(PATH, archive(1, 20_000))
        .gateway(|builder| {
            builder.relay().set(
                "gateway.reader_tokens",
                &format!("[\"another-reader-token\", {READER:?}]"),
            )
        })
        .start();
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let status = |method: &str, path: &str, token: Option<&str>| {
        let request = gateway.request(method, path);
        let request = match token {
            Some(token) => request.header("Authorization", &format!("Bearer {token}")),
            None => request,
        };
        request.send().status
    };
    for path in ["/api/v1/objects", "/api/v1/incidents"] {
        assert_eq!(status("GET", path, None), 401, "{path}");
        assert_eq!(
            status("GET", path, Some("a-token-of-nobody")),
            401,
            "{path}"
        );
        assert_eq!(status("GET", path, Some(READER)), 200, "{path}");
        assert_eq!(status("GET", path, Some(&gateway.token())), 200, "{path}");
    }
    let exact = format!("/api/v1/targets?url={}", encoded(&url));
    assert_eq!(status("GET", &exact, None), 200, "one exact URL is public");
    for (method, path) in [
        ("DELETE", format!("/api/v1/objects?url={}", encoded(&url))),
        ("PUT", format!("/api/v1/pins?url={}", encoded(&url))),
        ("POST", format!("/api/v1/refresh?url={}", encoded(&url))),
    ] {
        assert_eq!(status(method, &path, Some(READER)), 401, "{method} {path}");
    }
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
}

#[test]
fn wrong_tokens_of_one_client_are_bounded() {
    let gateway = Gateway::builder()
        .set("gateway.trusted_proxies", "[\"127.0.0.1/32\"]")
        .start();
    let answer = |client: &str, token: &str| {
        gateway
            .request("GET", "/api/v1/objects")
            .header("X-Forwarded-For", client)
            .header("Authorization", &format!("Bearer {token}"))
            .send()
    };
    let right = gateway.token();
    // More than can be tried in two seconds, so that one window must be exceeded.
    let refused = (0..50)
        .map(|_| answer("10.0.0.1", "a-token-of-nobody"))
        .find(|answer| answer.status != 401)
        .expect("wrong tokens are bounded");
    refused.assert_problem(429);
    assert_eq!(refused.wants("retry-after"), "1");
    for _ in 0..5 {
        drop(answer("10.0.0.1", "a-token-of-nobody"));
    }
    answer("10.0.0.2", &right).assert_status(200);
    eventually("the client may try again", || {
        (answer("10.0.0.1", &right).status == 200).then_some(())
    });
    // The right token is not counted.
    for _ in 0..10 {
        answer("10.0.0.1", &right).assert_status(200);
    }
}

#[test]
fn api_answers_under_known_names_only() {
    let (_origin, gateway, body, url) = Scene::of(PATH, archive(2, 5000))
        .gateway(|builder| {
            builder
                .relay()
                .text("gateway.public_url", "http://sources.example.org:8080")
                .set("gateway.host_names", "[\"mill.example.net\"]")
        })
        .start();
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let exact = format!("/api/v1/targets?url={}", encoded(&url));
    let as_host = |path: &str, host: &str| gateway.request("GET", path).header("Host", host);
    for known in [
        "sources.example.org",
        "Mill.Example.NET:3000",
        "127.0.0.1",
        "[::1]:8080",
        "localhost",
    ] {
        for path in [exact.as_str(), "/api/v1/stats"] {
            as_host(path, known).send().assert_status(200);
        }
    }
    // A page of this name could read the responses through its visitor's browser.
    for path in [exact.as_str(), "/api/v1/stats", "/api/v1/objects"] {
        let refused = as_host(path, "page.example.com").send();
        refused.assert_problem(421);
        let token = format!("Bearer {}", gateway.token());
        let request = as_host(path, "page.example.com");
        request
            .header("Authorization", &token)
            .send()
            .assert_status(200);
    }
    // Clients reach files and health checks under any name.
    let file = format!("/{url}");
    as_host(&file, "page.example.com")
        .send()
        .assert_body(200, &body);
    as_host("/healthz", "page.example.com")
        .send()
        .assert_status(200);
}
