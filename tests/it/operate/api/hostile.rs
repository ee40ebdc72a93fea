//! Each operation of the API with missing, huge and hostile arguments: a clear error, and nothing
//! has changed.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::harness::{Answer, Body, Gateway, Origin, Reply, archive, encoded, files_under, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Values that no parameter takes, or that only a text filter takes. They are percent-encoded.
const HOSTILE: [&str; 16] = [
    "",
    "%00",
    "%0d%0aX-Injected:%201",
    "%ff%fe",
    "%1b[31m",
    "..%2f..%2fetc%2fpasswd",
    "file:%2f%2f%2fetc%2fpasswd",
    "http:%2f%2f169.254.169.254%2flatest",
    "http:%2f%2f%5b::1",
    "-1",
    "0",
    "18446744073709551616",
    "1e400",
    "%27%20OR%201=1%20--",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "%e2%80%aex",
];

/// Value that is as long as a request head may be.
const LONG_VALUE_BYTES: usize = 8000;

struct Site {
    gateway: Gateway,
    _origin: Origin,
    url: String,
    body: Body,
}

impl Site {
    /// Starts a gateway with one stored and pinned file.
    fn start() -> Self {
        let origin = Origin::start();
        let body = archive(1, 5000);
        origin.serve(PATH, Reply::file(&body));
        let gateway = Gateway::builder().origin(&origin).relay().one_attempt();
        let gateway = gateway.set("limits.requests_per_second", "0").start();
        let url = origin.url(PATH);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        let pin = format!("/api/v1/pins?url={}", encoded(&url));
        gateway.operate("PUT", &pin).send().assert_status(200);
        Self {
            gateway,
            _origin: origin,
            url,
            body,
        }
    }

    /// Returns what an operator could change: stored files with their bytes, and jobs.
    fn state(&self) -> (BTreeMap<String, Vec<u8>>, Value) {
        let mut files = BTreeMap::new();
        for folder in [
            "objects",
            "records",
            "pins",
            "observations",
            "quarantine",
            "compact",
            "catalog",
        ] {
            let folder = self.gateway.cache().join(folder);
            if !folder.is_dir() {
                continue;
            }
            for file in files_under(&folder) {
                let bytes = fs::read(&file).expect("the file can be read");
                files.insert(file.display().to_string(), bytes);
            }
        }
        let jobs = self.gateway.operate("GET", "/api/v1/jobs").send().json();
        (files, jobs)
    }

    #[track_caller]
    fn assert_unchanged(&self, before: &(BTreeMap<String, Vec<u8>>, Value), what: &str) {
        assert!(self.state() == *before, "{what} has changed something");
    }
}

/// Asserts that a refusal is one line, or that a list is empty. A write is always refused.
#[track_caller]
fn assert_harmless(answer: &Answer, is_write: bool, what: &str) {
    let status = answer.status;
    assert!(status < 500, "{what}: {status} {}", answer.text());
    assert!(!is_write || status >= 400, "{what}: {status}");
    assert!(answer.header("x-injected").is_none(), "{what}");
    if status >= 400 && !answer.text().is_empty() {
        let text = answer.text();
        let line = text.strip_suffix('\n').unwrap_or(&text);
        assert!(!line.contains(char::is_control), "{what}: {text:?}");
        assert!(line.chars().count() < 1000, "{what}: the error is long");
    }
}

/// Operation of the description, with its parameters.
struct Operation {
    method: String,
    path: String,
    /// Names of the parameters in the query.
    query: Vec<String>,
}

fn operations(gateway: &Gateway) -> Vec<Operation> {
    let document = gateway.request("GET", "/openapi.json").send().json();
    let paths = document["paths"].as_object().expect("there are paths");
    let mut operations = Vec::new();
    for (path, methods) in paths.iter().filter(|(path, _)| path.starts_with("/api/")) {
        for (method, operation) in methods.as_object().expect("there are methods") {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let query = parameters.filter(|parameter| parameter["in"] == "query");
            operations.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                query: query
                    .map(|parameter| parameter["name"].as_str().expect("a name").to_owned())
                    .collect(),
            });
        }
    }
    assert!(operations.len() > 20, "the description has operations");
    operations
}

#[test]
fn hostile_parameters_change_nothing() {
    let site = Site::start();
    let before = site.state();
    let long = "a".repeat(LONG_VALUE_BYTES);
    let values: Vec<&str> = HOSTILE.into_iter().chain([long.as_str()]).collect();
    for Operation {
        method,
        path,
        query,
    } in operations(&site.gateway)
    {
        let is_write = method != "GET" && method != "HEAD";
        // A follower of events gets no end.
        let bounded = if path.ends_with("/events") {
            "follow=false&"
        } else {
            ""
        };
        let mut targets = Vec::new();
        for value in &values {
            if let Some((start, end)) = path.split_once('{') {
                let (_, end) = end.split_once('}').expect("the parameter ends");
                targets.push(format!("{start}{value}{end}?{bounded}"));
            }
            let own = path.replace("{id}", "0123456789abcdef");
            let own = own.replace("{sha256}", &"0".repeat(64));
            for name in query.iter().filter(|name| *name != "follow") {
                targets.push(format!("{own}?{bounded}{name}={value}"));
                targets.push(format!("{own}?{bounded}{name}={value}&{name}={value}"));
            }
            if query.iter().any(|name| name == "follow") && !value.is_empty() {
                targets.push(format!("{own}?follow={value}"));
            }
            // This change has no parameter, so a request without one is right.
            if !path.ends_with("/draining") || !value.is_empty() {
                targets.push(format!("{own}?{bounded}{value}"));
            }
            targets.push(format!("{own}?{bounded}nonsense={value}"));
        }
        for target in targets {
            let what = format!("{method} {}", &target[..target.len().min(200)]);
            let answer = site.gateway.operate(&method, &target).send();
            assert_harmless(&answer, is_write, &what);
        }
        site.assert_unchanged(&before, &format!("{method} {path}"));
    }
    site.gateway
        .assert_serves(&site.url, &site.body)
        .assert_cache(&["hit"]);
}

#[test]
fn unknown_and_repeated_parameters_are_refused() {
    let site = Site::start();
    for Operation {
        method,
        path,
        query,
    } in operations(&site.gateway)
    {
        let own = path.replace("{id}", "0123456789abcdef");
        let own = own.replace("{sha256}", &"0".repeat(64));
        let ask = |query: &str| {
            site.gateway
                .operate(&method, &format!("{own}?{query}"))
                .send()
        };
        assert_eq!(ask("nonsense=1").status, 400, "{method} {path}");
        for name in query {
            let answer = ask(&format!("{name}=1&{name}=1"));
            assert_eq!(
                answer.status,
                400,
                "{method} {path} {name}: {}",
                answer.text()
            );
        }
    }
}

#[test]
fn hostile_orders_start_no_job() {
    let site = Site::start();
    let before = site.state();
    let url = &site.url;
    let many: Vec<String> = (0..100_001)
        .map(|n| format!("http://example.org/{n}.0.gz"))
        .collect();
    let deep = "[".repeat(100_000);
    let huge = format!(
        "{{\"kind\": \"fetch\", \"list\": \"{}\"}}",
        "x".repeat(17 << 20)
    );
    let orders = [
        json!({}),
        json!([]),
        json!(null),
        json!({"kind": "fetch"}),
        json!({"kind": "evict", "targets": []}),
        json!({"kind": "evict", "list": "# only a comment\n\n"}),
        json!({"kind": "migrate", "targets": [url]}),
        json!({"kind": "migrate", "to": "disk"}),
        json!({"kind": "migrate", "to": "nowhere"}),
        json!({"kind": "migrate", "to": ["disk"]}),
        json!({"kind": "evict", "to": "disk", "targets": [url]}),
        json!({"kind": "EVICT", "targets": [url]}),
        json!({"kind": ["evict"], "targets": [url]}),
        json!({"kind": "evict", "targets": url}),
        json!({"kind": "evict", "targets": [url, 7]}),
        json!({"kind": "evict", "targets": [url, "file:///etc/passwd"]}),
        json!({"kind": "evict", "targets": [url, "/etc/passwd"]}),
        json!({"kind": "evict", "targets": [url, "http://"]}),
        json!({"kind": "evict", "targets": [url, "\u{0}"]}),
        json!({"kind": "evict", "targets": [url, format!("http://a/{}", "a".repeat(100_000))]}),
        json!({"kind": "evict", "targets": [url], "concurrency": 0}),
        json!({"kind": "evict", "targets": [url], "concurrency": 65}),
        json!({"kind": "evict", "targets": [url], "concurrency": -1}),
        json!({"kind": "evict", "targets": [url], "concurrency": 1.5}),
        json!({"kind": "evict", "targets": [url], "concurrency": "4"}),
        json!({"kind": "evict", "targets": [url], "nonsense": 1}),
        json!({"kind": "evict", "targets": many}),
        json!({"kind": "scrub", "targets": [format!("{}  {url}", "g".repeat(64))]}),
    ];
    let texts = orders.iter().map(Value::to_string);
    let broken = [
        "",
        "{",
        "kind=evict",
        "\u{feff}{}",
        deep.as_str(),
        huge.as_str(),
    ];
    for order in texts.chain(broken.map(str::to_owned)) {
        let request = site.gateway.operate("POST", "/api/v1/jobs");
        let answer = request.body(order.as_bytes()).send();
        let what = format!("order {}", &order[..order.len().min(100)]);
        assert_harmless(&answer, true, &what);
    }
    site.assert_unchanged(&before, "an order");
}

#[test]
fn hostile_lists_import_nothing() {
    let site = Site::start();
    let before = site.state();
    let digest = "a".repeat(64);
    let huge = format!("{digest}  x-1.0.tar.gz\n").repeat(220_000);
    assert!(huge.len() > 16 << 20);
    let long = format!("{digest}  {}\n", "x".repeat(100_000));
    for (format, list) in [
        ("sums", "x-1.0.tar.gz\n"),
        ("sums", "zz  x-1.0.tar.gz\n"),
        ("sums", &format!("{digest}  x\0y.tar.gz\n")),
        ("sums", &format!("{digest}  x-1.0.tar.gz\nnonsense\n")),
        ("sums", &format!("{digest}  ../../etc/passwd\u{1b}[31m\n")),
        ("sums", &long),
        ("sums", &huge),
        ("sums", "<html>no list</html>"),
        ("nonsense", &format!("{digest}  x-1.0.tar.gz\n")),
        ("", &format!("{digest}  x-1.0.tar.gz\n")),
        ("gentoo-manifest", "DIST x-1.0.tar.gz many SHA512 00\n"),
        ("fedora-sources", "SHA512 (x-1.0.tar.gz) = 00\n"),
    ] {
        let request = site
            .gateway
            .operate("PUT", &format!("/api/v1/catalog?format={format}"));
        let answer = request.body(list.as_bytes()).send();
        let what = format!("{format} {}", &list[..list.len().min(100)]);
        assert_harmless(&answer, true, &what);
    }
    site.assert_unchanged(&before, "a list");
}

#[test]
fn hostile_imports_store_nothing() {
    let site = Site::start();
    let before = site.state();
    let new = encoded("https://example.org/new-1.0.tar.gz");
    let bytes = archive(2, 3000);
    let wrong = "0".repeat(64);
    for (query, field, value, body) in [
        (String::new(), "x-ignored", "1", &*bytes),
        ("url=".to_owned(), "x-ignored", "1", &bytes),
        (
            format!("url={}", encoded("file:///etc/passwd")),
            "x-ignored",
            "1",
            &bytes,
        ),
        (format!("url={new}&force=perhaps"), "x-ignored", "1", &bytes),
        (
            format!("url={new}"),
            "x-expected-sha256",
            wrong.as_str(),
            &bytes,
        ),
        (format!("url={new}"), "x-expected-sha256", "short", &bytes),
        (format!("url={new}"), "x-expected-md5", "0123", &bytes),
        (
            format!("url={new}"),
            "x-ignored",
            "1",
            b"<html>no archive</html>",
        ),
        (format!("url={new}"), "x-ignored", "1", b""),
        (
            format!("url={new}&sha256={}", sha256(&bytes)),
            "x-ignored",
            "1",
            &bytes,
        ),
    ] {
        let request = site
            .gateway
            .operate("PUT", &format!("/api/v1/objects?{query}"));
        let answer = request.header(field, value).body(body).send();
        assert_harmless(&answer, true, &format!("PUT {query} {field} {value}"));
    }
    site.assert_unchanged(&before, "an import");
}
