//! Tokens of registries: asked for without credentials, once, and never sent elsewhere.

use serde_json::json;

use crate::harness::{Origin, Reply, all_at_once, archive};
use crate::registry::stage::{RegistryStage, assert_refused, manifest};

const SCOPE: &str = "scope=repository%3Amill%2Fapp%3Apull";

/// Makes a registry ask for tokens of a service, and returns the target of the service.
fn serve_challenge(registry: &Origin, service: &Origin) -> String {
    let challenge = format!(
        "Bearer realm=\"{}\",service=\"registry\",scope=\"a:b:c\"",
        service.url("/token")
    );
    let reply = Reply::status(401).header("WWW-Authenticate", &challenge);
    registry.serve("/v2/", reply);
    format!("/token?service=registry&{SCOPE}")
}

fn token_reply(token: &str, life_seconds: u64) -> Reply {
    let document = json!({"token": token, "expires_in": life_seconds});
    Reply::ok(&document.to_string().into_bytes().into())
}

/// Returns a registry that asks for the tokens of another origin.
fn stage_with_service() -> (RegistryStage, Origin, String) {
    let service = Origin::start();
    let stage = RegistryStage::with("", |builder| builder.origin(&service));
    let target = serve_challenge(&stage.origin, &service);
    (stage, service, target)
}

#[test]
fn one_token_serves_all_requests_of_repository() {
    let (stage, service, target) = stage_with_service();
    service.serve(&target, token_reply("one", 300));
    let paths: Vec<_> = (0..8)
        .map(|seed| stage.serve_blob(&archive(seed, 2000)))
        .collect();
    for answer in all_at_once(16, |at| stage.get(&paths[at % 8])) {
        answer.assert_status(200);
    }
    let tag = stage.serve_tag("latest", &manifest("x"));
    stage.get(&tag).assert_status(200);
    for path in paths.iter().chain([&tag]) {
        let asked = stage.origin.requests(path);
        assert_eq!(asked.len(), 1, "{path}");
        assert_eq!(asked[0].header("authorization"), Some("Bearer one"));
    }
    assert_eq!(service.asked(), std::slice::from_ref(&target));
    assert_eq!(service.count(&target), 1);
    assert_eq!(service.request(&target).header("authorization"), None);
    assert_eq!(stage.origin.count("/v2/"), 1);
}

#[test]
fn token_does_not_follow_redirect() {
    let (stage, service, target) = stage_with_service();
    service.serve(&target, token_reply("secret", 300));
    let blob = archive(1, 5000);
    let path = stage.serve_blob(&blob);
    service.serve("/storage/1?signature=x", Reply::file(&blob));
    let location = service.url("/storage/1?signature=x");
    stage.origin.serve(&path, Reply::redirect(307, &location));
    stage.get(&path).assert_body(200, &blob);
    stage.await_stored(&path);
    let stored = service.request("/storage/1?signature=x");
    assert_eq!(stored.header("authorization"), None);
    stage.origin.shut_down();
    service.shut_down();
    stage.get(&path).assert_body(200, &blob);
}

#[test]
fn client_credentials_stay_at_gateway() {
    let (stage, service, target) = stage_with_service();
    service.serve(&target, token_reply("own", 300));
    let path = stage.serve_blob(&archive(1, 5000));
    let request = stage.gateway.request("GET", &path);
    let answer = request.header("Authorization", "Bearer theirs").send();
    answer.assert_status(200);
    let asked = stage.origin.request(&path);
    assert_eq!(asked.header("authorization"), Some("Bearer own"));
    assert_eq!(service.request(&target).header("authorization"), None);
}

#[test]
fn old_token_is_replaced() {
    let (stage, service, target) = stage_with_service();
    // A token is used for 0.8 of its life, so that one without a life is used once.
    service.script(
        &target,
        vec![token_reply("one", 0), token_reply("two", 300)],
    );
    for (seed, token) in [(1, "Bearer one"), (2, "Bearer two"), (3, "Bearer two")] {
        let path = stage.serve_blob(&archive(seed, 2000));
        stage.get(&path).assert_status(200);
        let asked = stage.origin.request(&path);
        assert_eq!(asked.header("authorization"), Some(token));
    }
    assert_eq!(service.count(&target), 2);
}

#[test]
fn denial_of_token_is_remembered() {
    let (stage, service, target) = stage_with_service();
    service.serve(&target, Reply::status(401));
    for seed in 0..3 {
        let path = stage.serve_blob(&archive(seed, 2000));
        assert_refused(&stage.get(&path), 404, "BLOB_UNKNOWN");
        assert_eq!(stage.origin.count(&path), 0);
    }
    assert_eq!(service.count(&target), 1);
}

#[test]
fn refused_token_is_forgotten() {
    let (stage, service, target) = stage_with_service();
    let tokens = vec![token_reply("revoked", 300), token_reply("new", 300)];
    service.script(&target, tokens);
    let (first, second) = (archive(1, 2000), archive(2, 2000));
    let path = stage.serve_blob(&first);
    stage.origin.serve(&path, Reply::status(401));
    assert_refused(&stage.get(&path), 404, "BLOB_UNKNOWN");
    let path = stage.serve_blob(&second);
    stage.get(&path).assert_body(200, &second);
    let asked = stage.origin.request(&path);
    assert_eq!(asked.header("authorization"), Some("Bearer new"));
}

#[test]
fn stored_content_needs_no_token() {
    let (stage, service, target) = stage_with_service();
    service.serve(&target, token_reply("one", 0));
    let (blob, manifest) = (archive(1, 2000), manifest("stored"));
    let (path, tag) = (stage.serve_blob(&blob), stage.serve_tag("x", &manifest));
    stage.get(&path).assert_body(200, &blob);
    stage.get(&tag).assert_body(200, &manifest);
    stage.await_stored(&path);
    stage.origin.shut_down();
    service.shut_down();
    stage.get(&path).assert_body(200, &blob);
    stage.get(&tag).assert_body(200, &manifest);
}

#[test]
fn invalid_token_answers_are_reported() {
    for reply in [
        Reply::ok(&b"{}"[..].into()),
        Reply::ok(&b"<html>"[..].into()),
        Reply::ok(&b"{\"token\": \"two\\r\\nlines\"}"[..].into()),
        Reply::ok(&vec![b'x'; 200_000].into()),
    ] {
        let (stage, service, target) = stage_with_service();
        service.serve(&target, reply);
        let path = stage.serve_blob(&archive(1, 2000));
        assert_refused(&stage.get(&path), 502, "UNKNOWN");
        assert_eq!(stage.origin.count(&path), 0);
    }
}

#[test]
fn token_service_is_bound_by_policy() {
    let service = Origin::start();
    // The port of the service is not in `policy.ports`.
    let stage = RegistryStage::new("");
    let target = serve_challenge(&stage.origin, &service);
    service.serve(&target, token_reply("one", 300));
    let path = stage.serve_blob(&archive(1, 2000));
    assert_refused(&stage.get(&path), 403, "DENIED");
    assert_eq!(service.connections(), 0);
}

#[test]
fn login_of_rule_is_used() {
    let rule = "host = \"127.0.0.1\"\nscheme = \"http\"\nauthorization = \"Basic YTpi\"";
    let stage = RegistryStage::with("", |builder| builder.rule(rule));
    let path = stage.serve_blob(&archive(1, 2000));
    let tag = stage.serve_tag("latest", &manifest("x"));
    stage.get(&path).assert_status(200);
    stage.get(&tag).assert_status(200);
    for path in ["/v2/", &path, &tag] {
        let asked = stage.origin.request(path);
        assert_eq!(asked.header("authorization"), Some("Basic YTpi"), "{path}");
    }
}

#[test]
fn denial_without_token_affects_no_image() {
    let (stage, service, target) = stage_with_service();
    service.serve(&target, token_reply("one", 300));
    let blob = archive(1, 2000);
    let path = stage.serve_blob(&blob);
    let replies = vec![Reply::status(401), Reply::file(&blob)];
    stage.origin.script(&path, replies);
    // The URL prefix sends no token.
    let denied = stage.gateway.get(&stage.origin.url(&path)).send();
    denied.assert_status(502);
    stage.get(&path).assert_body(200, &blob);
}
