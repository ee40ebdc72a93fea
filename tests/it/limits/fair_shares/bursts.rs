//! Bursts of silent connections: more than the gateway takes, all at the same moment.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::connections::{await_requests, get_from};
use crate::harness::{
    Gate, Gateway, Origin, Reply, Waiting, archive, connect_from, eventually,
    raise_descriptor_limit,
};

const PATH: &str = "/x-1.0.tar.gz";

/// Several times the connections that the gateway has, and less than the queue of the kernel.
const BURST: usize = 3000;

/// Bound on the delay of another client. A rejected connection may take a second, and a busy
/// machine several.
const MAX_DELAY: Duration = Duration::from_secs(8);

fn burst(clients: usize, gateway: &Gateway) -> Vec<TcpStream> {
    let ips = (0..BURST).map(|number| format!("127.0.1.{}", 1 + number % clients));
    ips.map(|ip| connect_from(&ip, gateway.addr())).collect()
}

#[test]
fn burst_of_silent_connections_delays_no_client() {
    assert!(raise_descriptor_limit() >= 2 * BURST as u64);
    let (origin, body) = (Origin::start(), archive(61, 20_000));
    origin.serve(PATH, Reply::file(&body));
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.hard_descriptors(1024).start();
    let url = origin.url(PATH);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    for clients in [1, 12] {
        let held = burst(clients, &gateway);
        for ip in ["127.0.2.1", "127.0.2.2"] {
            let began = Instant::now();
            let answer = get_from(ip, &gateway, &url).head().finish();
            answer.assert_body(200, &body);
            let delay = began.elapsed();
            assert!(delay < MAX_DELAY, "{clients} clients: {delay:?}");
        }
        drop(held);
        eventually("the connections are closed", || {
            (gateway.descriptors() < 200).then_some(())
        });
    }
}

#[test]
fn busy_clients_hide_no_silent_connections() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let body = archive(62, 20_000);
    origin.serve(PATH, Reply::file(&body));
    origin.serve(
        "/waiting-1.0.tar.gz",
        Reply::file(&body).gate_before_head(&gate),
    );
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.hard_descriptors(1024).start();
    let url = origin.url(PATH);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    // Each of these clients has more connections than any silent one.
    let busy: Vec<Waiting> = (0..100)
        .map(|number| format!("127.0.1.{}", 1 + number % 20))
        .map(|ip| get_from(&ip, &gateway, &origin.url("/waiting-1.0.tar.gz")))
        .collect();
    await_requests(&gateway, busy.len());
    let silent: Vec<_> = (0..300)
        .map(|number| format!("127.0.3.{}", 1 + number % 150))
        .map(|ip| connect_from(&ip, gateway.addr()))
        .collect();
    // As long as a connection waits before it gives way, and more.
    std::thread::sleep(Duration::from_millis(400));
    for number in 1..=10 {
        let ip = format!("127.0.2.{number}");
        let answer = get_from(&ip, &gateway, &url).head().finish();
        answer.assert_body(200, &body);
    }
    gate.open();
    for request in busy {
        request.head().finish().assert_body(200, &body);
    }
    drop(silent);
}
