//! The operators' page: headers, tokens, live blocks, search, stories, and escaping.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Instant;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::harness::{
    Answer, DEADLINE, Gate, Gateway, Origin, Reply, Request, Streaming, archive, encoded,
    eventually, sha256,
};

const READER: &str = "a-token-of-a-reader";
const PATH: &str = "/pub/x-1.0.tar.gz";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; \
    base-uri 'none'";

/// Blocks of the page in their order.
const BLOCKS: [&str; 13] = [
    "readiness",
    "incidents",
    "hits",
    "traffic",
    "fetches",
    "failures",
    "disk",
    "bucket",
    "changed",
    "mismatches",
    "costs",
    "nodes",
    "jobs",
];

fn with_reader(origin: &Origin) -> Gateway {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .set("gateway.reader_tokens", &format!("[{READER:?}]"))
        .start()
}

fn as_reader(gateway: &Gateway, path: &str) -> Request {
    let request = gateway.request("GET", path);
    request.header("Authorization", &format!("Bearer {READER}"))
}

/// A view of the live blocks.
struct View {
    stream: Streaming,
    rights: String,
    blocks: BTreeMap<String, String>,
}

impl View {
    #[track_caller]
    fn open(request: &Request) -> Self {
        let mut view = Self {
            stream: request.open(),
            rights: String::new(),
            blocks: BTreeMap::new(),
        };
        assert_eq!(view.stream.head.status, 200);
        let rights = view.line()["rights"].as_str().expect("rights").to_owned();
        view.rights = rights;
        view
    }

    fn line(&mut self) -> Value {
        loop {
            let mut line = Vec::new();
            while line.last() != Some(&b'\n') {
                line.extend(self.stream.read(1));
            }
            if line != b"\n" {
                return serde_json::from_slice(&line).expect("each line is JSON");
            }
        }
    }

    /// Reads changes until the markup of a block has a text.
    #[track_caller]
    fn await_text(&mut self, block: &str, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(html) = self.blocks.get(block)
                && html.contains(text)
            {
                return html.clone();
            }
            assert!(
                Instant::now() < deadline,
                "{block} lacks {text}: {:?}",
                self.blocks.get(block)
            );
            let line = self.line();
            for (id, html) in line["blocks"].as_object().expect("blocks") {
                let html = html.as_str().expect("markup").to_owned();
                self.blocks.insert(id.clone(), html);
            }
        }
    }
}

fn assert_page_headers(answer: &Answer, cache_control: &str) {
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

#[test]
fn blocks_show_the_numbers_of_metrics() {
    let origin = Origin::start();
    let body = archive(1, 20_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = with_reader(&origin);
    let url = origin.url(PATH);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    for _ in 0..3 {
        gateway.assert_serves(&url, &body);
    }
    let mut view = View::open(&as_reader(&gateway, "/ui/live"));
    let hits = view.await_text("hits", "75.0 %");
    assert!(hits.contains("since start"));
    for block in BLOCKS {
        assert!(view.blocks.contains_key(block), "{block}");
    }
    let metrics = gateway.request("GET", "/metrics").send().text();
    assert!(
        metrics.contains("millpond_downloads_total{outcome=\"hit\"} 3"),
        "{metrics}"
    );
    let stats = gateway.request("GET", "/api/v1/stats").send().json();
    assert_eq!(stats["since_start"]["hit_ratio"], json!(0.75));
    // 4 times 20,000 bytes were served, and fetched once.
    view.await_text("traffic", "78.1 KiB");
    view.await_text("traffic", "19.5 KiB");
    view.await_text("costs", "127.0.0.1");
    view.await_text("readiness", "ready");
    view.await_text("nodes", "this node");
    view.await_text("bucket", "No bucket is configured.");
    view.await_text("disk", "eviction begins at");
}

#[test]
fn running_fetch_shows_its_progress() {
    let origin = Origin::start();
    let body = archive(2, 400_000);
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&body).gate_at(200_000, &gate));
    let gateway = with_reader(&origin);
    let url = origin.url(PATH);
    let client = gateway.get(&url).open();
    let mut view = View::open(&as_reader(&gateway, "/ui/live"));
    let running = view.await_text("fetches", "of 390 KiB");
    assert!(running.contains(&url), "{running}");
    let source = format!("http://127.0.0.1:{}", origin.port());
    assert!(running.contains(&source), "{running}");
    assert!(running.contains("<td>origin</td>"), "{running}");
    // The API lists the same fetch with the same numbers.
    let fetches = as_reader(&gateway, "/api/v1/fetches").send().json();
    assert_eq!(fetches["total"], json!(1));
    assert_eq!(fetches["fetches"][0]["size_bytes"], json!(400_000));
    assert_eq!(fetches["fetches"][0]["source"], json!("origin"));
    gate.open();
    client.finish().assert_body(200, &body);
    view.await_text("fetches", "No fetch is running.");
}

#[test]
fn failures_and_changes_show_and_are_decided() {
    let origin = Origin::start();
    let (old, new) = (archive(3, 9000), archive(4, 9000));
    let url = origin.url(PATH);
    origin.script(PATH, vec![Reply::file(&old), Reply::file(&new)]);
    origin.serve("/page-1.0.tar.gz", Reply::html());
    let gateway = with_reader(&origin);
    let mut view = View::open(&as_reader(&gateway, "/ui/live"));
    gateway.assert_serves(&url, &old);
    gateway.await_stored(&url);
    let refresh = format!("/api/v1/refresh?url={}", encoded(&url));
    gateway.operate("POST", &refresh).send().assert_status(200);
    let changed = view.await_text("changed", &sha256(&new));
    assert!(changed.contains(&sha256(&old)) && changed.contains("data-act=\"accept\""));
    view.await_text("incidents", "Compare both digests below");
    gateway.get(&origin.url("/page-1.0.tar.gz")).send();
    view.await_text("mismatches", "wrong_file_type");
    view.await_text("failures", "127.0.0.1");
    // The page refuses a change with a pin of the old bytes.
    let pin = format!("/api/v1/pins?url={}&sha256={}", encoded(&url), sha256(&old));
    gateway.operate("PUT", &pin).send().assert_status(200);
    view.await_text("changed", "all are decided");
}

#[test]
fn search_and_story_show_a_target() {
    let origin = Origin::start();
    let body = archive(5, 9000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = with_reader(&origin);
    let url = origin.url(PATH);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    for query in ["X-1.0", &url, &sha256(&body), &sha256(&body)[..10]] {
        let path = format!("/ui/search?q={}", encoded(query));
        let found = as_reader(&gateway, &path).send();
        found.assert_status(200);
        assert_page_headers(&found, "no-store");
        let html = found.text();
        assert!(html.contains("data-found=\"1\""), "{query}: {html}");
        assert!(html.contains(&format!("data-story=\"{url}\"")), "{html}");
    }
    // A target that is stored later is found as well.
    let later = archive(6, 9000);
    origin.serve("/pub/y-2.0.tar.gz", Reply::file(&later));
    gateway.assert_serves(&origin.url("/pub/y-2.0.tar.gz"), &later);
    eventually("the new target is found", || {
        let found = as_reader(&gateway, "/ui/search?q=y-2.0").send().text();
        found.contains("data-found=\"1\"").then_some(())
    });
    let story = as_reader(&gateway, &format!("/ui/target?url={}", encoded(&url))).send();
    story.assert_status(200);
    let html = story.text();
    for part in [
        "immutable, because of",
        &sha256(&body),
        "answers",
        "data-act=\"pin\"",
        "data-act=\"evict\"",
        "data-act=\"refresh\"",
        "data-act=\"import\"",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    let unknown = encoded("https://a.example/z-1.0.tar.gz");
    let story = as_reader(&gateway, &format!("/ui/target?url={unknown}")).send();
    assert!(story.text().contains("Nothing is stored under this URL."));
}

#[test]
fn hostile_names_stay_text() {
    let origin = Origin::start();
    let gateway = with_reader(&origin);
    let long = format!("/{}-1.0.tar.gz", "y".repeat(7000));
    let paths = [
        "/%22%3E%3Cscript%3Ealert(1)%3C/script%3E-1.0.tar.gz",
        "/x'onmouseover='alert(1)-1.0.tar.gz",
        "/javascript:alert(1)-1.0.tar.gz",
        "/%E2%80%AEgz.rat-1.0.tar.gz",
        "/&lt;img%20src=x%20onerror=alert(1)&gt;-1.0.tar.gz",
        &long,
    ];
    for path in paths {
        // Each of them fails, so that it is named in incidents and failures.
        gateway.get(&origin.url(path)).send();
    }
    let mut view = View::open(&as_reader(&gateway, "/ui/live"));
    view.await_text("incidents", "6 times");
    let last = view.await_text("failures", "<table");
    let mut shown: Vec<String> = view.blocks.values().cloned().collect();
    shown.push(last);
    for query in [
        "\"><script>alert(1)</script>",
        "https://a.example/\"><img src=x onerror=alert(1)>",
        "javascript:alert(1)",
        "https://a.example/\u{202e}x",
    ] {
        for path in ["search?q", "target?url"] {
            let path = format!("/ui/{path}={}", encoded(query));
            shown.push(as_reader(&gateway, &path).send().text());
        }
    }
    for html in shown {
        assert!(
            !html.contains("<script") && !html.contains("<img"),
            "{html}"
        );
        assert!(!html.contains('\u{202e}'), "{html}");
        assert!(!html.contains("href="), "{html}");
        assert!(html.len() < 200_000);
        // No attribute ends early.
        assert!(!html.contains(" onmouseover=") && !html.contains(" onerror="));
    }
}

#[test]
fn views_are_bounded_and_end_at_a_stop() {
    let origin = Origin::start();
    let mut gateway = with_reader(&origin);
    let mut views = Vec::new();
    let refused = loop {
        let answer = as_reader(&gateway, "/ui/live").start().head();
        if answer.head.status != 200 {
            break answer.finish();
        }
        views.push(answer);
        assert!(views.len() <= 32, "the views are bounded");
    };
    refused.assert_problem(503);
    assert_eq!(views.len(), 32);
    views.truncate(1);
    let last = views.pop().expect("one view is left");
    eventually("a place is free again", || {
        let answer = as_reader(&gateway, "/ui/live").start().head();
        (answer.head.status == 200).then_some(())
    });
    gateway.signal("TERM");
    last.finish();
    gateway.assert_clean_exit();
}
