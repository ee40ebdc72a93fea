//! Tests of the operators' token. Without it the API changes and lists nothing, and Millpond never
//! shows it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Gateway, NAME, Origin, Reply, archive, encoded, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";
const CONFIGURED: &str = "a-token-of-the-configuration";

/// Returns every request that only operators may send, for this target and its object.
fn for_operators(url: &str, sha256: &str) -> Vec<(&'static str, String)> {
    let of_target = |resource: &str| format!("/api/v1/{resource}?url={}", encoded(url));
    vec![
        ("GET", "/api/v1/objects".to_owned()),
        ("HEAD", "/api/v1/objects".to_owned()),
        ("PUT", of_target("objects")),
        ("DELETE", of_target("objects")),
        ("DELETE", format!("/api/v1/objects/sha256/{sha256}")),
        ("POST", of_target("refresh")),
        ("PUT", of_target("pins")),
        ("DELETE", of_target("pins")),
    ]
}

#[test]
fn first_start_creates_persistent_admin_token() {
    let mut gateway = Gateway::builder().text("log.level", "trace").start();
    let token = gateway.token();
    assert_eq!(token.len(), 64, "32 random bytes");
    let file = gateway.file().with_file_name("state").join("admin_token");
    let mode = fs::metadata(&file)
        .expect("the file exists")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    gateway.operate("GET", "/api/v1/objects").send().json();
    gateway.restart();
    assert_eq!(gateway.token(), token);
    gateway.operate("GET", "/api/v1/objects").send().json();
    gateway.signal("TERM");
    let (_, log) = gateway.await_exit();
    assert!(!log.text().contains(&token), "the token is in the log");
}

#[test]
fn operator_requests_without_token_get_401() {
    let origin = Origin::start();
    let body = archive(1, 20_000);
    origin.serve(PATH, Reply::file(&body));
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder
        .set("gateway.trusted_proxies", "[\"127.0.0.1/32\"]")
        .start();
    let url = origin.url(PATH);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let token = gateway.token();
    // Each request has a client of its own, because wrong tokens of one client are bounded.
    let mut clients = (1..=255).map(|last| format!("10.0.0.{last}"));
    let wrong = [
        String::new(),
        token.clone(),
        format!("Basic {token}"),
        format!("Bearer {}", "0".repeat(64)),
        format!("Bearer {}", &token[..63]),
        format!("Bearer {token}0"),
    ];
    for (method, path) in for_operators(&url, &sha256(&body)) {
        let without = gateway.request(method, &path).send();
        without.assert_status(401);
        assert_eq!(
            without.wants("www-authenticate"),
            "Bearer",
            "{method} {path}"
        );
        for shown in &wrong {
            gateway
                .request(method, &path)
                .header("Authorization", shown)
                .header("X-Forwarded-For", &clients.next().expect("enough"))
                .body(b"x")
                .send()
                .assert_status(401);
        }
    }
    let answer = gateway.assert_serves(&url, &body);
    answer.assert_cache(&["hit"]);
    assert_eq!(gateway.records().len(), 1);
}

#[test]
fn configured_token_can_be_replaced_on_reload() {
    let authorized = |gateway: &Gateway, token: &str| {
        let request = gateway
            .request("GET", "/api/v1/objects")
            .header("Authorization", &format!("bearer {token}"));
        request.send().status
    };
    let mut gateway = Gateway::builder()
        .text("gateway.admin_token", CONFIGURED)
        .start();
    assert_eq!(authorized(&gateway, CONFIGURED), 200);
    let file = gateway.file().with_file_name("token");
    fs::write(&file, "another-token-in-a-file\n").expect("the folder can be written");
    gateway.reload(|builder| {
        let builder = builder.text("gateway.admin_token", "");
        builder.text(
            "gateway.admin_token_file",
            file.to_str().expect("the path is UTF-8"),
        )
    });
    gateway.log().wait_for("the reload", |event| {
        event["message"] == "the configuration was reloaded"
    });
    assert_eq!(authorized(&gateway, CONFIGURED), 401);
    assert_eq!(authorized(&gateway, "another-token-in-a-file"), 200);
    assert!(
        !gateway
            .file()
            .with_file_name("state")
            .join("admin_token")
            .exists(),
        "a configured token creates no token file"
    );
}

#[test]
fn invalid_api_requests_get_problem_responses() {
    let gateway = Gateway::builder().start();
    for path in [
        "/api/",
        "/api/v1/",
        "/api/v2/objects",
        "/api/v1/nothing",
        "/api/v1/objects/md5/aa",
    ] {
        gateway.operate("GET", path).send().assert_problem(404);
    }
    for (method, path, allowed) in [
        ("POST", "/api/v1/objects", "GET, HEAD, PUT, DELETE"),
        ("PUT", "/api/v1/targets", "GET, HEAD"),
        ("POST", "/api/v1/pins", "GET, HEAD, PUT, DELETE"),
    ] {
        let answer = gateway.operate(method, path).send();
        answer.assert_problem(405);
        assert_eq!(answer.wants("allow"), allowed);
    }
    for path in [
        "/api/v1/targets?url=nonsense",
        "/api/v1/targets?url=https%3A%2F%2Fexample.org%2Fx&more=1",
        "/api/v1/targets?url=https%3A%2F%2Fa.example.org%2F&url=https%3A%2F%2Fb.example.org%2F",
        "/api/v1/objects/sha256/abc",
        "/api/v1/objects?limit=0",
        "/api/v1/objects?after=abc",
    ] {
        gateway.operate("GET", path).send().assert_problem(400);
    }
    let request = gateway
        .request("GET", "/api/v1/objects")
        .header("Accept", "application/problem+json");
    let answer = request.send();
    assert_eq!(answer.wants("content-type"), "application/problem+json");
    let problem: serde_json::Value =
        serde_json::from_slice(&answer.body).expect("the body is JSON");
    assert_eq!(problem["status"], 401);
    assert!(!answer.text().contains(NAME), "{}", answer.text());
}
