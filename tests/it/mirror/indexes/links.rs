//! Links of rewritten indexes: their scheme, other files than packages, and stated digests.

use serde_json::{Value, json};

use super::stage::{IndexStage, document, gateway_of};
use crate::harness::{Answer, Gateway, Origin, Reply, marked};

const PROVENANCE: &str = "/integrity/tiny/1.0/tiny-1.0-py3-none-any.whl/provenance";

/// Returns the JSON document of a response of any status and media type.
fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text())
        .unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

#[test]
fn links_have_scheme_of_trusted_proxy() {
    let origin = Origin::start();
    let package = json!({"dist": {"tarball": "/npm/tiny/-/tiny-1.0.0.tgz"}}).to_string();
    origin.serve(
        "/npm/tiny",
        document("application/json", package.as_bytes()),
    );
    let config = r#"{"dl":"https://crates.example.org/{crate}"}"#;
    let config = document("application/json", config.as_bytes());
    origin.serve("/index/config.json", config);
    for (trusted, stated, scheme) in [
        ("[\"127.0.0.1/32\"]", "https", "https"),
        ("[\"127.0.0.1/32\"]", "HTTPS", "https"),
        ("[\"127.0.0.1/32\"]", "http", "http"),
        ("[\"127.0.0.1/32\"]", "javascript", "http"),
        ("[]", "https", "http"),
    ] {
        let builder = Gateway::builder()
            .set("gateway.trusted_proxies", trusted)
            .set("policy.allow_clients", "[\"0.0.0.0/0\"]");
        let gateway = gateway_of(builder.origin(&origin), &origin).start();
        let get = |path: &str| {
            let request = gateway
                .request("GET", path)
                .header("Host", "mill.example.org");
            let request = request.header("X-Forwarded-For", "192.0.2.1");
            let answer = request.header("X-Forwarded-Proto", stated).send();
            answer.assert_status(200);
            answer.json()
        };
        let front = format!("{scheme}://mill.example.org/");
        let tarball = get("/mirror/npm/tiny")["dist"]["tarball"].to_string();
        assert!(
            tarball.starts_with(&format!("\"{front}")),
            "{trusted} {stated}: {tarball}"
        );
        let dl = get("/mirror/cargo/config.json")["dl"].to_string();
        assert!(
            dl.starts_with(&format!("\"{front}")),
            "{trusted} {stated}: {dl}"
        );
    }
}

#[test]
fn provenance_is_served_by_gateway() {
    let stage = IndexStage::new();
    let url = stage.origin.url(PROVENANCE);
    let attestation = json!({"version": 1, "attestation_bundles": []}).to_string();
    let reply = document(
        "application/vnd.pypi.integrity.v1+json",
        attestation.as_bytes(),
    );
    stage.origin.serve(PROVENANCE, reply);
    let media_type = "application/vnd.pypi.simple.v1+json";
    let file = "/files/tiny-1.0-py3-none-any.whl";
    let page = json!({"meta": {"api-version": "1.3"}, "name": "tiny", "files": [
        {"filename": "a.whl", "url": file, "hashes": {}, "provenance": url},
        {"filename": "b.whl", "url": file, "hashes": {}, "provenance": null}]});
    let reply = document(media_type, page.to_string().as_bytes());
    stage.origin.serve("/simple/tiny/", reply);
    let request = stage.gateway.request("GET", "/mirror/pypi/simple/tiny/");
    let found = json_of(&request.header("Accept", media_type).send());
    let link = found["files"][0]["provenance"]
        .as_str()
        .expect("the link is text");
    let front = stage.gateway.url("");
    let path = link
        .strip_prefix(&front)
        .expect("the link is whole, and of the gateway");
    stage.get(path).assert_body(200, attestation.as_bytes());
    assert!(found["files"][1]["provenance"].is_null());
}

#[test]
fn digest_that_link_states_is_checked() {
    let stage = IndexStage::new();
    let wheel = marked(b"PK\x03\x04", 6, 3000);
    let file = "/files/tiny-2.0-py3-none-any.whl";
    stage.origin.serve(file, Reply::file(&wheel));
    let url = stage.origin.url(file);
    let wrong = format!("sha256:{}", "ab".repeat(32));
    let refused = stage.get(&format!("/mirror/pypi/files/-/-/{wrong}/{url}"));
    assert_ne!(refused.body, wheel[..], "{}", refused.status);
    let answer = stage.get(&format!("/mirror/pypi/files/-/-/{url}"));
    answer.assert_body(200, &wheel);
}

#[test]
fn other_methods_name_the_registry() {
    let stage = IndexStage::new();
    for (method, path) in [
        ("POST", "/mirror/npm/-/npm/v1/security/advisories/bulk"),
        ("PUT", "/mirror/npm/tiny"),
        ("POST", "/mirror/pypi/simple/"),
    ] {
        let request = stage.gateway.request(method, path);
        let answer = request.body(b"{}").send();
        answer.assert_problem(405);
        assert_eq!(answer.wants("allow"), "GET, HEAD");
        assert!(
            answer.text().contains("URL of the registry itself"),
            "{}",
            answer.text()
        );
    }
    // npm shows this member only, whatever it has accepted.
    let request = stage
        .gateway
        .request("POST", "/mirror/npm/-/npm/v1/security/audits/quick");
    let answer = json_of(&request.header("Accept", "*/*").body(b"{}").send());
    assert!(answer["error"].to_string().contains("audit"), "{answer}");
    stage.origin.serve("/npm/missing", Reply::status(404));
    let missing = json_of(&stage.get("/mirror/npm/missing"));
    assert!(missing["error"].is_string(), "{missing}");
    assert_eq!(stage.origin.total(), 1);
}

#[test]
fn links_of_page_have_bound() {
    let stage = IndexStage::new();
    // Each short link stands for a URL of 7,000 bytes.
    let base = format!(
        "<base href=\"https://h.example.org/{}/\">",
        "x".repeat(7000)
    );
    let page = base + &"<a href=x>".repeat(100_000);
    stage
        .origin
        .serve("/simple/tiny/", document("text/html", page.as_bytes()));
    let answer = stage.get("/mirror/pypi/simple/tiny/");
    answer.assert_problem(502);
    assert!(answer.text().contains("too long"), "{}", answer.text());
}
