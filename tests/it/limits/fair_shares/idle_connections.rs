//! Connections that wait for a request. They give way to new connections, of the same client and of
//! others.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::connections::{await_requests, get_from};
use crate::harness::{Body, Gate, Gateway, Kept, Origin, Reply, Waiting, archive, connect_from};

const PATH: &str = "/x-1.0.tar.gz";

/// Path whose response waits at a gate.
const GATED_PATH: &str = "/waiting-1.0.tar.gz";

/// Client that holds connections.
const HOLDER: &str = "127.0.0.1";

/// More connections than one client may have, and more than there are.
const ONE_CLIENT: usize = 330;
const ALL_CLIENTS: usize = 440;

/// Time after which a connection without a request gives way, and more.
const LONG_WAIT: Duration = Duration::from_millis(400);

/// Action of a client on a connection before it falls silent.
#[derive(Debug, Clone, Copy)]
enum Silence {
    FromTheStart,
    InTheHead,
    AfterARequest,
}

fn stored(origin: &Origin, body: &Body) -> Gateway {
    origin.serve(PATH, Reply::file(body));
    let builder = Gateway::builder().origin(origin).relay();
    let gateway = builder.hard_descriptors(1024).start();
    gateway.assert_serves(&origin.url(PATH), body);
    gateway.await_stored(&origin.url(PATH));
    gateway
}

/// Opens a connection from an address. `None` if the gateway closes it.
fn hold(ip: &str, gateway: &Gateway, silence: Silence) -> Option<Kept> {
    let mut kept = Kept::on(connect_from(ip, gateway.addr())).ok()?;
    match silence {
        Silence::FromTheStart => {}
        Silence::InTheHead => kept.send(b"GET / HTTP/1.1\r\nX: ").ok()?,
        Silence::AfterARequest => drop(kept.ask("/healthz").ok()?),
    }
    Some(kept)
}

fn assert_hit(ip: &str, gateway: &Gateway, origin: &Origin, body: &Body) {
    let answer = get_from(ip, gateway, &origin.url(PATH)).head().finish();
    answer.assert_body(200, body);
    answer.assert_cache(&["hit"]);
}

/// Returns addresses of different clients.
fn clients(net: u8, count: usize) -> Vec<String> {
    let numbers = 1..=count;
    numbers.map(|host| format!("127.0.{net}.{host}")).collect()
}

/// Opens connections of each client, and keeps those that stay open after a request.
fn hold_answered(ips: &[String], of_each: usize, gateway: &Gateway) -> Vec<Kept> {
    let all = ips.iter().flat_map(|ip| (0..of_each).map(move |_| ip));
    all.filter_map(|ip| {
        let mut kept = Kept::on(connect_from(ip, gateway.addr())).ok()?;
        matches!(kept.ask("/version"), Ok((200, true))).then_some(kept)
    })
    .collect()
}

/// Begins requests of each client for the path with the gate, one client after the other.
fn begin_gated(
    ips: &[String],
    of_each: usize,
    (gateway, origin): (&Gateway, &Origin),
) -> Vec<Waiting> {
    let mut waiting = Vec::new();
    for ip in ips {
        let begin = |_| get_from(ip, gateway, &origin.url(GATED_PATH));
        waiting.extend((0..of_each).map(begin));
        await_requests(gateway, waiting.len());
    }
    waiting
}

fn assert_all_served(waiting: Vec<Waiting>, body: &Body) {
    for request in waiting {
        request.head().finish().assert_body(200, body);
    }
}

#[test]
fn silent_connections_give_way_to_same_client() {
    let origin = Origin::start();
    let body = archive(51, 20_000);
    let gateway = stored(&origin, &body);
    for silence in [
        Silence::FromTheStart,
        Silence::InTheHead,
        Silence::AfterARequest,
    ] {
        let held: Vec<_> = (0..ONE_CLIENT)
            .filter_map(|_| hold(HOLDER, &gateway, silence))
            .collect();
        thread::sleep(LONG_WAIT);
        for _ in 0..10 {
            assert_hit(HOLDER, &gateway, &origin, &body);
        }
        drop(held);
    }
}

#[test]
fn silent_connections_of_many_clients_give_way() {
    let origin = Origin::start();
    let body = archive(52, 20_000);
    let gateway = stored(&origin, &body);
    let held: Vec<_> = (0..ALL_CLIENTS)
        .filter_map(|number| {
            let ip = format!("127.0.1.{}", 1 + number % 22);
            hold(&ip, &gateway, Silence::FromTheStart)
        })
        .collect();
    thread::sleep(LONG_WAIT);
    for number in 0..10 {
        assert_hit(&format!("127.0.2.{}", 1 + number), &gateway, &origin, &body);
    }
    drop(held);
}

#[test]
fn answered_connections_give_way_to_same_client() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let body = archive(56, 20_000);
    let gateway = stored(&origin, &body);
    origin.serve(GATED_PATH, Reply::file(&body).gate_before_head(&gate));
    let ips = [HOLDER.to_owned()];
    let held = hold_answered(&ips, ONE_CLIENT, &gateway);
    assert!(held.len() > 100, "{} stay open", held.len());
    thread::sleep(LONG_WAIT);
    // More than the connections that the client has left.
    let waiting = begin_gated(&ips, 15, (&gateway, &origin));
    for _ in 0..10 {
        assert_hit(HOLDER, &gateway, &origin, &body);
    }
    gate.open();
    assert_all_served(waiting, &body);
    drop(held);
}

#[test]
fn answered_connections_of_many_clients_give_way() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let body = archive(57, 20_000);
    let gateway = stored(&origin, &body);
    origin.serve(GATED_PATH, Reply::file(&body).gate_before_head(&gate));
    let held = hold_answered(&clients(1, 10), 30, &gateway);
    assert!(held.len() > 200, "{} stay open", held.len());
    thread::sleep(LONG_WAIT);
    // More than the connections that are left.
    let waiting = begin_gated(&clients(3, 4), 10, (&gateway, &origin));
    gate.await_reached(1);
    for ip in clients(2, 10) {
        assert_hit(&ip, &gateway, &origin, &body);
    }
    gate.open();
    assert_all_served(waiting, &body);
    drop(held);
}

#[test]
fn busy_client_hides_no_silent_connections() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let body = archive(58, 20_000);
    let gateway = stored(&origin, &body);
    origin.serve(GATED_PATH, Reply::file(&body).gate_before_head(&gate));
    let waiting = begin_gated(&[HOLDER.to_owned()], 35, (&gateway, &origin));
    gate.await_reached(1);
    // Each of these clients has fewer connections.
    let ips = clients(1, 11);
    let all = ips.iter().flat_map(|ip| (0..30).map(move |_| ip));
    let held: Vec<_> = all
        .filter_map(|ip| hold(ip, &gateway, Silence::FromTheStart))
        .collect();
    thread::sleep(LONG_WAIT);
    for ip in clients(2, 10) {
        assert_hit(&ip, &gateway, &origin, &body);
    }
    gate.open();
    assert_all_served(waiting, &body);
    drop(held);
}

#[test]
fn connections_with_requests_do_not_give_way() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let (body, coming) = (archive(53, 20_000), archive(54, 300_000));
    let gateway = stored(&origin, &body);
    let reply = Reply::file(&coming).gate_at(100_000, &gate);
    origin.serve("/coming-1.0.tar.gz", reply);
    origin.serve(GATED_PATH, Reply::file(&body).gate_before_head(&gate));
    let start = |path: &str| get_from(HOLDER, &gateway, &origin.url(path));
    let begun = start("/coming-1.0.tar.gz").head();
    let waiting = start(GATED_PATH);
    gate.await_reached(2);
    for _ in 0..3 {
        let held: Vec<TcpStream> = (0..ONE_CLIENT)
            .map(|_| connect_from(HOLDER, gateway.addr()))
            .collect();
        thread::sleep(LONG_WAIT);
        assert_hit(HOLDER, &gateway, &origin, &body);
        drop(held);
    }
    gate.open();
    begun.finish().assert_body(200, &coming);
    waiting.head().finish().assert_body(200, &body);
}

#[test]
fn slow_request_head_is_served_without_need() {
    let origin = Origin::start();
    let body = archive(55, 20_000);
    let gateway = stored(&origin, &body);
    let mut slow = connect_from(HOLDER, gateway.addr());
    for byte in b"GET /healthz HTTP/1.0\r\n\r\n" {
        slow.write_all(&[*byte]).expect("the gateway reads");
        thread::sleep(Duration::from_millis(15));
    }
    let answer = std::io::read_to_string(slow).expect("the gateway answers");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
}
