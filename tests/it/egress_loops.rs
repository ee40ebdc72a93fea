//! Egress proxies that lead back to this node.

use crate::harness::{Builder, Gateway, Origin, Reply, archive, eventually};

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
            let mut requests = vec![
                gateway.get(&signed),
                gateway.proxied("GET", &signed),
                gateway.proxied("POST", &url),
            ];
            // A shared fetch of another node names only that node.
            if length == 1 {
                requests.extend([
                    gateway.get(&url),
                    gateway.proxied("GET", &url),
                    gateway.proxied("HEAD", &url),
                ]);
            }
            for request in requests {
                let answer = request.send();
                answer.assert_status(508);
                assert_eq!(answer.head.reason, "Loop Detected");
                let status = answer.wants("proxy-status");
                assert_eq!(status, "mill-0; error=proxy_loop_detected");
            }
        }
    }
    assert_eq!(origin.total(), 0);
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
