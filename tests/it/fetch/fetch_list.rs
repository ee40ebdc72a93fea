//! The list of the fetches that run now.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{
    Bucket, Fault, Gate, Gateway, Origin, Reply, archive, eventually, millpond, object_key,
};
use crate::operate::openapi::schema::Description;

const FETCHES: &str = "/api/v1/fetches";
const BODY_BYTES: usize = 400_000;
const SENT_BYTES: usize = 100_000;

fn listed(gateway: &Gateway, query: &str) -> Value {
    let path = format!("{FETCHES}?{query}");
    let page = gateway.operate("GET", &path).send().json();
    Description::of(gateway).assert_describes(FETCHES, &page);
    page
}

fn urls(page: &Value) -> Vec<&str> {
    let fetches = page["fetches"].as_array().expect("fetches are a list");
    fetches
        .iter()
        .map(|fetch| fetch["url"].as_str().expect("a fetch has a URL"))
        .collect()
}

#[test]
fn running_fetch_shows_progress_and_readers() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    assert_eq!(
        listed(&gateway, ""),
        json!({"fetches": [], "total": 0, "next": null})
    );
    let (gate, body) = (Gate::new(), archive(1, BODY_BYTES));
    origin.serve(
        "/x-1.0.tar.gz",
        Reply::file(&body).gate_at(SENT_BYTES, &gate),
    );
    let url = origin.url("/x-1.0.tar.gz");
    let mut readers = [gateway.get(&url).open(), gateway.get(&url).open()];
    for reader in &mut readers {
        reader.read(SENT_BYTES - 1000);
    }
    let page = listed(&gateway, "");
    let fetch = &page["fetches"][0];
    assert_eq!(urls(&page), [url.as_str()]);
    assert_eq!((&page["total"], &page["next"]), (&json!(1), &Value::Null));
    assert_eq!(fetch["aim"], "answer", "{fetch}");
    assert_eq!(fetch["source"], "origin", "{fetch}");
    assert_eq!(fetch["size_bytes"], BODY_BYTES, "{fetch}");
    assert_eq!(fetch["readers"], 2, "{fetch}");
    let received = fetch["received_bytes"].as_u64().expect("it is a number");
    assert!(
        (SENT_BYTES as u64 - 1000..=SENT_BYTES as u64).contains(&received),
        "{fetch}"
    );
    assert!(fetch["bytes_per_second"].as_u64() > Some(0), "{fetch}");
    assert!(fetch["age_seconds"].as_f64() > Some(0.0), "{fetch}");
    // A client that goes is no reader.
    let [first, second] = readers;
    drop(first);
    eventually("one reader is left", || {
        (listed(&gateway, "")["fetches"][0]["readers"] == 1).then_some(())
    });
    gate.open();
    let rest = second.finish();
    rest.assert_body(200, &body[SENT_BYTES - 1000..]);
    gateway.await_stored(&url);
    eventually("no fetch is left", || {
        (listed(&gateway, "")["total"] == 0).then_some(())
    });
}

#[test]
fn fetches_are_filtered_and_paged() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let (gate, body) = (Gate::new(), archive(2, BODY_BYTES));
    let mut all = Vec::new();
    for number in 0..3 {
        let path = format!("/pub/x-{number}.0.tar.gz");
        origin.serve(&path, Reply::file(&body).gate_at(SENT_BYTES, &gate));
        let reader = gateway.get(&origin.url(&path)).open();
        all.push((origin.url(&path), reader));
    }
    let wanted: Vec<&str> = all.iter().map(|(url, _)| url.as_str()).collect();
    assert_eq!(urls(&listed(&gateway, "")), wanted, "the oldest first");
    let first = listed(&gateway, "limit=2");
    assert_eq!(
        (urls(&first), &first["total"]),
        (wanted[..2].to_vec(), &json!(3))
    );
    let rest = listed(&gateway, &format!("limit=2&after={}", first["next"]));
    assert_eq!(
        (urls(&rest), &rest["next"]),
        (wanted[2..].to_vec(), &Value::Null)
    );
    let prefix = format!("prefix={}/pub/x-1", origin.url(""));
    assert_eq!(urls(&listed(&gateway, &prefix)), wanted[1..2]);
    assert_eq!(listed(&gateway, "host=other.example")["total"], 0);
    assert_eq!(listed(&gateway, "host=127.0.0.1")["total"], 3);
    for wrong in [
        "limit=0",
        "limit=1001",
        "after=x",
        "after=9223372036854775808",
        "sort=age",
    ] {
        let path = format!("{FETCHES}?{wrong}");
        gateway.operate("GET", &path).send().assert_problem(400);
    }
    gateway.request("GET", FETCHES).send().assert_problem(401);
    let folder = tempfile::tempdir().expect("a folder can be created");
    fs::write(folder.path().join("token"), gateway.token()).expect("the folder is writable");
    let address = gateway.url("");
    let run = |more: &[&str]| {
        let arguments = ["fetches", "--gateway", &address, "--token-file", "token"];
        millpond(folder.path(), &[&arguments, more].concat())
    };
    let shown = run(&["--json"]);
    shown.assert_success();
    let shown = shown.documents();
    let shown: Vec<_> = shown.iter().map(|fetch| fetch["url"].as_str()).collect();
    assert_eq!(
        shown,
        wanted.iter().map(|url| Some(*url)).collect::<Vec<_>>()
    );
    let table = run(&["--prefix", wanted[2]]);
    table.assert_success();
    let words: Vec<&str> = table.stdout.split_whitespace().collect();
    assert_eq!((words[0], words.last()), ("origin", Some(&wanted[2])));
    assert!(table.stdout.contains("390.6 KiB"), "{}", table.stdout);
    gate.open();
    for (_, reader) in all {
        reader.finish().assert_body(200, &body);
    }
}

#[test]
fn refresh_and_revalidation_are_listed() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let (gate, body) = (Gate::new(), archive(3, BODY_BYTES));
    let path = "/pub/x-3.0.tar.gz";
    let held = Reply::file(&body).gate_at(SENT_BYTES, &gate);
    origin.script(path, vec![Reply::file(&body), held]);
    let url = origin.url(path);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let refresh = format!("/api/v1/refresh?url={}", crate::harness::encoded(&url));
    let waiting = gateway.operate("POST", &refresh).start();
    gate.await_reached(1);
    let shown = eventually("the refresh is listed", || {
        let page = listed(&gateway, "");
        let fetch = page["fetches"][0].clone();
        (fetch["received_bytes"].as_u64() > Some(0)).then_some(fetch)
    });
    assert_eq!(
        (&shown["aim"], &shown["readers"]),
        (&json!("refresh"), &json!(0))
    );
    gate.open();
    waiting.head().finish().assert_status(200);
    let (gate, index) = (Gate::new(), "/pub/index.json");
    let body = archive(4, BODY_BYTES);
    let reply = Reply::ok(&body).header("ETag", "\"1\"");
    origin.serve(index, reply.gate_at(SENT_BYTES, &gate));
    let reader = gateway.get(&origin.url(index)).open();
    let page = listed(&gateway, "");
    let shown = &page["fetches"][0];
    assert_eq!(shown["aim"], "revalidation", "{shown}");
    assert_eq!(shown["size_bytes"], BODY_BYTES, "{shown}");
    gate.open();
    drop(reader);
}

#[test]
fn copy_from_bucket_is_listed() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(7, BODY_BYTES);
    origin.serve("/x-1.0.tar.gz", Reply::file(&body));
    let gateway = bucket
        .configure(Gateway::builder().origin(&origin).relay(), "")
        .start();
    let url = origin.url("/x-1.0.tar.gz");
    gateway.assert_serves(&url, &body);
    gateway.await_uploaded(&url);
    gateway.await_stored(&url);
    fs::remove_file(gateway.object_path(&body)).expect("the object exists");
    let (gate, key) = (Gate::new(), object_key(&body));
    bucket.fault(
        move |seen| seen.method == "GET" && seen.key == key,
        Fault::Stall(gate.clone()),
    );
    // Agents that follow redirects get the bytes from the bucket itself.
    for _ in 0..3 {
        gateway.get(&url).wget_agent().send().assert_status(302);
    }
    let page = eventually("the copy is listed", || {
        let page = listed(&gateway, "");
        (page["total"] == 1).then_some(page)
    });
    let copy = &page["fetches"][0];
    assert_eq!(urls(&page), [url.as_str()]);
    assert_eq!(
        (&copy["aim"], &copy["source"]),
        (&json!("promotion"), &json!("bucket"))
    );
    assert_eq!(copy["size_bytes"], BODY_BYTES, "{copy}");
    bucket.heal();
    gate.open();
    eventually("the copy has ended", || {
        (listed(&gateway, "")["total"] == 0).then_some(())
    });
    assert_eq!(origin.count("/x-1.0.tar.gz"), 1);
}
