//! The operators' page: live blocks, search, stories, and escaping.

mod access;
mod upkeep;

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use self::access::assert_page_headers;
use crate::harness::{
    DEADLINE, Gate, Gateway, Origin, Reply, Request, Streaming, archive, encoded, eventually,
    sha256,
};

const READER: &str = "a-token-of-a-reader";
const PATH: &str = "/pub/x-1.0.tar.gz";

/// Blocks of the page in their order.
const BLOCKS: [&str; 14] = [
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
    "images",
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
fn silent_peer_is_on_the_page() {
    let gateway = Gateway::builder()
        .text("cluster.secret", "a secret of all nodes")
        .set("cluster.peers", "[\"http://127.0.0.1:1\"]")
        .set("gateway.reader_tokens", &format!("[{READER:?}]"))
        .start();
    let mut view = View::open(&as_reader(&gateway, "/ui/live"));
    let nodes = view.await_text("nodes", "silent");
    for text in ["http://127.0.0.1:1", "Received", "Sent"] {
        assert!(nodes.contains(text), "{text}: {nodes}");
    }
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
fn search_needs_all_words() {
    let origin = Origin::start();
    let gateway = with_reader(&origin);
    for (seed, path) in [
        "/pub/Foo-1.0.tar.gz",
        "/pub/foo-2.0.tar.gz",
        "/bar/x-1.0.tar.gz",
    ]
    .into_iter()
    .enumerate()
    {
        let body = archive(seed as u64, 3000);
        origin.serve(path, Reply::file(&body));
        gateway.assert_serves(&origin.url(path), &body);
        gateway.await_stored(&origin.url(path));
    }
    let found = |query: &str| {
        let path = format!("/ui/search?q={}", encoded(query));
        let html = as_reader(&gateway, &path).send().text();
        html.matches("data-story=").count()
    };
    eventually("the records are read", || {
        (found("tar.gz") == 3).then_some(())
    });
    let all_and_more = "tar gz foo pub 127 http .0 :// nothing";
    for (query, count) in [
        ("foo", 2),
        ("FOO  1.0", 1),
        ("2.0 foo pub", 1),
        ("foo bar", 0),
        ("*", 0),
        ("foo%", 0),
        // The ninth word is ignored.
        (all_and_more, 2),
    ] {
        assert_eq!(found(query), count, "{query}");
    }
    let path = format!("/ui/search?q={}", "a".repeat(9000));
    let refused = as_reader(&gateway, &path).send();
    assert!(
        [400, 414, 431].contains(&refused.status),
        "{}",
        refused.status
    );
    for query in ["q=a&q=b", "q=a&more=1", "more=1", "q=%ff"] {
        let path = format!("/ui/search?{query}");
        as_reader(&gateway, &path).send().assert_problem(400);
    }
    for query in ["", "period=2h", "period=1h&period=1h", "period=1h&more=1"] {
        let path = format!("/ui/chart?{query}");
        as_reader(&gateway, &path).send().assert_problem(400);
    }
    for query in [
        "",
        "url=",
        "url=x%20y",
        "url=file:///etc/passwd",
        "url=http://a/b&more=1",
    ] {
        let path = format!("/ui/target?{query}");
        as_reader(&gateway, &path).send().assert_problem(400);
    }
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
