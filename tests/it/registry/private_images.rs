//! Images that needed a credential: for the networks in `allow_private` only, wherever a client
//! asks for them.

use serde_json::json;

use crate::harness::{Answer, Body, Builder, Gate, Gateway, Reply, archive, sha256};
use crate::operate::jobs::{await_end, start};
use crate::registry::real_registry::{PASSWORD, RealRegistry, USER};
use crate::registry::stage::{NAME, RegistryStage, assert_refused, manifest};

const KEYS: &str = "tag_ttl = \"0s\"\nallow_private = [\"10.1.0.0/16\"]\n\
    credentials = [{ username = \"first\", password = \"pw-1\" }]";

const PERMITTED: &str = "10.1.2.3";
const OTHER: &str = "10.2.2.3";

/// Starts a registry that asks for a password, and a gateway that knows its clients by
/// `X-Forwarded-For`.
fn stage() -> RegistryStage {
    let stage = RegistryStage::with(KEYS, permitting);
    let reply = Reply::status(401).header("WWW-Authenticate", "Basic realm=\"registry\"");
    stage.origin.serve("/v2/", reply);
    stage
}

/// Knows clients by `X-Forwarded-For`.
fn permitting(builder: Builder) -> Builder {
    builder
        .set("gateway.trusted_proxies", "[\"127.0.0.0/8\"]")
        .set("policy.allow_clients", "[\"0.0.0.0/0\"]")
}

fn get(stage: &RegistryStage, client: &str, path: &str) -> Answer {
    let request = stage.gateway.request("GET", path);
    request.header("X-Forwarded-For", client).send()
}

/// Has a blob stored that the registry denies without a login. Returns its path.
fn store_private(stage: &RegistryStage, blob: &Body) -> String {
    let path = stage.serve_blob(blob);
    let replies = vec![Reply::status(401), Reply::file(blob)];
    stage.origin.script(&path, replies);
    get(stage, PERMITTED, &path).assert_body(200, blob);
    stage.await_stored(&format!("{path}?millpond-private"));
    // Nothing is given without a login from now on.
    stage.origin.serve(&path, Reply::status(401));
    path
}

#[test]
fn private_image_is_served_to_permitted_clients_only() {
    let mut stage = stage();
    let blob = archive(1, 5000);
    let path = store_private(&stage, &blob);
    for _ in 0..2 {
        assert_refused(&get(&stage, OTHER, &path), 404, "DENIED");
        let asked = stage.origin.count(&path);
        get(&stage, PERMITTED, &path).assert_body(200, &blob);
        assert_eq!(stage.origin.count(&path), asked);
        // The marks are those of the files.
        stage.gateway.restart();
    }
    stage.origin.shut_down();
    get(&stage, PERMITTED, &path).assert_body(200, &blob);
    assert_refused(&get(&stage, OTHER, &path), 404, "DENIED");
}

#[test]
fn no_other_endpoint_serves_private_image() {
    let stage = stage();
    let blob = archive(2, 5000);
    let path = store_private(&stage, &blob);
    let (url, hex) = (stage.origin.url(&path), sha256(&blob));
    for path in [
        format!("/{url}?millpond-private"),
        format!("/{url}%3Fmillpond-private"),
        format!("/?url={url}%3Fmillpond-private"),
        format!("/{url}"),
        format!("/mirror/nix/sha256/{hex}"),
        format!("/sha256:{hex}/{url}?millpond-private"),
        format!("/sha256:{hex}/{url}"),
    ] {
        let answer = get(&stage, PERMITTED, &path);
        assert!(answer.status >= 400, "{path}: {}", answer.status);
        assert_ne!(answer.body[..], blob[..], "{path}");
    }
    let proxied = stage
        .gateway
        .proxied("GET", &format!("{url}?millpond-private"));
    proxied.send().assert_status(403);
    let by_digest = format!("/api/v1/objects/sha256/{hex}");
    get(&stage, OTHER, &by_digest).assert_status(404);
    get(&stage, PERMITTED, &by_digest).assert_body(200, &blob);
    let metalink = format!("{by_digest}/metalink");
    get(&stage, OTHER, &metalink).assert_status(404);
    let document = get(&stage, PERMITTED, &metalink);
    document.assert_status(200);
    // The location at the registry needs the credential.
    let text = String::from_utf8_lossy(&document.body);
    assert!(!text.contains(&url), "{text}");
}

#[test]
fn object_of_public_target_is_served_by_digest() {
    let stage = stage();
    let blob = archive(3, 5000);
    store_private(&stage, &blob);
    let public = "/pub/x-1.0.tar.gz";
    stage.origin.serve(public, Reply::file(&blob));
    let by_digest = format!("/api/v1/objects/sha256/{}", sha256(&blob));
    get(&stage, OTHER, &by_digest).assert_status(404);
    let rewritten = format!("/{}", stage.origin.url(public));
    get(&stage, OTHER, &rewritten).assert_body(200, &blob);
    stage.await_stored(public);
    get(&stage, OTHER, &by_digest).assert_body(200, &blob);
}

#[test]
fn running_fetch_of_private_image_is_not_joined() {
    let stage = stage();
    let blob = archive(4, 50_000);
    let path = stage.serve_blob(&blob);
    let gate = Gate::new();
    let held = Reply::file(&blob).gate_at(20_000, &gate);
    stage
        .origin
        .script(&path, vec![Reply::status(401), held, Reply::status(401)]);
    let request = stage.gateway.request("GET", &path);
    let waiting = request.header("X-Forwarded-For", PERMITTED).start();
    gate.await_reached(1);
    assert_refused(&get(&stage, OTHER, &path), 404, "DENIED");
    gate.open();
    waiting.head().finish().assert_body(200, &blob);
}

#[test]
fn private_tag_is_for_permitted_clients() {
    let stage = stage();
    let manifest = manifest("private");
    let path = stage.serve_tag("latest", &manifest);
    let ok = || crate::registry::stage::manifest_reply(&manifest);
    stage.origin.script(&path, vec![Reply::status(401), ok()]);
    get(&stage, PERMITTED, &path).assert_body(200, &manifest);
    stage.origin.serve(&path, Reply::status(401));
    assert_refused(&get(&stage, OTHER, &path), 404, "DENIED");
    // The last known tag is private, too.
    stage.origin.shut_down();
    let answer = get(&stage, PERMITTED, &path);
    answer.assert_body(200, &manifest);
    answer.assert_cache(&["hit", "detail=stale"]);
    assert_refused(&get(&stage, OTHER, &path), 404, "DENIED");
}

#[test]
fn private_referrers_are_for_permitted_clients() {
    let stage = stage();
    let subject = sha256(&manifest("private"));
    let path = format!("/v2/mill/app/referrers/sha256:{subject}");
    let list: Body = br#"{"schemaVersion":2,"manifests":[]}"#[..].into();
    let replies = vec![Reply::status(401), Reply::ok(&list)];
    stage.origin.script(&path, replies);
    get(&stage, PERMITTED, &path).assert_status(200);
    stage.origin.serve(&path, Reply::status(401));
    assert_refused(&get(&stage, OTHER, &path), 404, "DENIED");
    stage.origin.shut_down();
    get(&stage, PERMITTED, &path).assert_status(200);
    assert!(get(&stage, OTHER, &path).status >= 400);
}

#[test]
fn job_stores_private_image_for_permitted_clients() {
    let mut registry = RealRegistry::start_with_password();
    let keys = format!(
        "default = true\ntag_ttl = \"0s\"\nallow_private = [\"10.1.0.0/16\"]\n\
         credentials = [{{ username = \"{USER}\", password = \"{PASSWORD}\" }}]"
    );
    let gateway = permitting(Gateway::builder().port(registry.port()).one_attempt())
        .registry(NAME, &registry.url(""), &keys)
        .start();
    let image = format!("docker://{NAME}/mill/app:1.0");
    let order = json!({"kind": "fetch", "targets": [image]});
    let job = await_end(&gateway, &start(&gateway, &order));
    assert_eq!(
        (&job["state"], &job["failed"]),
        (&json!("succeeded"), &json!(0)),
        "{job}"
    );
    let images = gateway.operate("GET", "/api/v1/images").send().json();
    let listed = &images["images"][0];
    assert_eq!(listed["name"], format!("{NAME}/mill/app:1.0"), "{images}");
    assert_ne!(
        listed["platforms"][0]["size_bytes"],
        json!(null),
        "{images}"
    );
    let parts = registry
        .targets()
        .map(|part| part[registry.url("").len()..].to_owned());
    registry.stop();
    for path in parts
        .iter()
        .map(String::as_str)
        .chain(["/v2/mill/app/manifests/1.0"])
    {
        let get = |client: &str| {
            let request = gateway.request("GET", path);
            request.header("X-Forwarded-For", client).send()
        };
        get(PERMITTED).assert_status(200);
        assert_refused(&get(OTHER), 404, "DENIED");
    }
}

#[test]
fn credentials_without_networks_are_not_used() {
    let stage = RegistryStage::new("credentials = [{ username = \"a\", password = \"b\" }]");
    let reply = Reply::status(401).header("WWW-Authenticate", "Basic realm=\"registry\"");
    stage.origin.serve("/v2/", reply);
    let path = stage.serve_blob(&archive(5, 2000));
    stage.origin.serve(&path, Reply::status(401));
    assert_refused(&stage.get(&path), 404, "DENIED");
    assert_eq!(stage.origin.request(&path).header("authorization"), None);
}

#[test]
fn real_registry_with_password_gives_image() {
    let mut registry = RealRegistry::start_with_password();
    let keys = format!(
        "default = true\ntag_ttl = \"0s\"\nallow_private = [\"10.1.0.0/16\"]\n\
         credentials = [{{ username = \"{USER}\", password = \"wrong\" }},\n\
         {{ username = \"{USER}\", password = \"{PASSWORD}\" }}]"
    );
    let gateway = permitting(Gateway::builder().port(registry.port()).one_attempt())
        .registry(NAME, &registry.url(""), &keys)
        .start();
    let get = |client: &str, path: &str| {
        let request = gateway.request("GET", path);
        request.header("X-Forwarded-For", client).send()
    };
    let tag = "/v2/mill/app/manifests/1.0";
    let parts = registry.targets();
    for round in 0..2 {
        let answer = get(PERMITTED, tag);
        answer.assert_status(200);
        assert_eq!(answer.wants("docker-content-digest"), registry.digest());
        assert_refused(&get(OTHER, tag), 404, "DENIED");
        for part in &parts {
            let path = &part[registry.url("").len()..];
            get(PERMITTED, path).assert_status(200);
            assert_refused(&get(OTHER, path), 404, "DENIED");
        }
        if round == 0 {
            for part in &parts {
                gateway.await_stored(&format!("{part}?millpond-private"));
            }
            registry.stop();
        }
    }
}
