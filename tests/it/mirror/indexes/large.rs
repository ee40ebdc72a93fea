//! Shares of clients in the memory for large documents.

use std::thread;

use super::stage::{document, gateway_of};
use crate::harness::{Gate, Gateway, Origin, Request, eventually};

/// More documents than one client may have in memory.
const DOCUMENTS: usize = 8;

/// Requests a document for a client behind a trusted proxy.
fn request(gateway: &Gateway, client: &str, number: usize) -> Request {
    let path = format!("/mirror/npm/large{number}");
    gateway
        .request("GET", &path)
        .header("X-Forwarded-For", client)
}

/// Starts an origin with large documents, and a gateway that trusts its clients' addresses.
fn start(gate: Option<&Gate>) -> (Origin, Gateway) {
    let origin = Origin::start();
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(8 << 20));
    for number in 0..=DOCUMENTS {
        let reply = document("application/json", large.as_bytes());
        let gate = gate.filter(|_| number < DOCUMENTS);
        let reply = match gate {
            Some(gate) => reply.gate_at(1 << 20, gate),
            None => reply,
        };
        origin.serve(&format!("/npm/large{number}"), reply);
    }
    let builder = Gateway::builder()
        .set("gateway.trusted_proxies", "[\"127.0.0.1/32\"]")
        .set("policy.allow_clients", "[\"0.0.0.0/0\"]")
        .set("fetch.per_host", "64");
    let gateway = gateway_of(builder.origin(&origin), &origin).start();
    (origin, gateway)
}

#[test]
fn slow_documents_of_client_spare_others() {
    let gate = Gate::new();
    let (origin, gateway) = start(Some(&gate));
    let slow: Vec<_> = (0..DOCUMENTS)
        .map(|number| request(&gateway, "192.0.2.1", number).start())
        .collect();
    for number in 0..DOCUMENTS {
        let path = format!("/npm/large{number}");
        eventually(&path, || (origin.count(&path) > 0).then_some(()));
    }
    // Another client is served although these requests hold what they may.
    let other = request(&gateway, "198.51.100.1", DOCUMENTS).send();
    other.assert_status(200);
    gate.open();
    // All at once, since a body that is not read keeps its place.
    thread::scope(|scope| {
        for waiting in slow {
            scope.spawn(|| waiting.head().finish().assert_status(200));
        }
    });
}

#[test]
fn unread_documents_count_until_sent() {
    let (_origin, gateway) = start(None);
    // These clients read the head, and nothing of the body.
    let mut unread: Vec<_> = (0..4)
        .map(|number| request(&gateway, "192.0.2.1", number).open())
        .collect();
    let waiting = request(&gateway, "192.0.2.1", 5).start();
    request(&gateway, "198.51.100.1", DOCUMENTS)
        .send()
        .assert_status(200);
    assert!(!waiting.has_answer(), "the client has more than its share");
    unread.pop();
    waiting.head().finish().assert_status(200);
}
