//! Per-client limits for requests, downloads, tunnels and bandwidth. They do not
//! affect other clients.

mod bandwidth;

use crate::harness::{Answer, Builder, Gate, Gateway, Origin, Reply, Request, archive, eventually};
use crate::http::tunnel::{connect, listener, open, tunnelling_to};

const PATH: &str = "/pub/x-1.0.tar.gz";
const TRUSTED: &str = "[\"127.0.0.0/8\"]";

/// Returns a gateway that trusts `X-Forwarded-For` from the test and serves every client.
fn trusting(origin: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder
        .set("gateway.trusted_proxies", TRUSTED)
        .set("policy.allow_clients", "[\"0.0.0.0/0\", \"::/0\"]")
}

/// Allows a burst of two requests, then one request per second.
fn two_at_once(builder: Builder) -> Builder {
    builder
        .set("limits.requests_per_second", "1")
        .set("limits.burst", "2")
}

fn from(gateway: &Gateway, client: &str) -> Request {
    gateway
        .request("GET", "/robots.txt")
        .header("X-Forwarded-For", client)
}

#[track_caller]
fn assert_over_limit(answer: &Answer) {
    answer.assert_problem(429);
    let seconds: u64 = answer
        .wants("retry-after")
        .parse()
        .expect("a number of seconds");
    assert!((1..=5).contains(&seconds), "Retry-After: {seconds}");
    answer.assert_cache(&["detail=over-limit"]);
}

#[test]
fn excess_requests_get_429_with_retry_after() {
    let origin = Origin::start();
    let gateway = two_at_once(trusting(&origin)).start();
    let statuses: Vec<u16> = (0..3)
        .map(|_| from(&gateway, "10.0.0.1").send().status)
        .collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_over_limit(&from(&gateway, "10.0.0.1").send());
    assert_eq!(
        from(&gateway, "10.0.0.2").send().status,
        200,
        "another client is not limited"
    );
    eventually("the client may send requests again", || {
        (from(&gateway, "10.0.0.1").send().status == 200).then_some(())
    });
}

#[test]
fn ipv6_network_counts_as_one_client() {
    let origin = Origin::start();
    let gateway = two_at_once(trusting(&origin)).start();
    for client in ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2"] {
        assert_eq!(from(&gateway, client).send().status, 200);
    }
    assert_over_limit(&from(&gateway, "2001:db8:0:1::3").send());
    assert_eq!(
        from(&gateway, "2001:db8:0:2::1").send().status,
        200,
        "another /64 has its own limit"
    );
    for client in ["10.0.0.1", "::ffff:10.0.0.1"] {
        assert_eq!(from(&gateway, client).send().status, 200);
    }
    assert_over_limit(&from(&gateway, "10.0.0.1").send());
    assert_eq!(
        from(&gateway, "10.0.0.2").send().status,
        200,
        "each IPv4 address has its own limit"
    );
}

#[test]
fn proxy_port_has_same_limits() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&archive(1, 1000)));
    let (listener, address) = listener();
    let gateway = two_at_once(Gateway::builder().origin(&origin).port(address.port())).start();
    let (client, _server) = open(&gateway, &listener);
    assert_eq!(gateway.proxied("GET", &origin.url(PATH)).send().status, 200);
    assert_over_limit(&gateway.proxied("GET", &origin.url(PATH)).send());
    assert_over_limit(&connect(&gateway, &address.to_string(), b"").finish());
    drop(client);
}

#[test]
fn concurrent_downloads_are_limited() {
    let origin = Origin::start();
    let body = archive(1, 50_000);
    let gate = Gate::new();
    for number in 0..3 {
        origin.serve(
            &format!("/pub/{number}.tar.gz"),
            Reply::file(&body).gate_at(20_000, &gate),
        );
    }
    let gateway = trusting(&origin)
        .set("limits.concurrent_downloads", "2")
        .start();
    let ask = |number: u32, client: &str| {
        gateway
            .get(&origin.url(&format!("/pub/{number}.tar.gz")))
            .header("X-Forwarded-For", client)
    };
    let first = ask(0, "10.0.0.1").open();
    let second = ask(1, "10.0.0.1").open();
    assert_over_limit(&ask(2, "10.0.0.1").send());
    let neighbour = ask(2, "10.0.0.2").open();
    // A client that disconnects frees its permit.
    drop(first);
    let third = eventually("a permit is free again", || {
        let answer = ask(0, "10.0.0.1").open();
        (answer.head.status == 200).then_some(answer)
    });
    gate.open();
    for download in [second, third, neighbour] {
        download.finish().assert_body(200, &body);
    }
}

#[test]
fn pending_request_takes_no_download_permit() {
    let origin = Origin::start();
    let gate = Gate::new();
    origin.serve(PATH, Reply::file(&archive(1, 1000)).gate_before_head(&gate));
    let gateway = trusting(&origin)
        .set("limits.concurrent_downloads", "1")
        .start();
    // The gateway may not detect a disconnected client before it has data to send.
    for _ in 0..3 {
        drop(
            gateway
                .get(&origin.url(PATH))
                .header("X-Forwarded-For", "10.0.0.1")
                .start(),
        );
    }
    gate.await_reached(1);
    assert_eq!(from(&gateway, "10.0.0.1").send().status, 200);
    gate.open();
}

#[test]
fn concurrent_tunnels_are_limited() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address)
        .set("limits.concurrent_tunnels", "2")
        .start();
    let first = open(&gateway, &listener);
    let second = open(&gateway, &listener);
    assert_over_limit(&connect(&gateway, &address.to_string(), b"").finish());
    drop(first);
    let third = eventually("a permit is free again", || {
        let answer = connect(&gateway, &address.to_string(), b"");
        (answer.head.status == 200).then_some(answer)
    });
    drop((second, third));
}

#[test]
fn exempt_client_has_no_limits() {
    let origin = Origin::start();
    let gateway = two_at_once(trusting(&origin))
        .set("limits.exempt_clients", "[\"10.0.0.0/24\"]")
        .start();
    for _ in 0..10 {
        assert_eq!(from(&gateway, "10.0.0.9").send().status, 200);
    }
    assert_eq!(
        [0; 3].map(|_| from(&gateway, "10.0.1.9").send().status),
        [200, 200, 429]
    );
}

#[test]
fn zero_disables_limit() {
    let origin = Origin::start();
    let builder = trusting(&origin)
        .set("limits.burst", "1")
        .set("limits.requests_per_second", "0");
    let gateway = builder.set("limits.concurrent_downloads", "0").start();
    for _ in 0..10 {
        assert_eq!(from(&gateway, "10.0.0.9").send().status, 200);
    }
}

#[test]
fn reload_changes_limits() {
    let origin = Origin::start();
    let mut gateway = trusting(&origin).start();
    for _ in 0..5 {
        assert_eq!(from(&gateway, "10.0.0.9").send().status, 200);
    }
    gateway.reload(two_at_once);
    eventually("the new limits apply", || {
        (from(&gateway, "10.0.0.9").send().status == 429).then_some(())
    });
    assert_eq!(from(&gateway, "10.0.0.8").send().status, 200);
}

#[test]
fn client_beyond_new_targets_gets_unstored_responses() {
    let origin = Origin::start();
    let gateway = trusting(&origin)
        .set("limits.new_targets_per_hour", "3")
        .start();
    let path = |number: u64| format!("/pub/x-{number}.0.tar.gz");
    let ask = |number: u64, client: &str| {
        let body = archive(number, 5000);
        origin.serve(&path(number), Reply::file(&body));
        let request = gateway.get(&origin.url(&path(number)));
        let answer = request.header("X-Forwarded-For", client).send();
        answer.assert_body(200, &body);
        answer
    };
    for number in 0..6 {
        ask(number, "10.0.0.1");
        if number < 3 {
            gateway.await_stored(&origin.url(&path(number)));
        }
    }
    assert_eq!(gateway.records().len(), 3, "no more are stored");
    // Stored targets, other clients and another /64 network are not affected.
    ask(0, "10.0.0.1").assert_cache(&["hit"]);
    for (number, client) in [(10, "10.0.0.2"), (11, "2001:db8::1")] {
        ask(number, client);
        gateway.await_stored(&origin.url(&path(number)));
    }
    ask(4, "10.0.0.1");
    assert_eq!(origin.count(&path(4)), 2, "the response was not stored");
    // The same target is stored for a client that is within the limit.
    ask(4, "10.0.0.2");
    gateway.await_stored(&origin.url(&path(4)));
    ask(4, "10.0.0.1").assert_cache(&["hit"]);
}
