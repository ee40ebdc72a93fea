//! Rewritten indexes below `/mirror/`: their links, digests, validators and failures, and real
//! clients with the texts of `render-config`, again while upstream is away.

mod cargo;
mod codings;
mod large;
mod links;
mod npm;
mod pip;
mod stage;

use serde_json::{Value, json};

use crate::harness::{Body, Gateway, Origin, Reply, marked, millpond, sha256};
use stage::{IndexStage, document, gateway_of};

const WHEEL: &str = "/files/tiny-1.0-py3-none-any.whl";

/// Returns bytes that begin like a wheel.
fn wheel(seed: u64, size: usize) -> Body {
    marked(b"PK\x03\x04", seed, size)
}

/// Serves the project `tiny` with one file of these bytes. The index states the digest of `listed`.
fn serve_project(origin: &Origin, listed: &[u8], wheel: &Body) {
    let page = format!(
        "<!DOCTYPE html><title>x</title><a href=\"../..{WHEEL}#sha256={}\" \
         data-core-metadata=\"sha256={}\">tiny</a>\n",
        sha256(listed),
        sha256(b"metadata")
    );
    origin.serve("/simple/tiny/", document("text/html", page.as_bytes()));
    origin.serve(WHEEL, Reply::file(wheel));
}

fn href_of(page: &str) -> String {
    let (_, rest) = page.split_once("href=\"").expect("the page has a link");
    let (link, _) = rest.split_once('"').expect("the link ends");
    link.to_owned()
}

#[test]
fn links_of_project_lead_to_checked_files() {
    let stage = IndexStage::new();
    let wheel = wheel(1, 50_000);
    serve_project(&stage.origin, &wheel, &wheel);
    let page = stage.get("/mirror/pypi/simple/Tiny/");
    page.assert_status(200);
    assert_eq!(page.wants("content-type"), "text/html");
    let link = href_of(&page.text());
    let (path, fragment) = link.split_once('#').expect("the link has a fragment");
    assert_eq!(fragment, format!("sha256={}", sha256(&wheel)));
    let file = stage.get(path);
    assert_eq!(file.status, 200);
    assert_eq!(file.body, wheel[..]);
    // pip encodes colons when it resolves a link.
    let encoded = path.replace(':', "%3A");
    assert_eq!(stage.get(&encoded).body, wheel[..]);
    stage.gateway.await_stored(&stage.origin.url(WHEEL));
    assert_eq!(stage.origin.count(WHEEL), 1);
    // The same target by its URL, and with a digest that is not its own.
    stage
        .gateway
        .get(&stage.origin.url(WHEEL))
        .send()
        .assert_cache(&["hit"]);
    let other = path.replace(&sha256(&wheel), &"ab".repeat(32));
    stage.get(&other).assert_status(409);
}

#[test]
fn other_bytes_than_index_states_are_refused() {
    let stage = IndexStage::new();
    let wheel = wheel(2, 50_000);
    serve_project(&stage.origin, b"other bytes", &wheel);
    let link = href_of(&stage.get("/mirror/pypi/simple/tiny/").text());
    let path = link.split('#').next().expect("a text has a first part");
    let refused = stage.get(path);
    assert!(
        refused.status == 409 || refused.body.len() < wheel.len(),
        "{} with {} bytes",
        refused.status,
        refused.body.len()
    );
    // The metadata has a digest of its own, and a signature has none.
    stage.origin.serve(
        &format!("{WHEEL}.metadata"),
        Reply::ok(&b"metadata"[..].into()),
    );
    let metadata = stage.get(&format!("{path}.metadata"));
    metadata.assert_body(200, b"metadata");
    stage
        .origin
        .serve(&format!("{WHEEL}.asc"), Reply::ok(&signature()));
    stage
        .get(&format!("{path}.asc"))
        .assert_body(200, &signature());
    let wrong = path.replace(&sha256(b"metadata"), &"cd".repeat(32));
    let wrong = stage.get(&format!("{wrong}.metadata"));
    assert_ne!(wrong.body, b"metadata", "{}", wrong.status);
}

fn signature() -> Body {
    let text = "-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n";
    text.as_bytes().into()
}

#[test]
fn rewritten_index_has_own_validator() {
    let stage = IndexStage::new();
    let wheel = wheel(3, 1000);
    serve_project(&stage.origin, &wheel, &wheel);
    let path = "/mirror/pypi/simple/tiny/";
    let first = stage.get(path);
    assert_eq!(first.header("last-modified"), None);
    assert_eq!(first.header("repr-digest"), None);
    assert_eq!(first.wants("content-length"), first.body.len().to_string());
    assert!(first.wants("vary").to_ascii_lowercase().contains("accept"));
    let etag = first.wants("etag").to_owned();
    let conditional = |etag: &str| {
        let request = stage.gateway.request("GET", path);
        request
            .header("If-None-Match", etag)
            .header("Range", "bytes=0-5")
            .send()
    };
    for known in [etag.clone(), format!("\"x\", W/{etag}"), "*".to_owned()] {
        let answer = conditional(&known);
        answer.assert_body(304, b"");
        assert_eq!(answer.wants("etag"), etag);
    }
    // The validator of upstream is one of another document.
    let upstream = stage::etag_of_upstream(&stage.origin, "/simple/tiny/");
    conditional(&upstream).assert_body(200, &first.body);
    let head = stage.gateway.request("HEAD", path).send();
    head.assert_status(200);
    assert_eq!(head.wants("etag"), etag);
    assert_eq!(head.wants("content-length"), first.wants("content-length"));
    assert!(head.body.is_empty());
    // Upstream is asked each time, by its own validator.
    let asked = stage.origin.requests("/simple/tiny/");
    assert_eq!(asked.len(), 7);
    assert_eq!(asked[6].header("if-none-match"), Some(upstream.as_str()));
    assert_eq!(asked[6].header("range"), None);
    serve_project(&stage.origin, b"new", &marked(b"PK\x03\x04", 4, 10));
    let changed = conditional(&etag);
    changed.assert_status(200);
    assert_ne!(changed.wants("etag"), etag);
    // The stored response of upstream has its own bytes.
    let plain = stage.gateway.get(&stage.origin.url("/simple/tiny/")).send();
    assert!(
        plain.text().contains(&format!("href=\"../..{WHEEL}")),
        "{}",
        plain.text()
    );
    let latest = changed.body.clone();
    stage.origin.shut_down();
    let later = stage.get(path);
    later.assert_body(200, &latest);
    assert!(later.wants("cache-status").contains("detail=stale"));
}

#[test]
fn json_project_has_links_and_digests() {
    let stage = IndexStage::new();
    let wheel = wheel(5, 1000);
    let page = json!({"meta": {"api-version": "1.1"}, "name": "tiny", "files": [{
        "filename": "tiny-1.0-py3-none-any.whl", "url": stage.origin.url(WHEEL),
        "hashes": {"sha256": sha256(&wheel)}, "core-metadata": {"sha256": sha256(b"metadata")}}]});
    let media_type = "application/vnd.pypi.simple.v1+json";
    stage.origin.serve(
        "/simple/tiny/",
        document(media_type, page.to_string().as_bytes()),
    );
    stage.origin.serve(WHEEL, Reply::file(&wheel));
    let accept = format!("{media_type}, application/vnd.pypi.simple.v1+html; q=0.1, text/html");
    let request = stage.gateway.request("GET", "/mirror/pypi/simple/tiny/");
    let answer = request
        .header("Accept", &accept)
        .header("Accept-Encoding", "gzip")
        .send();
    assert_eq!(answer.wants("content-type"), media_type);
    let asked = stage.origin.request("/simple/tiny/");
    assert!(
        asked
            .header("accept")
            .is_some_and(|sent| sent.starts_with(media_type))
    );
    assert_ne!(asked.header("accept-encoding"), Some("gzip"));
    let found: Value = serde_json::from_str(&answer.text()).expect("the page is JSON");
    let link = found["files"][0]["url"].as_str().expect("a file has a URL");
    assert!(link.starts_with("/mirror/pypi/files/sha256-"), "{link}");
    assert_eq!(stage.get(link).body, wheel[..]);
}

#[test]
fn list_of_projects_leads_to_projects() {
    let stage = IndexStage::new();
    let page = "<a href=\"/simple/tiny/\">tiny</a><a href=\"/about\">x</a>";
    stage
        .origin
        .serve("/simple/", document("text/html", page.as_bytes()));
    let found = stage.get("/mirror/pypi/simple").text();
    let wanted = "<a href=\"/mirror/pypi/simple/tiny/\">tiny</a><a href=\"/about\">x</a>";
    assert_eq!(found, wanted);
}

#[test]
fn invalid_index_is_error_of_upstream() {
    let stage = IndexStage::new();
    let large = vec![b' '; 65 << 20];
    for (path, reply, status) in [
        ("/npm/list", document("application/json", b"[1]"), 502),
        (
            "/npm/cut",
            document("application/json", b"{\"versions\":"),
            502,
        ),
        ("/npm/large", document("application/json", &large), 502),
        ("/npm/missing", Reply::status(404), 404),
        ("/npm/broken", Reply::status(500), 502),
        (
            "/simple/binary/",
            document("application/zip", b"PK\x03\x04"),
            502,
        ),
        (
            "/simple/latin/",
            document("text/html", b"<a href=\"\xe4\">"),
            502,
        ),
        (
            "/index/config.json",
            document("application/json", b"{\"api\":1}"),
            502,
        ),
    ] {
        stage.origin.serve(path, reply);
        let path = match path.strip_prefix("/index/") {
            Some(rest) => format!("/mirror/cargo/{rest}"),
            None => format!("/mirror{path}").replace("/mirror/simple", "/mirror/pypi/simple"),
        };
        stage.get(&path).assert_problem(status);
    }
    for (path, status) in [
        ("/mirror/pypi/", 404),
        ("/mirror/pypi/simple/a/b/", 404),
        ("/mirror/pypi/files/-/-/x", 404),
        ("/mirror/npm/a/../b", 400),
    ] {
        stage.get(path).assert_problem(status);
    }
}

#[test]
fn index_named_like_release_is_revalidated() {
    let stage = IndexStage::new();
    let package = "/npm/moment-1.2.3.js";
    for version in ["1.0.0", "2.0.0"] {
        let body = json!({"version": version, "dist": {"tarball": "/t-1.0.tgz"}}).to_string();
        stage
            .origin
            .serve(package, document("application/json", body.as_bytes()));
        let answer = stage.get(&format!("/mirror{package}"));
        answer.assert_status(200);
        assert!(answer.text().contains(version), "{}", answer.text());
    }
    assert_eq!(stage.origin.count(package), 2);
}

#[test]
fn missing_upstream_is_named() {
    let gateway = Gateway::builder().start();
    for (path, key) in [
        ("/mirror/pypi/simple/tiny/", "mirror.pypi_upstream"),
        ("/mirror/npm/tiny", "mirror.npm_upstream"),
        ("/mirror/cargo/config.json", "mirror.cargo_upstream"),
    ] {
        let answer = gateway.request("GET", path).send();
        answer.assert_problem(404);
        assert!(answer.text().contains(key), "{}", answer.text());
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = millpond(
        folder.path(),
        &[
            "check-config",
            "--set",
            "mirror.npm_upstream=ftp://npm.example.org",
        ],
    );
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("mirror.npm_upstream"), "{}", run.stderr);
}

#[test]
fn reload_changes_upstream_of_index() {
    let origin = Origin::start();
    origin.serve("/simple/tiny/", document("text/html", b"<p>x"));
    let mut gateway = Gateway::builder().origin(&origin).start();
    gateway.reload(|builder| gateway_of(builder, &origin));
    gateway.log().wait_for("the reload", |event| {
        event["message"] == "the configuration was reloaded"
    });
    let answer = gateway.request("GET", "/mirror/pypi/simple/tiny/").send();
    answer.assert_body(200, b"<p>x");
}
