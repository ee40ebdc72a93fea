//! Incidents that one client floods with its own.

use std::net::TcpListener;

use serde_json::Value;

use super::{hook, incidents, posting, posts};
use crate::harness::{Gateway, Origin, eventually};

const EVE: &str = "10.0.0.1";
const BOB: &str = "10.0.0.2";

/// Host whose failure the operator must see.
const SHARED: &str = "127.9.255.1";

/// More than the list of incidents takes.
const FLOOD: usize = 230;

fn fail_at(gateway: &Gateway, client: &str, host: &str, port: u16) {
    let request = gateway.get(&format!("http://{host}:{port}/x-1.0.tar.gz"));
    let answer = request.header("X-Forwarded-For", client).send();
    assert!(answer.status >= 500, "{}", answer.status);
}

#[test]
fn incident_of_two_clients_survives_flood() {
    let (origin, hook) = (Origin::start(), hook());
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = closed.expect("a port is free").port();
    let gateway = posting(&origin, &hook)
        .port(port)
        .set("gateway.trusted_proxies", "[\"127.0.0.0/8\"]")
        .set("policy.allow_clients", "[\"0.0.0.0/0\", \"::/0\"]")
        .set("limits.burst", "1000")
        .start();
    let flood = |range: std::ops::Range<usize>| {
        for number in range {
            let host = format!("127.9.{}.{}", number / 200, 1 + number % 200);
            fail_at(&gateway, EVE, &host, port);
        }
    };
    // The client has had all alerts of its share before it opens the incident.
    flood(0..30);
    fail_at(&gateway, EVE, SHARED, port);
    let is_shared = |incident: &Value| incident["host"] == SHARED;
    let is_alert = |post: &Value| is_shared(&post["incident"]);
    assert!(!posts(&hook).iter().any(is_alert), "the alert waits");
    eventually("the failure of the other client sends it", || {
        // The last failure may still be cached.
        fail_at(&gateway, BOB, SHARED, port);
        posts(&hook).iter().any(is_alert).then_some(())
    });
    flood(30..FLOOD);
    let listed = incidents(&gateway);
    assert!(listed.len() <= 200, "{} incidents", listed.len());
    assert!(listed.iter().any(is_shared), "the incident is still listed");
}
