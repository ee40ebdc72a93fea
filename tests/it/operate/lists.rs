//! Lists of the API: filters, orders, pages and totals, and arguments that are no good.

use serde_json::{Value, json};

use crate::harness::{Gateway, Origin, Reply, archive, encoded, eventually, sha256};
use crate::operate::openapi::schema::Description;

const X: &str = "https://a.example/pub/x-1.0.tar.gz";
const Y: &str = "https://a.example/pub/y-2.0.tar.gz";
const Z: &str = "https://b.example/other/x-3.0.tar.gz";
const INDEX: &str = "https://b.example/list.json";

/// All targets with their sizes, in the order of their sizes.
const TARGETS: [(&str, usize); 4] = [(Y, 1000), (INDEX, 2000), (X, 3000), (Z, 5000)];

/// Imports all targets. X and the index stay pinned.
fn stocked() -> Gateway {
    let gateway = Gateway::builder().port(443).start();
    for (seed, (url, size_bytes)) in TARGETS.iter().enumerate() {
        let path = format!("/api/v1/objects?force=true&url={}", encoded(url));
        let request = gateway.operate("PUT", &path);
        let imported = request.body(&archive(seed as u64, *size_bytes)).send();
        imported.assert_status(201);
    }
    for url in [Y, Z] {
        let path = format!("/api/v1/pins?url={}", encoded(url));
        gateway.operate("DELETE", &path).send().assert_status(200);
    }
    gateway
}

fn get(gateway: &Gateway, path: &str) -> Value {
    let answer = gateway.operate("GET", &format!("/api/v1/{path}")).send();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let (value, resource) = (answer.json(), path.split('?').next().unwrap_or_default());
    let described = match resource.strip_prefix("jobs/") {
        Some(_) => "jobs/{id}",
        None => resource,
    };
    let description = Description::of(gateway);
    description.assert_describes(&format!("/api/v1/{described}"), &value);
    value
}

/// Returns the URLs of a list.
fn urls(page: &Value, list: &str) -> Vec<String> {
    let entries = page[list].as_array().expect("the page has a list");
    let urls = entries.iter().filter_map(|entry| entry["url"].as_str());
    urls.map(str::to_owned).collect()
}

fn sorted(mut urls: Vec<String>) -> Vec<String> {
    urls.sort();
    urls
}

#[test]
fn targets_are_filtered_by_each_fact() {
    let gateway = stocked();
    let digest = sha256(&archive(2, 3000));
    for (query, wanted) in [
        (String::new(), vec![X, Y, INDEX, Z]),
        ("host=A.Example".to_owned(), vec![X, Y]),
        ("prefix=https://a.example/pub/x".to_owned(), vec![X]),
        ("name=x-".to_owned(), vec![X, Z]),
        ("name=pub".to_owned(), vec![]),
        (format!("sha256={digest}"), vec![X]),
        (format!("sha256={}", "0".repeat(64)), vec![]),
        ("class=immutable".to_owned(), vec![X, Y, Z]),
        ("class=revalidate".to_owned(), vec![INDEX]),
        ("class=pass".to_owned(), vec![]),
        ("cached=true".to_owned(), vec![X, Y, INDEX, Z]),
        ("cached=false".to_owned(), vec![]),
        ("pinned=true".to_owned(), vec![X, INDEX]),
        ("pinned=false".to_owned(), vec![Y, Z]),
        ("newer_than=3600".to_owned(), vec![X, Y, INDEX, Z]),
        ("older_than=3600".to_owned(), vec![]),
        ("host=b.example&name=x&pinned=false".to_owned(), vec![Z]),
    ] {
        for list in ["objects", "targets"] {
            let page = get(&gateway, &format!("{list}?{query}"));
            assert_eq!(sorted(urls(&page, list)), wanted, "{list} {query}");
            assert_eq!(
                (&page["next"], &page["total"]),
                (&Value::Null, &Value::Null)
            );
        }
        let pinned: Vec<&str> = wanted
            .into_iter()
            .filter(|url| [X, INDEX].contains(url))
            .collect();
        let page = get(&gateway, &format!("pins?{query}"));
        assert_eq!(sorted(urls(&page, "pins")), pinned, "pins {query}");
    }
}

#[test]
fn pages_of_each_order_have_no_gaps() {
    let gateway = stocked();
    let by_size: Vec<&str> = TARGETS.iter().map(|(url, _)| *url).collect();
    let by_url = vec![X, Y, INDEX, Z];
    let reversed = |urls: &[&'static str]| urls.iter().rev().copied().collect::<Vec<_>>();
    // The targets were imported in the order of their sizes.
    for (sort, wanted) in [
        ("size", by_size.clone()),
        ("-size", reversed(&by_size)),
        ("url", by_url.clone()),
        ("-url", reversed(&by_url)),
        ("first_seen", by_size.clone()),
        ("-first_seen", reversed(&by_size)),
    ] {
        for limit in 1..=5 {
            let (mut found, mut after) = (Vec::new(), String::new());
            for _ in 0..5 {
                let path = format!("objects?sort={sort}&limit={limit}{after}");
                let page = get(&gateway, &path);
                let total = json!({
                    "targets": 4, "cached": 4, "cached_bytes": 11_000, "pinned": 2,
                });
                assert_eq!(page["total"], total, "{path}");
                let entries = urls(&page, "objects");
                assert!(!entries.is_empty() && entries.len() <= limit, "{path}");
                found.extend(entries);
                match page["next"].as_str() {
                    Some(next) => after = format!("&after={}", encoded(next)),
                    None => break,
                }
            }
            assert_eq!(found, wanted, "{sort} {limit}");
        }
    }
    let page = get(&gateway, "pins?sort=-size&limit=1");
    assert_eq!(urls(&page, "pins"), [X]);
    assert_eq!(page["pins"][0]["sha256"], sha256(&archive(2, 3000)));
    let next = encoded(page["next"].as_str().expect("there is another page"));
    let page = get(&gateway, &format!("pins?sort=-size&limit=1&after={next}"));
    assert_eq!(
        (urls(&page, "pins"), &page["next"]),
        (vec![INDEX.to_owned()], &Value::Null)
    );
    let page = get(&gateway, "objects?total=true&limit=1&host=a.example");
    let total = json!({"targets": 2, "cached": 2, "cached_bytes": 4000, "pinned": 1});
    assert_eq!((&page["total"], urls(&page, "objects").len()), (&total, 1));
}

#[test]
fn stats_have_totals_by_host() {
    let gateway = stocked();
    assert_eq!(get(&gateway, "stats")["hosts"], Value::Null);
    let host = |name: &str, targets: u64, bytes: u64| {
        json!({"host": name, "targets": targets, "cached": targets, "cached_bytes": bytes,
               "pinned": 1})
    };
    let (a, b) = (host("a.example", 2, 4000), host("b.example", 2, 7000));
    assert_eq!(get(&gateway, "stats?by=host")["hosts"], json!([b, a]));
    assert_eq!(get(&gateway, "stats?by=host&limit=1")["hosts"], json!([b]));
    // The hosts are those of other clients.
    let public = gateway.request("GET", "/api/v1/stats?by=host").send();
    public.assert_problem(401);
    let public = gateway.request("GET", "/api/v1/targets").send();
    public.assert_problem(401);
}

#[test]
fn incidents_are_filtered_sorted_and_paged() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .start();
    origin.serve("/e-1.0.tar.gz", Reply::status(500));
    let failing = origin.url("/e-1.0.tar.gz");
    let missing = ["/x-1.0.tar.gz", "/x-2.0.tar.gz"].map(|path| origin.url(path));
    for (url, status) in [(&failing, 502), (&missing[0], 404), (&missing[1], 404)] {
        gateway.get(url).send().assert_problem(status);
        gateway.await_fetch(url);
    }
    let causes = |query: &str| -> Vec<String> {
        let page = get(&gateway, &format!("incidents?{query}"));
        let list = page["incidents"].as_array().expect("it is a list").iter();
        list.map(|incident| incident["cause"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    eventually("both incidents are listed", || {
        let page = get(&gateway, "incidents?sort=-count");
        (page["total"] == 2 && page["incidents"][0]["count"] == 2).then_some(())
    });
    for (query, wanted) in [
        ("sort=count", vec!["upstream_error", "not_found"]),
        ("sort=-count", vec!["not_found", "upstream_error"]),
        ("sort=last_seen", vec!["upstream_error", "not_found"]),
        ("", vec!["not_found", "upstream_error"]),
        ("severity=alert", vec!["upstream_error"]),
        ("severity=notice", vec!["not_found"]),
        ("cause=not_found", vec!["not_found"]),
        ("cause=timeout", vec![]),
        ("state=open&host=127.0.0.1&limit=1", vec!["not_found"]),
        ("state=recovered", vec![]),
        ("host=other.example", vec![]),
        ("older_than=60", vec![]),
        ("newer_than=60", vec!["not_found", "upstream_error"]),
    ] {
        assert_eq!(causes(query), wanted, "{query}");
    }
    let page = get(&gateway, "incidents?limit=1");
    let next = page["next"].as_str().expect("there is another page");
    assert_eq!(causes(&format!("limit=1&after={next}")), ["upstream_error"]);
}

#[test]
fn jobs_are_filtered_and_paged() {
    let gateway = stocked();
    let start = |kind: &str| {
        let order = json!({"kind": kind, "targets": [Z]}).to_string();
        let request = gateway.operate("POST", "/api/v1/jobs");
        let job = request.body(order.as_bytes()).send().json();
        let id = job["id"].as_str().expect("it is text").to_owned();
        eventually("the job has ended", || {
            let job = get(&gateway, &format!("jobs/{id}"));
            job["ended"].is_string().then_some(())
        });
        id
    };
    let (fetch, evict) = (start("fetch"), start("evict"));
    let identities = |query: &str| -> Vec<String> {
        let page = get(&gateway, &format!("jobs?{query}"));
        let jobs = page["jobs"].as_array().expect("it is a list").iter();
        jobs.map(|job| job["id"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    for (query, wanted) in [
        ("", vec![&evict, &fetch]),
        ("sort=created", vec![&fetch, &evict]),
        ("kind=fetch", vec![&fetch]),
        ("state=succeeded", vec![&evict, &fetch]),
        ("state=running", vec![]),
        ("newer_than=60&limit=1", vec![&evict]),
        ("older_than=60", vec![]),
    ] {
        assert_eq!(
            identities(query).iter().collect::<Vec<_>>(),
            wanted,
            "{query}"
        );
    }
    let next = format!("limit=1&after={evict}");
    assert_eq!(identities(&next), [fetch]);
    assert_eq!(get(&gateway, "jobs?limit=1")["total"], 2);
}

/// Queries that no list of stored files accepts.
const WRONG_LIST_QUERIES: &[&str] = &[
    "limit=0",
    "limit=1001",
    "limit=-1",
    "limit=+1",
    "limit=1.0",
    "limit=",
    "limit=x",
    "limit=99999999999999999999999",
    "limit=1&limit=1",
    "after=",
    "after=x",
    "sort=",
    "sort=name",
    "sort=size,url",
    "class=x",
    "class=",
    "class=IMMUTABLE",
    "cached=yes",
    "cached=",
    "pinned=1",
    "total=maybe",
    "sha256=",
    "sha256=12",
    "older_than=-1",
    "older_than=soon",
    "older_than=1e3",
    "older_than=",
    "newer_than=3155760001",
    "newer_than=18446744073709551616",
    "host=",
    "prefix=",
    "name=",
    "name=%ff",
    "unknown=1",
    "LIMIT=1",
    "host=a&host=b",
    "limit",
];

#[test]
fn wrong_arguments_are_problems_without_effect() {
    let gateway = stocked();
    let url = format!("url={}", encoded(X));
    let long = "x".repeat(3000);
    let key = "0".repeat(64);
    let before = get(&gateway, "objects?sort=url");
    let mut wrong: Vec<(&str, String)> = Vec::new();
    for list in ["objects", "targets", "pins"] {
        for query in WRONG_LIST_QUERIES {
            wrong.push(("GET", format!("{list}?{query}")));
        }
        wrong.push(("GET", format!("{list}?sort=size&after={key}")));
        wrong.push(("GET", format!("{list}?sort=size&after={key}:x")));
        wrong.push(("GET", format!("{list}?after={key}:1")));
        wrong.push(("GET", format!("{list}?{long}=1")));
        wrong.push(("GET", format!("{list}?class={long}")));
    }
    for query in [
        "cause=x",
        "cause=",
        "severity=x",
        "state=closed",
        "sort=cause",
        "after=x",
        "limit=0",
        "older_than=x",
        "unknown=1",
        "host=",
    ] {
        wrong.push(("GET", format!("incidents?{query}")));
    }
    for query in [
        "kind=x",
        "state=x",
        "sort=state",
        "after=x",
        "limit=0",
        "host=x",
    ] {
        wrong.push(("GET", format!("jobs?{query}")));
    }
    for query in ["by=name", "by=", "limit=5", "by=host&limit=0", "host=x"] {
        wrong.push(("GET", format!("stats?{query}")));
    }
    for (method, resource) in [
        ("PUT", "pins"),
        ("DELETE", "pins"),
        ("DELETE", "objects"),
        ("PUT", "objects"),
        ("POST", "refresh"),
    ] {
        for query in ["", "url=", "url=x%20y", "url=http://", "url=gopher://x/y"] {
            wrong.push((method, format!("{resource}?{query}")));
        }
        wrong.push((method, format!("{resource}?{url}&{url}")));
        wrong.push((method, format!("{resource}?{url}&unknown=1")));
    }
    wrong.push(("PUT", format!("pins?{url}&sha256=x")));
    wrong.push(("DELETE", format!("pins?{url}&sha256=")));
    wrong.push(("DELETE", format!("objects?{url}&keep_pinned=yes")));
    wrong.push(("PUT", format!("objects?{url}&force=")));
    wrong.push(("POST", format!("refresh?{url}&accept=1")));
    wrong.push(("GET", format!("targets?{url}&limit=1")));
    wrong.push(("GET", "objects/sha256/12".to_owned()));
    wrong.push(("DELETE", format!("objects/sha256/{key}?x=1")));
    wrong.push(("GET", "events?follow=".to_owned()));
    wrong.push(("POST", "jobs?x=1".to_owned()));
    for (method, path) in &wrong {
        let target = format!("/api/v1/{path}");
        let mut request = gateway.operate(method, &target);
        if *method == "PUT" || *path == "jobs?x=1" {
            request = request.body(b"{}");
        }
        let answer = request.send();
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
        answer.assert_problem(400);
    }
    for order in [
        "",
        "x",
        "[]",
        "{}",
        r#"{"kind": "x"}"#,
        r#"{"kind": "fetch"}"#,
        r#"{"kind": "fetch", "targets": "x"}"#,
        r#"{"kind": "fetch", "targets": ["x y"]}"#,
        r#"{"kind": "fetch", "list": "https://a.example/x", "concurrency": 0}"#,
        r#"{"kind": "fetch", "list": "https://a.example/x", "concurrency": 65}"#,
        r#"{"kind": "fetch", "list": "https://a.example/x", "more": 1}"#,
        r#"{"kind": "fetch", "kind": "evict", "list": "https://a.example/x"}"#,
    ] {
        let request = gateway.operate("POST", "/api/v1/jobs");
        let answer = request.body(order.as_bytes()).send();
        assert_eq!(answer.status, 400, "{order}: {}", answer.text());
    }
    assert_eq!(get(&gateway, "objects?sort=url"), before);
    assert_eq!(get(&gateway, "jobs")["total"], 0);
}
