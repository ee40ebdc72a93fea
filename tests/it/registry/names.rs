//! Names of registries and repositories, and requests that the gateway does not serve.

use crate::harness::{Gateway, Origin, Reply, archive};
use crate::registry::stage::{NAME, RegistryStage, assert_refused, document};

const DIGEST: &str = "sha256:abababababababababababababababababababababababababababababababab";

#[test]
fn registries_are_named_in_three_ways() {
    let (origin, hub) = (Origin::start(), Origin::start());
    let gateway = Gateway::builder()
        .origin(&origin)
        .origin(&hub)
        .registry(NAME, &origin.url(""), "aliases = [\"reg\"]")
        .registry(
            "hub.example.org",
            &hub.url(""),
            "default = true\nlibrary = true",
        )
        .start();
    let blob = archive(1, 5000);
    let digest = format!("sha256:{}", crate::harness::sha256(&blob));
    let library = format!("/v2/library/debian/blobs/{digest}");
    let own = format!("/v2/mill/app/blobs/{digest}");
    hub.serve(&library, Reply::file(&blob));
    origin.serve(&own, Reply::file(&blob));
    for path in [
        format!("/v2/debian/blobs/{digest}"),
        library.clone(),
        format!("/v2/debian/blobs/{digest}?ns=hub.example.org"),
        format!("/v2/hub.example.org/debian/blobs/{digest}"),
        format!("{own}?ns={NAME}"),
        format!("/v2/reg/mill/app/blobs/{digest}"),
        format!("/v2/{NAME}/mill/app/blobs/{digest}"),
    ] {
        let answer = gateway.request("GET", &path).send();
        answer.assert_body(200, &blob);
    }
    for (origin, path) in [(&hub, &library), (&origin, &own)] {
        assert_eq!((origin.count("/v2/"), origin.count(path)), (1, 1));
        assert_eq!(origin.total(), 2);
    }
}

#[test]
fn no_client_chooses_host_to_ask() {
    let stage = RegistryStage::new("");
    let other = Origin::start();
    let address = other.address();
    for path in [
        format!("/v2/a/b/blobs/{DIGEST}?ns={address}"),
        format!("/v2/a/b/manifests/latest?ns={address}"),
        format!("/v2/{address}/b/blobs/{DIGEST}"),
        format!("/v2/a/../../{address}/manifests/latest"),
        format!("/v2/@{address}/manifests/latest"),
        format!("/v2/a%40{address}/manifests/latest"),
    ] {
        let answer = stage.get(&path);
        answer.assert_status(404);
        let code = document(&answer)["errors"][0]["code"].clone();
        assert!(
            code == "NAME_UNKNOWN" || code == "NAME_INVALID",
            "{path}: {code}"
        );
    }
    assert_eq!((other.connections(), stage.origin.total()), (0, 0));
}

#[test]
fn version_is_served_without_registry() {
    let stage = RegistryStage::new("");
    for path in ["/v2", "/v2/", "/v2/?ns=x"] {
        let answer = stage.get(path);
        answer.assert_body(200, b"{}");
        assert_eq!(
            answer.wants("docker-distribution-api-version"),
            "registry/2.0"
        );
        assert_eq!(answer.header("www-authenticate"), None);
    }
    stage.head("/v2/").assert_body(200, b"");
    assert_eq!(stage.origin.total(), 0);
}

#[test]
fn unsupported_requests_have_registry_errors() {
    let stage = RegistryStage::new("");
    for (path, code) in [
        ("/v2/a/tags/list", "UNSUPPORTED"),
        ("/v2/_catalog", "UNSUPPORTED"),
        (
            "/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e",
            "DIGEST_INVALID",
        ),
        ("/v2/a/manifests/.x", "MANIFEST_UNKNOWN"),
        ("/v2/A/manifests/x", "NAME_INVALID"),
    ] {
        assert_refused(&stage.get(path), 404, code);
    }
    for (method, path) in [
        ("POST", "/v2/a/blobs/uploads/"),
        ("PUT", "/v2/a/manifests/latest"),
        ("PATCH", "/v2/a/blobs/uploads/1"),
        ("DELETE", "/v2/a/manifests/latest"),
    ] {
        let answer = stage.gateway.request(method, path).body(b"x").send();
        assert_refused(&answer, 405, "UNSUPPORTED");
        assert_eq!(answer.wants("allow"), "GET, HEAD");
    }
    assert_eq!(stage.origin.total(), 0);
}

#[test]
fn gateway_without_registries_has_no_endpoint() {
    let gateway = Gateway::builder().start();
    for path in ["/v2/", "/v2/a/manifests/latest"] {
        let answer = gateway.request("GET", path).send();
        answer.assert_status(404);
        assert_eq!(answer.header("docker-distribution-api-version"), None);
    }
}

#[test]
fn reload_replaces_registries() {
    let origin = Origin::start();
    let blob = archive(2, 5000);
    let digest = crate::harness::sha256(&blob);
    let path = format!("/v2/mill/app/blobs/sha256:{digest}");
    origin.serve(&path, Reply::file(&blob));
    let mut gateway = Gateway::builder().origin(&origin).start();
    let get = |gateway: &Gateway| gateway.request("GET", &path).send();
    get(&gateway).assert_status(404);
    gateway.reload(|builder| builder.registry(NAME, &origin.url(""), "default = true"));
    gateway.log().wait_for("the reload", |event| {
        event["message"] == "the configuration was reloaded"
    });
    get(&gateway).assert_body(200, &blob);
}
