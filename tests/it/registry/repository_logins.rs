//! Registries whose `/v2/` is open, and whose repositories ask for a login: with the challenge of
//! the repository, and with the credentials for clients that may have private images.

use serde_json::json;

use crate::harness::{Body, Gate, Origin, Reply, all_at_once, archive, sha256};
use crate::registry::stage::{RegistryStage, assert_refused, manifest, manifest_reply};

const LOGIN: &str = "allow_private = [\"127.0.0.0/8\"]\n\
    credentials = [{ username = \"first\", password = \"pw-1\" }]";

/// `first:pw-1`.
const BASIC: &str = "Basic Zmlyc3Q6cHctMQ==";

const TOKEN: &str = "/token?service=registry&scope=repository%3Amill%2Fapp%3Apull";

/// Challenges of a repository, each a line of the header.
type Challenges<'a> = &'a [&'a str];

fn denied(challenges: Challenges<'_>) -> Reply {
    let reply = Reply::status(401);
    let add = |reply: Reply, value: &&str| reply.header("WWW-Authenticate", value);
    challenges.iter().fold(reply, add)
}

fn token_reply(token: &str) -> Reply {
    let document = json!({"token": token, "expires_in": 300});
    Reply::ok(&document.to_string().into_bytes().into())
}

/// Starts a registry and a token service that gives no token without the password. Returns the
/// challenge of the repositories, too.
fn with_token_service(keys: &str) -> (RegistryStage, Origin, String) {
    let service = Origin::start();
    let stage = RegistryStage::with(keys, |builder| builder.origin(&service));
    stage.origin.serve("/v2/", Reply::ok(&b"{}"[..].into()));
    service.script(TOKEN, vec![Reply::status(401), token_reply("good")]);
    let realm = service.url("/token");
    let challenge = format!("Bearer realm=\"{realm}\",service=\"registry\"");
    (stage, service, challenge)
}

fn with_passwords(keys: &str) -> RegistryStage {
    let stage = RegistryStage::new(keys);
    stage.origin.serve("/v2/", Reply::ok(&b"{}"[..].into()));
    stage
}

/// Makes a registry deny the first request for a path.
fn deny_first(stage: &RegistryStage, path: &str, challenges: Challenges<'_>, then: Reply) {
    stage.origin.script(path, vec![denied(challenges), then]);
}

/// Returns the logins with which a target was asked for. Empty for a request without one.
fn logins(origin: &Origin, target: &str) -> Vec<String> {
    let asked = origin.requests(target).into_iter();
    asked
        .map(|asked| asked.header("authorization").unwrap_or_default().to_owned())
        .collect()
}

fn blob_path(blob: &Body) -> String {
    format!("/v2/mill/app/blobs/sha256:{}", sha256(blob))
}

/// Asks for a tag, a manifest by digest, a HEAD, a blob and the referrers, of which the first
/// request is denied. Checks that only this one is repeated, and that all others have `login`.
fn assert_login_used(stage: &RegistryStage, challenges: Challenges<'_>, login: &str, first: usize) {
    let (manifest, blob) = (manifest("private"), archive(7, 2000));
    let tag = stage.serve_tag("1.0", &manifest);
    let by_digest = stage.serve_manifest(&manifest);
    let other = self::manifest("other");
    let by_head = stage.serve_manifest(&other);
    let blob_path = stage.serve_blob(&blob);
    let index = json!({"schemaVersion": 2, "manifests": []}).to_string();
    let referrers = format!("/v2/mill/app/referrers/sha256:{}", sha256(&manifest));
    let referrers_reply = Reply::ok(&index.into_bytes().into());
    stage.origin.serve(&referrers, referrers_reply.clone());
    let paths = [&tag, &by_digest, &by_head, &blob_path, &referrers];
    let path = paths[first];
    let reply = match first {
        0 | 1 => manifest_reply(&manifest),
        2 => manifest_reply(&other),
        3 => Reply::file(&blob),
        _ => referrers_reply,
    };
    deny_first(stage, path, challenges, reply);
    for path in [path].iter().chain(&paths) {
        let answer = if **path == by_head {
            stage.head(path)
        } else {
            stage.get(path)
        };
        answer.assert_status(200);
    }
    for path in paths {
        for (at, used) in logins(&stage.origin, path).iter().enumerate() {
            let wanted = if path == paths[first] && at == 0 {
                ""
            } else {
                login
            };
            assert_eq!(used, wanted, "{path}");
        }
    }
    assert_eq!(logins(&stage.origin, path)[..2], ["", login], "{path}");
    assert_eq!(stage.origin.count(&blob_path), 1 + usize::from(first == 3));
    assert_eq!(stage.origin.count("/v2/"), 1);
}

#[test]
fn challenge_of_repository_gives_token() {
    for first in 0..5 {
        let (stage, service, challenge) = with_token_service(LOGIN);
        assert_login_used(&stage, &[&challenge], "Bearer good", first);
        assert_eq!(logins(&service, TOKEN), ["", BASIC], "{first}");
    }
}

#[test]
fn challenge_of_repository_gives_password() {
    for first in 0..5 {
        let stage = with_passwords(LOGIN);
        assert_login_used(&stage, &["Basic realm=\"x\""], BASIC, first);
    }
}

#[test]
fn public_repository_gives_token_without_credentials() {
    let (stage, service, challenge) = with_token_service("");
    service.script(TOKEN, vec![token_reply("anonymous")]);
    let blobs: Vec<_> = (0..4).map(|seed| archive(seed, 2000)).collect();
    let paths: Vec<_> = blobs.iter().map(|blob| stage.serve_blob(blob)).collect();
    deny_first(&stage, &paths[0], &[&challenge], Reply::file(&blobs[0]));
    stage.get(&paths[0]).assert_body(200, &blobs[0]);
    all_at_once(8, |at| stage.get(&paths[at % 4]).assert_status(200));
    assert_eq!(logins(&stage.origin, &paths[0]), ["", "Bearer anonymous"]);
    for path in &paths[1..] {
        assert_eq!(logins(&stage.origin, path), ["Bearer anonymous"]);
    }
    assert_eq!(logins(&service, TOKEN), [""]);
}

#[test]
fn concurrent_denials_cost_one_token() {
    const BLOBS: usize = 6;
    let (stage, service, challenge) = with_token_service(LOGIN);
    let gate = Gate::new();
    let blobs: Vec<_> = (1..).take(BLOBS).map(|seed| archive(seed, 2000)).collect();
    for blob in &blobs {
        let denied = denied(&[&challenge]).gate_before_head(&gate);
        let replies = vec![denied, Reply::file(blob)];
        stage.origin.script(&blob_path(blob), replies);
    }
    all_at_once(BLOBS + 1, |at| {
        if let Some(blob) = blobs.get(at) {
            stage.get(&blob_path(blob)).assert_body(200, blob);
        } else {
            gate.await_reached(BLOBS);
            gate.open();
        }
    });
    assert_eq!(logins(&service, TOKEN), ["", BASIC]);
    for blob in &blobs {
        let asked = logins(&stage.origin, &blob_path(blob));
        assert_eq!(asked, ["", "Bearer good"]);
    }
    assert_eq!(stage.origin.count("/v2/"), 1);
}

#[test]
fn private_repository_is_kept_from_other_clients() {
    let keys = "allow_private = [\"10.0.0.0/8\"]\n\
        credentials = [{ username = \"first\", password = \"pw-1\" }]";
    let stage = with_passwords(keys);
    let (blob, manifest) = (archive(1, 2000), manifest("x"));
    let (path, tag) = (stage.serve_blob(&blob), stage.serve_tag("1.0", &manifest));
    // The denial is remembered for the repository.
    for (path, asked) in [(&path, &[""][..]), (&tag, &[])] {
        stage.origin.serve(path, denied(&["Basic realm=\"x\""]));
        assert_refused(&stage.get(path), 404, "DENIED");
        assert_eq!(logins(&stage.origin, path), asked, "{path}");
    }
    let (stage, service, challenge) = with_token_service(keys);
    let path = stage.serve_blob(&blob);
    stage.origin.serve(&path, denied(&[&challenge]));
    assert_refused(&stage.get(&path), 404, "DENIED");
    assert_eq!(logins(&service, TOKEN), [""]);
}

#[test]
fn private_content_is_stored_apart() {
    let (stage, _service, challenge) = with_token_service(LOGIN);
    let blob = archive(1, 2000);
    deny_first(&stage, &blob_path(&blob), &[&challenge], Reply::file(&blob));
    stage.get(&blob_path(&blob)).assert_body(200, &blob);
    let url = stage.origin.url(&blob_path(&blob));
    stage
        .gateway
        .await_stored(&format!("{url}?millpond-private"));
    let prefixed = stage
        .gateway
        .get(&url)
        .header("Cache-Control", "only-if-cached");
    prefixed.send().assert_status(504);
}

#[test]
fn repositories_have_challenges_of_their_own() {
    let (stage, service, challenge) = with_token_service(LOGIN);
    let blob = archive(1, 2000);
    deny_first(&stage, &blob_path(&blob), &[&challenge], Reply::file(&blob));
    let other = format!("/v2/mill/other/blobs/sha256:{}", sha256(&blob));
    deny_first(&stage, &other, &["Basic realm=\"x\""], Reply::file(&blob));
    let open = format!("/v2/mill/open/blobs/sha256:{}", sha256(&blob));
    stage.origin.serve(&open, Reply::file(&blob));
    for (path, asked) in [
        (&blob_path(&blob), &["", "Bearer good"][..]),
        (&other, &["", BASIC]),
        (&open, &[""]),
    ] {
        stage.get(path).assert_body(200, &blob);
        assert_eq!(logins(&stage.origin, path), asked, "{path}");
    }
    assert_eq!(logins(&service, TOKEN), ["", BASIC]);
    assert_eq!(stage.origin.count("/v2/"), 1);
}

#[test]
fn challenge_of_repository_replaces_that_of_registry() {
    let (stage, service, challenge) = with_token_service(LOGIN);
    let blob = archive(1, 2000);
    stage.origin.serve("/v2/", denied(&["Basic realm=\"x\""]));
    deny_first(&stage, &blob_path(&blob), &[&challenge], Reply::file(&blob));
    stage.get(&blob_path(&blob)).assert_body(200, &blob);
    let asked = logins(&stage.origin, &blob_path(&blob));
    assert_eq!(asked, ["", "Bearer good"]);
    assert_eq!(logins(&service, TOKEN), ["", BASIC]);
}

#[test]
fn root_of_registry_may_be_missing() {
    for root in [Reply::status(403), Reply::status(404), Reply::status(401)] {
        let (stage, service, challenge) = with_token_service(LOGIN);
        stage.origin.serve("/v2/", root);
        let blob = archive(1, 2000);
        deny_first(&stage, &blob_path(&blob), &[&challenge], Reply::file(&blob));
        stage.get(&blob_path(&blob)).assert_body(200, &blob);
        assert_eq!(logins(&service, TOKEN), ["", BASIC]);
    }
}

#[test]
fn several_challenges_prefer_token() {
    let unusable = "Bearer realm=\"file:///etc/passwd\"";
    let basic = "Basic realm=\"a, b\"";
    for lines in [
        &[basic, "TOKEN"][..],
        &["TOKEN", basic],
        &["Basic realm=\"a, b\", TOKEN"],
        &["TOKEN, Basic realm=\"a, b\""],
        &["Bearer realm=\"file:///etc/passwd\", TOKEN"],
        &[unusable, "TOKEN"],
        &["Negotiate", "TOKEN"],
        &["Negotiate YIIB==", "TOKEN"],
        &["TOKEN, Negotiate YIIB=="],
    ] {
        let (stage, service, challenge) = with_token_service(LOGIN);
        let lines = lines.iter().map(|line| line.replace("TOKEN", &challenge));
        let lines: Vec<String> = lines.collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let blob = archive(1, 2000);
        deny_first(&stage, &blob_path(&blob), &lines, Reply::file(&blob));
        stage.get(&blob_path(&blob)).assert_body(200, &blob);
        assert_eq!(logins(&service, TOKEN), ["", BASIC], "{lines:?}");
    }
}

#[test]
fn unusable_challenges_are_denials() {
    let long = format!("Basic realm=\"{}\"", "x".repeat(5000));
    for lines in [
        &[][..],
        &["Digest realm=\"x\""],
        &["Bearer service=\"x\""],
        &["Bearer realm=\"/token\""],
        &["\"="],
        &[&long],
    ] {
        let stage = with_passwords(LOGIN);
        let path = blob_path(&archive(1, 2000));
        stage.origin.serve(&path, denied(lines));
        assert_refused(&stage.get(&path), 404, "BLOB_UNKNOWN");
        assert_eq!(logins(&stage.origin, &path), [""], "{lines:?}");
    }
}

#[test]
fn realm_of_repository_is_bound_by_policy() {
    let service = Origin::start();
    // The port of the service is not in `policy.ports`.
    let stage = with_passwords(LOGIN);
    let challenge = format!("Bearer realm=\"{}\"", service.url("/token"));
    let path = blob_path(&archive(1, 2000));
    stage.origin.serve(&path, denied(&[&challenge]));
    assert_refused(&stage.get(&path), 403, "DENIED");
    assert_eq!(service.connections(), 0);
}

#[test]
fn challenge_of_storage_is_ignored() {
    let blob = archive(1, 2000);
    for scheme in ["Bearer", "Basic"] {
        let (stage, service, challenge) = with_token_service(LOGIN);
        let path = blob_path(&blob);
        let location = service.url("/1?signature=x");
        stage.origin.serve(&path, Reply::redirect(307, &location));
        let challenge = challenge.replace("Bearer", scheme);
        service.serve("/1?signature=x", denied(&[&challenge]));
        assert_refused(&stage.get(&path), 404, "BLOB_UNKNOWN");
        assert_eq!(logins(&service, "/1?signature=x"), [""]);
        assert_eq!(logins(&stage.origin, &path), [""]);
        assert_eq!(service.count(TOKEN), 0);
    }
}
