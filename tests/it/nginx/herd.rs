//! Six hundred concurrent requests through nginx.

use crate::fetch::herd::{CLIENTS, assert_all_read_along};
use crate::harness::{Gate, Nginx, Origin, Reply, Waiting, all_at_once, archive};
use crate::http::tunnel::listener;
use crate::http::tunnel_policy::assert_each_hears_itself;
use crate::nginx::requests::behind_nginx;

#[test]
fn nginx_serves_600_clients_of_cold_object() {
    let origin = Origin::start();
    let body = archive(1, 1 << 20);
    let gate = Gate::new();
    let path = "/x-1.0.tar.gz";
    origin.serve(path, Reply::file(&body).gate_at(body.len() / 2, &gate));
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let url = origin.url(path);
    let ask = |number| match number % 3 {
        0 => nginx.proxied("GET", &url),
        1 => nginx.request("GET", &url),
        _ => nginx.get(&url),
    };
    assert_all_read_along(&gate, &body, ask);
    assert_eq!(origin.total(), 1);
}

#[test]
fn nginx_serves_600_hits_of_different_objects() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..CLIENTS)
        .map(|number| archive(number as u64, 20_000 + number))
        .collect();
    let url = |number: usize| origin.url(&format!("/x-{number}.tar.gz"));
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&format!("/x-{number}.tar.gz"), Reply::file(body));
    }
    let gateway = behind_nginx(&origin)
        .set("fetch.per_host", "64")
        .set("limits.burst", "10000")
        .start();
    let nginx = Nginx::before(&gateway);
    // The first round misses, the second hits the disk.
    for _ in 0..2 {
        all_at_once(CLIENTS, |number| {
            nginx
                .get(&url(number))
                .send()
                .assert_body(200, &bodies[number]);
        });
        gateway
            .log()
            .wait_for_many("the fetches", CLIENTS, |event| event["outcome"] == "stored");
    }
    let is_sent_by_nginx = |event: &serde_json::Value| event["completion"] == "offloaded";
    gateway
        .log()
        .wait_for_many("hits that nginx sends", CLIENTS, is_sent_by_nginx);
    assert_eq!(origin.total(), CLIENTS);
}

#[test]
fn nginx_carries_600_tunnels() {
    let (listener, address) = listener();
    let gateway = behind_nginx(&Origin::start()).port(address.port()).start();
    let nginx = Nginx::before(&gateway);
    assert_each_hears_itself(listener, |early| {
        let mut bytes =
            format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
        bytes.extend_from_slice(early);
        Waiting::send(nginx.proxy_addr(), &bytes, false).head()
    });
}
