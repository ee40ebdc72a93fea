//! Six hundred at once, through nginx.

use std::io::{Read, Write};

use crate::harness::{Ended, Gate, Nginx, Origin, Reply, Waiting, all_at_once, archive, assert_same};
use crate::nginx::behind_nginx;
use crate::tunnel::listener;

const CLIENTS: usize = 600;

#[test]
fn six_hundred_clients_of_one_cold_object_come_through() {
    let origin = Origin::start();
    let body = archive(1, 1 << 20);
    let gate = Gate::new();
    let path = "/x-1.0.tar.gz";
    origin.serve(path, Reply::file(&body).gate_at(body.len() / 2, &gate));
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let url = origin.url(path);
    let answers = all_at_once(CLIENTS, |number| {
        let request = match number % 3 {
            0 => nginx.proxied("GET", &url),
            1 => nginx.request("GET", &url),
            _ => nginx.get(&url),
        };
        let mut answer = request.open();
        assert_eq!(answer.head.status, 200, "client {number}");
        assert_same(&answer.read(1), &body[..1]);
        answer
    });
    // Everybody has had a byte while the origin still holds back half.
    gate.open();
    for answer in answers {
        let rest = answer.finish();
        assert_eq!(rest.ended, Ended::Whole);
        assert_same(&rest.body, &body[1..]);
    }
    assert_eq!(origin.total(), 1);
}

#[test]
fn six_hundred_hits_of_as_many_objects_come_through() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..CLIENTS).map(|number| archive(number as u64, 20_000 + number)).collect();
    let url = |number: usize| origin.url(&format!("/x-{number}.tar.gz"));
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&format!("/x-{number}.tar.gz"), Reply::file(body));
    }
    let gateway = behind_nginx(&origin).set("fetch.per_host", "64").set("limits.burst", "10000").start();
    let nginx = Nginx::before(&gateway);
    // Cold first, then from the disk.
    for _ in 0..2 {
        all_at_once(CLIENTS, |number| nginx.get(&url(number)).send().assert_body(200, &bodies[number]));
        gateway.log().wait_for_many("the fetches", CLIENTS, |event| event["outcome"] == "stored");
    }
    let is_sent_by_nginx = |event: &serde_json::Value| event["ended"] == "handed over";
    gateway.log().wait_for_many("what nginx sends", CLIENTS, is_sent_by_nginx);
    assert_eq!(origin.total(), CLIENTS);
}

#[test]
fn six_hundred_tunnels_work_at_once_through_nginx() {
    let (listener, address) = listener();
    let gateway = behind_nginx(&Origin::start()).port(address.port()).start();
    let nginx = Nginx::before(&gateway);
    let echo = std::thread::spawn(move || {
        let mut servers: Vec<_> = (0..CLIENTS).map(|_| listener.accept().expect("the gateway connects").0).collect();
        // Nobody is answered before all are there.
        for server in &mut servers {
            let mut number = [0; 8];
            server.read_exact(&mut number).expect("the client speaks");
            server.write_all(&number).expect("the client listens");
        }
        servers
    });
    let clients = all_at_once(CLIENTS, |number| {
        let mut bytes = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
        bytes.extend_from_slice(&(number as u64).to_be_bytes());
        let mut answer = Waiting::send(nginx.proxy_addr(), &bytes, false).head();
        assert_eq!(answer.head.status, 200);
        assert_eq!(answer.read(8), (number as u64).to_be_bytes(), "each hears itself");
        answer
    });
    drop(clients);
    drop(echo.join().expect("no panic"));
}
