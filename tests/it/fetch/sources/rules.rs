//! Rule options that choose a source: canonical URLs, the order of rules, and invalid rules.

use super::{PATH, World};
use crate::harness::{Gateway, Origin, Reply, archive};

#[test]
fn canonical_url_joins_spellings_into_one_object() {
    let (origin, body) = (Origin::start(), archive(14, 5000));
    origin.serve("/files/x-1.0.tar.gz?v=1", Reply::file(&body));
    let rule = format!(
        "path_prefix = \"/old/\"\ncanonical_url = {:?}\n\
         ignored_query_parameters = [\"use_mirror\", \"ts\"]",
        origin.url("/files/{path}")
    );
    let plain = "path_prefix = \"/files/\"\nignored_query_parameters = [\"use_mirror\", \"ts\"]";
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .rule(&rule)
        .rule(plain)
        .start();
    gateway.assert_serves(
        &origin.url("/old/x-1.0.tar.gz?ts=12&v=1&use_mirror=near"),
        &body,
    );
    gateway.await_stored(&origin.url("/files/x-1.0.tar.gz?v=1"));
    for path in [
        "/files/x-1.0.tar.gz?v=1",
        "/old/x-1.0.tar.gz?v=1",
        "/files/x-1.0.tar.gz?v=1&ts=9",
    ] {
        gateway
            .assert_serves(&origin.url(path), &body)
            .assert_cache(&["hit"]);
    }
    assert_eq!(origin.total(), 1);
    assert_eq!(gateway.records().len(), 1);
}

#[test]
fn canonical_url_is_checked_by_policy() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let rule = format!(
        "host = \"127.0.0.1\"\ncanonical_url = {:?}",
        other.url("/{path}")
    );
    let builder = Gateway::builder()
        .origin(&origin)
        .origin(&other)
        .relay()
        .rule(&rule);
    let gateway = builder.set("policy.allow_hosts", "[\"127.0.0.1\"]").start();
    gateway.get(&origin.url(PATH)).send().assert_problem(403);
    assert_eq!((origin.total(), other.total()), (0, 0));
}

#[test]
fn credentials_and_put_ignore_canonical_url() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(16, 5000);
    origin.serve(PATH, Reply::file(&body));
    let rule = format!(
        "host = \"127.0.0.1\"\ncanonical_url = {:?}",
        other.url("/{path}")
    );
    let gateway = Gateway::builder()
        .origin(&origin)
        .origin(&other)
        .rule(&rule)
        .start();
    for (name, value) in [("Authorization", "Basic own"), ("Cookie", "own=1")] {
        gateway
            .proxied("GET", &origin.url(PATH))
            .header(name, value)
            .send()
            .assert_body(200, &body);
    }
    gateway
        .proxied("PUT", &origin.url(PATH))
        .body(b"x")
        .send()
        .assert_status(200);
    assert_eq!((origin.total(), other.total()), (3, 0));
}

#[test]
fn first_rule_that_sets_option_wins() {
    let world = World::new();
    let body = archive(15, 5000);
    let page: crate::harness::Body = (*b"<html>").into();
    world.mirror.serve("/mirror/x.odd", Reply::file(&body));
    world
        .origin
        .serve("/pub/page-1.0.tar.gz", Reply::file(&page));
    let builder = world
        .gateway()
        .rule("path_suffix = \".odd\"\nclass = \"immutable\"");
    let gateway = builder
        .rule("class = \"pass\"\ncheck_file_type = false")
        .start();
    gateway.assert_serves(&world.origin.url("/pub/x.odd"), &body);
    gateway.await_stored(&world.origin.url("/pub/x.odd"));
    gateway
        .assert_serves(&world.origin.url("/pub/page-1.0.tar.gz"), &page)
        .assert_cache(&["fwd=bypass"]);
}

#[test]
fn invalid_rule_is_rejected_with_key() {
    for (rule, part) in [
        ("mirrors = [\"https://example.org/\"]", "rules.mirrors"),
        ("archives = [\"nonsense/{path}\"]", "rules.archives"),
        (
            "canonical_url = \"https://example.org/{file}\"",
            "rules.canonical_url",
        ),
        (
            "path_prefix = \"/pub\"\nmirrors = [\"https://example.org/{path}\"]",
            "rules.path_prefix",
        ),
        ("host = \"example.org\"", "sets nothing"),
        ("host = \"..\"\nclass = \"immutable\"", "rules.host"),
        (
            "class = \"immutable\"\nmirror = [\"https://example.org/{path}\"]",
            "mirror",
        ),
    ] {
        let run = Gateway::builder().rule(rule).run_to_end();
        assert_eq!(run.code, Some(2), "{rule}");
        assert!(run.stderr.contains(part), "{rule}: {}", run.stderr);
    }
}
