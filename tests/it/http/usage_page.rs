//! The page at `/`: how to use the gateway, as text and as HTML, under the name that was asked.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use crate::harness::{Answer, Gateway, Scene, archive, encoded};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn page(gateway: &Gateway, host: &str, accept: &str) -> Answer {
    let request = gateway.request("GET", "/");
    request.header("Host", host).header("Accept", accept).send()
}

#[test]
fn page_names_the_address_that_was_asked() {
    let gateway = Gateway::builder()
        .text("gateway.public_url", "https://sources.example.org/")
        .start();
    for (host, base) in [
        ("sources.example.org", "https://sources.example.org"),
        ("Sources.Example.ORG", "https://sources.example.org"),
        ("mirror.example.net:8080", "http://mirror.example.net:8080"),
        ("192.0.2.1", "http://192.0.2.1"),
        ("[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        // Valid in a host, and an entity or a quote in HTML.
        ("a&lt;b", "https://sources.example.org"),
        ("a'onload=b", "https://sources.example.org"),
    ] {
        for accept in [BROWSER, "*/*"] {
            let shown = page(&gateway, host, accept);
            shown.assert_status(200);
            let wanted = format!("wget {base}/https://example.org/x-1.0.tar.gz");
            assert!(shown.text().contains(&wanted), "{host}: {}", shown.text());
            assert_eq!(shown.wants("cache-control"), "no-store");
        }
    }
    let unnamed = Gateway::builder().start();
    let shown = page(&unnamed, "a&b", BROWSER);
    assert!(shown.text().contains("wget http://this-gateway/https://"));
}

#[test]
fn browsers_get_html_without_scripts() {
    let gateway = Gateway::builder().start();
    let html = page(&gateway, "x", BROWSER);
    assert_eq!(html.wants("content-type"), "text/html; charset=utf-8");
    let text = html.text();
    for word in ["<script", "onload", "style=", "://fonts", "src="] {
        assert!(!text.contains(word), "{word}");
    }
    let policy = html.wants("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    let (_, rest) = text.split_once("<style>").expect("the page has a style");
    let (style, _) = rest.split_once("</style>").expect("the style ends");
    let digest = BASE64_STANDARD.encode(Sha256::digest(style));
    assert!(
        policy.contains(&format!("style-src 'sha256-{digest}'")),
        "{policy}"
    );
    assert_eq!(html.wants("x-frame-options"), "DENY");
    for accept in ["*/*", "text/plain", "application/json"] {
        let plain = page(&gateway, "x", accept);
        assert_eq!(plain.wants("content-type"), "text/plain; charset=utf-8");
        assert!(!plain.text().contains('<') || plain.text().contains("<64 hex digits>"));
    }
}

#[test]
fn form_of_the_page_gets_a_file() {
    let (origin, gateway, body, _) = Scene::relaying("/x-1.0.tar.gz", archive(1, 5000));
    let html = page(&gateway, "x", BROWSER).text();
    assert!(html.contains("<form action=\"/\" method=\"get\">"));
    assert!(html.contains("name=\"url\""));
    let sent = format!("/?url={}", encoded(&origin.url("/x-1.0.tar.gz")));
    let got = gateway
        .request("GET", &sent)
        .header("Accept", BROWSER)
        .send();
    got.assert_body(200, &body);
}
