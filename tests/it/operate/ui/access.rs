//! The operators' page: headers, assets, tokens and host names.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::{BLOCKS, PATH, View, as_reader, with_reader};
use crate::harness::{Answer, Gateway, Origin, encoded};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; \
    base-uri 'none'";

pub fn assert_page_headers(answer: &Answer, cache_control: &str) {
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", cache_control),
    ] {
        assert_eq!(answer.wants(name), value);
    }
}

#[test]
fn shell_shows_status_without_token() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let page = gateway.request("GET", "/ui/").send();
    page.assert_status(200);
    assert_page_headers(&page, "no-store");
    assert_eq!(page.wants("content-type"), "text/html; charset=utf-8");
    let html = page.text();
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        html.contains(&format!("ready, version {version}")),
        "{html}"
    );
    assert!(html.contains("<form id=\"sign-in\">"));
    // No inline script or style, and nothing from elsewhere.
    for (at, _) in html.match_indices("<script") {
        let tag = html[at..].split_once("</script>").expect("a script ends").0;
        assert!(tag.ends_with('>') && tag.contains("src=\""), "{tag}");
    }
    for word in [
        "<style", " style=", " onclick", " onload", "http:", "https:",
    ] {
        assert!(!html.contains(word), "{word}");
    }
    let mut at = 0;
    for block in BLOCKS {
        let place = format!("data-block=\"{block}\"");
        let found = html.find(&place).unwrap_or_else(|| panic!("{place}"));
        assert!(found > at, "{block} is in its order");
        at = found;
    }
    let bare = gateway.request("GET", "/ui").send();
    bare.assert_status(308);
    assert_eq!(bare.wants("location"), "/ui/");
    gateway
        .request("GET", "/ui/other")
        .send()
        .assert_problem(404);
    gateway.request("POST", "/ui/").send().assert_problem(405);
    assert_eq!(origin.total(), 0, "no path of the page is a target");
}

#[test]
fn assets_have_entity_tags_and_gzip() {
    let gateway = Gateway::builder().start();
    for (name, content_type) in [
        ("page.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("uplot.js", "text/javascript; charset=utf-8"),
        ("uplot.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let path = format!("/ui/{name}");
        let plain = gateway.request("GET", &path).send();
        plain.assert_status(200);
        assert_page_headers(&plain, "no-cache");
        assert_eq!(plain.wants("content-type"), content_type);
        let tag = plain.wants("etag").to_owned();
        assert!(tag.contains(env!("CARGO_PKG_VERSION")), "{tag}");
        let known = gateway.request("GET", &path).header("If-None-Match", &tag);
        known.send().assert_body(304, b"");
        let coded = gateway
            .request("GET", &path)
            .header("Accept-Encoding", "gzip");
        let coded = coded.send();
        if coded.header("content-encoding") == Some("gzip") {
            assert!(coded.body.len() < plain.body.len());
            assert_ne!(coded.wants("etag"), tag);
            let mut decoded = Vec::new();
            GzDecoder::new(&coded.body[..])
                .read_to_end(&mut decoded)
                .expect("gzip");
            assert_eq!(decoded, plain.body);
        } else {
            assert_eq!(coded.body, plain.body);
            assert!(plain.body.len() < 4096, "{name} is large");
        }
    }
}

#[test]
fn state_needs_a_token() {
    let origin = Origin::start();
    let gateway = with_reader(&origin);
    let target = format!("/ui/target?url={}", encoded(&origin.url(PATH)));
    for path in ["/ui/live", "/ui/chart?period=1h", "/ui/search?q=x", &target] {
        gateway.request("GET", path).send().assert_problem(401);
        let wrong = gateway.request("GET", path);
        let wrong = wrong.header("Authorization", "Bearer a-token-of-nobody");
        wrong.send().assert_problem(401);
    }
    assert_eq!(View::open(&as_reader(&gateway, "/ui/live")).rights, "read");
    assert_eq!(
        View::open(&gateway.operate("GET", "/ui/live")).rights,
        "operate"
    );
    // Wrong tokens count with those of the API.
    let refused = (0..50)
        .map(|_| {
            let request = gateway.request("GET", "/ui/live");
            let request = request.header("Authorization", "Bearer a-token-of-nobody");
            request.send()
        })
        .find(|answer| answer.status != 401)
        .expect("wrong tokens are bounded");
    refused.assert_problem(429);
}

#[test]
fn page_answers_under_known_names_only() {
    let gateway = Gateway::builder()
        .text("gateway.public_url", "http://sources.example.org:8080")
        .set("gateway.host_names", "[\"mill.example.net\"]")
        .start();
    for path in ["/ui/", "/ui/page.js"] {
        for known in ["sources.example.org", "mill.example.net:80", "127.0.0.1"] {
            let request = gateway.request("GET", path).header("Host", known);
            request.send().assert_status(200);
        }
        let unknown = gateway
            .request("GET", path)
            .header("Host", "page.example.com");
        unknown.send().assert_problem(421);
    }
}
