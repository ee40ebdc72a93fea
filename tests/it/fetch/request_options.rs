//! Per-host request options of a rule: concurrency, request interval and egress proxy.

use std::time::{Duration, Instant};

use crate::harness::{Gate, Gateway, Origin, Reply, archive};

#[test]
fn rule_limits_concurrent_fetches_per_host() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let (body, gate) = (archive(1, 20_000), Gate::new());
    let paths: Vec<_> = (0..4).map(|number| format!("/x-{number}.tar.gz")).collect();
    for origin in [&origin, &other] {
        for path in &paths {
            origin.serve(path, Reply::file(&body).gate_at(10_000, &gate));
        }
    }
    let builder = Gateway::builder()
        .origin(&origin)
        .origin(&other)
        .relay()
        // One client alone gets three quarters, which is four.
        .set("fetch.per_host", "6");
    let gateway = builder.rule("host = \"127.0.0.1\"\nper_host = 1").start();
    let urls = paths
        .iter()
        .flat_map(|path| [origin.url(path), other.url(path)]);
    let waiting: Vec<_> = urls.map(|url| gateway.get(&url).start()).collect();
    gate.await_reached(5);
    gate.open();
    for waiting in waiting {
        waiting.head().finish().assert_body(200, &body);
    }
    assert_eq!((origin.most_at_once(), other.most_at_once()), (1, 4));
}

#[test]
fn rule_enforces_interval_between_requests_to_host() {
    let origin = Origin::start();
    let body = archive(2, 5000);
    let paths: Vec<_> = (0..4).map(|number| format!("/x-{number}.tar.gz")).collect();
    for path in &paths {
        origin.serve(path, Reply::file(&body));
    }
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder
        .rule("host = \"127.0.0.1\"\nrequest_interval = \"100ms\"")
        .start();
    let began = Instant::now();
    let waiting: Vec<_> = paths
        .iter()
        .map(|path| gateway.get(&origin.url(path)).start())
        .collect();
    for waiting in waiting {
        waiting.head().finish().assert_body(200, &body);
    }
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "four requests need three intervals: {:?}",
        began.elapsed()
    );
}

#[test]
fn rule_selects_egress_proxy_or_direct_connection() {
    let (usual, special, origin) = (Origin::start(), Origin::start(), Origin::start());
    let (one, two) = (
        "http://one.example.test/x-1.0.tar.gz",
        "http://two.example.test/x-1.0.tar.gz",
    );
    let (by_usual, by_special, direct) = (archive(3, 5000), archive(4, 5000), archive(5, 5000));
    usual.serve(one, Reply::file(&by_usual));
    special.serve(two, Reply::file(&by_special));
    origin.serve("/x-1.0.tar.gz", Reply::file(&direct));
    let builder = Gateway::builder()
        .port(80)
        .origin(&origin)
        .relay()
        .text("fetch.egress_proxy", &usual.url(""));
    let builder = builder.rule(&format!(
        "host = \"two.example.test\"\negress_proxy = {:?}",
        special.url("")
    ));
    let gateway = builder
        .rule("host = \"127.0.0.1\"\negress_proxy = \"none\"")
        .start();
    gateway.assert_serves(one, &by_usual);
    gateway.assert_serves(two, &by_special);
    gateway.assert_serves(&origin.url("/x-1.0.tar.gz"), &direct);
    assert_eq!((usual.total(), special.total(), origin.total()), (1, 1, 1));
}

#[test]
fn redirect_uses_egress_proxy_of_its_host() {
    let (special, origin) = (Origin::start(), Origin::start());
    let (body, elsewhere) = (archive(6, 5000), "http://two.example.test/x-1.0.tar.gz");
    origin.serve("/x-1.0.tar.gz", Reply::redirect(302, elsewhere));
    special.serve(elsewhere, Reply::file(&body));
    let builder = Gateway::builder().port(80).origin(&origin).relay();
    let gateway = builder
        .rule(&format!(
            "host = \"two.example.test\"\negress_proxy = {:?}",
            special.url("")
        ))
        .start();
    gateway.assert_serves(&origin.url("/x-1.0.tar.gz"), &body);
}

#[test]
fn invalid_request_options_are_rejected_with_key() {
    for (rule, part) in [
        ("per_host = 0", "rules.per_host"),
        ("per_host = 100001", "rules.per_host"),
        ("request_interval = \"61s\"", "rules.request_interval"),
        (
            "egress_proxy = \"nonsense://user:S3CRET@h:1\"",
            "rules.egress_proxy",
        ),
        (
            "egress_proxy = [\"http://user:S3CRET@h:1\"]",
            "egress_proxy",
        ),
    ] {
        let run = Gateway::builder().rule(rule).run_to_end();
        assert_eq!(run.code, Some(2), "{rule}");
        assert!(
            run.stderr.contains(part) && !run.stderr.contains("S3CRET"),
            "{rule}: {}",
            run.stderr
        );
    }
}
