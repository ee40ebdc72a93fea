//! Egress proxies that lead back to this node.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Builder, Gate, Gateway, Origin, Reply, all_at_once, archive, eventually};

/// Time after which a loop of shared requests is certainly over. It is far below
/// `fetch.idle_timeout`.
const AT_ONCE: Duration = Duration::from_secs(10);

const FIXED: &str = "/pub/x-1.0.tar.gz";
const OPEN: &str = "/pub/list.gz";

fn node(origin: &Origin, number: usize) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .text("gateway.name", &format!("mill-{number}"))
        // A second attempt would be noticed.
        .text("fetch.backoff", "10s")
}

/// Starts nodes, each of which uses the next one as its egress proxy, and the last the first.
fn ring(origin: &Origin, length: usize) -> Vec<Gateway> {
    let mut nodes: Vec<Gateway> = (0..length)
        .map(|number| node(origin, number).start())
        .collect();
    let proxies: Vec<_> = nodes.iter().map(Gateway::proxy_addr).collect();
    for (number, gateway) in nodes.iter_mut().enumerate() {
        let next = proxies[(number + 1) % length];
        let rule = format!("host = \"127.0.0.1\"\negress_proxy = \"http://{next}\"");
        gateway.reload(|builder| builder.rule(&rule));
        eventually("the configuration is reloaded", || {
            gateway.log().text().contains("reloaded").then_some(())
        });
    }
    nodes
}

#[test]
fn egress_proxy_that_leads_back_gets_508() {
    let origin = Origin::start();
    for path in [FIXED, OPEN] {
        origin.serve(path, Reply::file(&archive(1, 2000)));
    }
    for length in 1..=3 {
        let nodes = ring(&origin, length);
        let gateway = &nodes[0];
        for path in [FIXED, OPEN] {
            let url = origin.url(&format!("{path}?{length}"));
            // A signed query is passed on for its client alone.
            let signed = format!("{url}&token=a");
            let requests = [
                gateway.get(&signed),
                gateway.proxied("GET", &signed),
                gateway.proxied("POST", &url),
                gateway.get(&url),
                gateway.proxied("GET", &url),
                gateway.proxied("HEAD", &url),
            ];
            for request in requests {
                let begun = Instant::now();
                let answer = request.send();
                assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
                answer.assert_status(508);
                assert_eq!(answer.head.reason, "Loop Detected");
                let status = answer.wants("proxy-status");
                assert_eq!(status, "mill-0; error=proxy_loop_detected");
            }
        }
    }
    assert_eq!(origin.total(), 0);
}

/// Each node has a client, so that every node joins the request of another node to its own.
#[test]
fn nodes_that_wait_for_each_other_get_508() {
    let origin = Origin::start();
    for length in 2..=3 {
        let nodes = ring(&origin, length);
        for path in [FIXED, OPEN] {
            let url = origin.url(&format!("{path}?shared={length}"));
            let begun = Instant::now();
            let answers = all_at_once(2 * length, |number| {
                let gateway = &nodes[number % length];
                if number < length {
                    gateway.get(&url).send()
                } else {
                    gateway.proxied("GET", &url).send()
                }
            });
            for answer in answers {
                answer.assert_status(508);
                let status = answer.wants("proxy-status");
                assert!(status.contains("error=proxy_loop_detected"), "{status}");
            }
            assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        }
    }
    assert_eq!(origin.total(), 0);
}

/// Returns the methods of the requests for a target.
fn methods(origin: &Origin, path: &str) -> Vec<String> {
    let asked = origin.requests(path);
    asked.into_iter().map(|request| request.method).collect()
}

#[test]
fn slow_origin_behind_proxies_answers_all_readers() {
    let origin = Origin::start();
    let body = archive(3, 2000);
    let last = node(&origin, 1).start();
    let rule = format!(
        "host = \"127.0.0.1\"\negress_proxy = \"http://{}\"",
        last.proxy_addr()
    );
    let first = node(&origin, 0).rule(&rule).start();
    for path in [FIXED, OPEN] {
        for relayed in [false, true] {
            let path = format!("{path}?{relayed}");
            let gate = Gate::new();
            origin.serve(&path, Reply::file(&body).gate_before_head(&gate));
            let url = origin.url(&path);
            let mut request = first.proxied("GET", &url);
            if relayed {
                request = request.header("Via", "1.1 other");
            }
            let waiting = request.start();
            if relayed {
                eventually("the node looks for a loop", || {
                    (methods(&origin, &path).len() == 2).then_some(())
                });
            } else if path.starts_with(FIXED) {
                // A request that must not come cannot be awaited.
                thread::sleep(Duration::from_millis(600));
            }
            gate.open();
            waiting.head().finish().assert_body(200, &body);
            let wanted = match relayed {
                true => vec!["GET", "OPTIONS"],
                false if path.starts_with(FIXED) => vec!["GET"],
                false => continue,
            };
            assert_eq!(methods(&origin, &path), wanted);
        }
    }
}

#[test]
fn tunnel_that_leads_back_gets_508() {
    let origin = Origin::start();
    let nodes = ring(&origin, 1);
    for path in [FIXED, OPEN] {
        let url = format!("https://127.0.0.1:{}{path}", origin.port());
        let answer = nodes[0].get(&url).send();
        answer.assert_problem(508);
        assert_eq!(answer.head.reason, "Loop Detected");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    let origin = Origin::start();
    let body = archive(2, 2000);
    origin.serve(FIXED, Reply::file(&body));
    let mut builder = node(&origin, 0);
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "all_proxy",
        "ALL_PROXY",
    ] {
        builder = builder.env(name, "http://127.0.0.1:9");
    }
    builder.start().assert_serves(&origin.url(FIXED), &body);
}

#[test]
fn shortage_with_status_508_is_no_loop() {
    let origin = Origin::start();
    origin.serve(FIXED, Reply::status(508));
    let gateway = node(&origin, 0).one_attempt().start();
    let answer = gateway.get(&origin.url(FIXED)).send();
    answer.assert_problem(502);
    assert_eq!(answer.wants("proxy-status"), "mill-0; received-status=508");
}
