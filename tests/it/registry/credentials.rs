//! Credentials for registries: tried in order after a request without a login, and sent to the
//! registry and its token service only.

use std::fs;

use serde_json::json;

use crate::harness::{Origin, Reply, all_at_once, archive, millpond};
use crate::registry::stage::{RegistryStage, assert_refused, manifest};

const LOGINS: &str = "allow_private = [\"127.0.0.0/8\"]\n\
    credentials = [{ username = \"first\", password = \"pw-1\" },\n\
    { username = \"second\", password = \"pw-2\" }]";

/// `first:pw-1` and `second:pw-2`.
const BASIC_1: &str = "Basic Zmlyc3Q6cHctMQ==";
const BASIC_2: &str = "Basic c2Vjb25kOnB3LTI=";

const TOKEN: &str = "/token?service=registry&scope=repository%3Amill%2Fapp%3Apull";

fn token_reply(token: &str) -> Reply {
    let document = json!({"access_token": token, "expires_in": 300});
    Reply::ok(&document.to_string().into_bytes().into())
}

/// Starts a registry that asks for the tokens of another origin.
fn with_token_service(keys: &str) -> (RegistryStage, Origin) {
    let service = Origin::start();
    let stage = RegistryStage::with(keys, |builder| builder.origin(&service));
    let realm = service.url("/token");
    let challenge = format!("Bearer realm=\"{realm}\",service=\"registry\"");
    let reply = Reply::status(401).header("WWW-Authenticate", &challenge);
    stage.origin.serve("/v2/", reply);
    (stage, service)
}

/// Starts a registry that asks for a user name and a password.
fn with_passwords(keys: &str) -> RegistryStage {
    let stage = RegistryStage::new(keys);
    let reply = Reply::status(401).header("WWW-Authenticate", "Basic realm=\"registry\"");
    stage.origin.serve("/v2/", reply);
    stage
}

/// Returns the logins with which a target was asked for. Empty for a request without one.
fn logins(origin: &Origin, target: &str) -> Vec<String> {
    let asked = origin.requests(target).into_iter();
    asked
        .map(|asked| asked.header("authorization").unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn credentials_are_tried_in_order() {
    let (stage, service) = with_token_service(LOGINS);
    let denied = || Reply::status(401);
    service.script(TOKEN, vec![denied(), denied(), token_reply("good")]);
    let paths: Vec<_> = (0..6)
        .map(|seed| stage.serve_blob(&archive(seed, 2000)))
        .collect();
    for answer in all_at_once(12, |at| stage.get(&paths[at % 6])) {
        answer.assert_status(200);
    }
    // The denials and the token are kept.
    let tag = stage.serve_tag("latest", &manifest("private"));
    stage.get(&tag).assert_status(200);
    assert_eq!(logins(&service, TOKEN), ["", BASIC_1, BASIC_2]);
    for path in paths.iter().chain([&tag]) {
        assert_eq!(logins(&stage.origin, path), ["Bearer good"], "{path}");
    }
}

#[test]
fn public_image_needs_no_credential() {
    let (stage, service) = with_token_service(LOGINS);
    service.serve(TOKEN, token_reply("anonymous"));
    let path = stage.serve_blob(&archive(1, 2000));
    stage.get(&path).assert_status(200);
    assert_eq!(logins(&service, TOKEN), [""]);
    // It is stored for everyone.
    stage.await_stored(&path);
}

#[test]
fn registry_may_deny_token_of_its_service() {
    let (stage, service) = with_token_service(LOGINS);
    service.script(TOKEN, vec![token_reply("none"), token_reply("first")]);
    let (blob, manifest) = (archive(1, 2000), manifest("x"));
    let path = stage.serve_blob(&blob);
    stage
        .origin
        .script(&path, vec![Reply::status(401), Reply::file(&blob)]);
    stage.get(&path).assert_body(200, &blob);
    let asked = logins(&stage.origin, &path);
    assert_eq!(asked, ["Bearer none", "Bearer first"]);
    assert_eq!(logins(&service, TOKEN), ["", BASIC_1]);
    // The repository is not asked for without a login again.
    let tag = stage.serve_tag("latest", &manifest);
    stage.get(&tag).assert_body(200, &manifest);
    assert_eq!(logins(&stage.origin, &tag), ["Bearer first"]);
}

#[test]
fn old_token_is_renewed_before_next_credential() {
    let (stage, service) = with_token_service(LOGINS);
    service.script(TOKEN, vec![token_reply("old"), token_reply("new")]);
    stage
        .get(&stage.serve_blob(&archive(1, 2000)))
        .assert_status(200);
    let blob = archive(2, 2000);
    let path = stage.serve_blob(&blob);
    stage
        .origin
        .script(&path, vec![Reply::status(401), Reply::file(&blob)]);
    stage.get(&path).assert_body(200, &blob);
    let asked = logins(&stage.origin, &path);
    assert_eq!(asked, ["Bearer old", "Bearer new"]);
    assert_eq!(logins(&service, TOKEN), ["", ""]);
}

#[test]
fn all_denials_are_remembered() {
    let (stage, service) = with_token_service(LOGINS);
    service.serve(TOKEN, Reply::status(401));
    for seed in 0..3 {
        let path = stage.serve_blob(&archive(seed, 2000));
        assert_refused(&stage.get(&path), 404, "BLOB_UNKNOWN");
        assert_eq!(stage.origin.count(&path), 0);
    }
    assert_eq!(service.count(TOKEN), 3);
}

#[test]
fn password_answers_basic_challenge() {
    let stage = with_passwords(LOGINS);
    let (blob, manifest) = (archive(1, 2000), manifest("basic"));
    let path = stage.serve_blob(&blob);
    let denied = || Reply::status(401);
    stage
        .origin
        .script(&path, vec![denied(), denied(), Reply::file(&blob)]);
    stage.get(&path).assert_body(200, &blob);
    let asked = logins(&stage.origin, &path);
    assert_eq!(asked, ["", BASIC_1, BASIC_2]);
    let tag = stage.serve_tag("latest", &manifest);
    stage.get(&tag).assert_body(200, &manifest);
    assert_eq!(logins(&stage.origin, &tag), [BASIC_2]);
    assert_eq!(stage.origin.count("/v2/"), 1);
}

#[test]
fn password_does_not_follow_redirect() {
    let storage = Origin::start();
    let stage = RegistryStage::with(LOGINS, |builder| builder.origin(&storage));
    let challenge = Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\"");
    stage.origin.serve("/v2/", challenge);
    let blob = archive(1, 5000);
    let path = stage.serve_blob(&blob);
    let location = storage.url("/1?signature=x");
    let replies = vec![Reply::status(401), Reply::redirect(307, &location)];
    stage.origin.script(&path, replies);
    storage.serve("/1?signature=x", Reply::file(&blob));
    stage.get(&path).assert_body(200, &blob);
    assert_eq!(logins(&stage.origin, &path), ["", BASIC_1]);
    assert_eq!(logins(&storage, "/1?signature=x"), [""]);
}

#[test]
fn identity_token_is_exchanged() {
    let keys = "allow_private = [\"127.0.0.0/8\"]\n\
        credentials = [{ identity_token = \"id&en/tity\" }]";
    let (stage, service) = with_token_service(keys);
    service.serve(TOKEN, Reply::status(401));
    service.serve("/token", token_reply("exchanged"));
    let path = stage.serve_blob(&archive(1, 2000));
    stage.get(&path).assert_status(200);
    assert_eq!(logins(&stage.origin, &path), ["Bearer exchanged"]);
    let asked = service.request("/token");
    assert_eq!(asked.method, "POST");
    let content_type = asked.header("content-type");
    assert_eq!(content_type, Some("application/x-www-form-urlencoded"));
    let form = String::from_utf8(asked.body).expect("a form is text");
    assert_eq!(
        form,
        "grant_type=refresh_token&client_id=millpond&scope=repository%3Amill%2Fapp%3Apull\
         &refresh_token=id%26en%2Ftity&service=registry"
    );
}

#[test]
fn passwords_are_read_and_never_shown() {
    let stage = RegistryStage::with("", |builder| {
        let file = builder.folder().join("password");
        fs::write(&file, "S3CRET\n").expect("the folder is writable");
        let keys = format!(
            "allow_private = [\"127.0.0.0/8\"]\ncredentials = [{{ username = \"mill\", \
             password_file = \"{}\" }}]",
            file.display()
        );
        builder.text("log.level", "debug").registry(
            "private.example.org",
            "http://127.0.0.1:9",
            &keys,
        )
    });
    let path = "/v2/private.example.org/mill/app/manifests/latest";
    let answer = stage.get(path);
    assert!(answer.status >= 400, "{}", answer.status);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = stage.gateway.file();
    let file = file.to_str().expect("the path is text");
    let shown = millpond(folder.path(), &["check-config", "--show", "--config", file]);
    shown.assert_success();
    assert!(shown.stdout.contains("password_file"), "{}", shown.stdout);
    for text in [&shown.stdout, &answer.text(), &stage.gateway.log().text()] {
        // The second one is the value of `Authorization`.
        for secret in ["S3CRET", "bWlsbDpTM0NSRVQ"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
