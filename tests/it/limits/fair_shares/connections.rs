//! Connections, unfinished heads and tunnels of one client. Here the address of the connection
//! counts.

use std::io::{Read as _, Write as _};

use crate::harness::{Gateway, Scene, Waiting, archive, connect_from, eventually};
use crate::http::tunnel::{listener, tunnelling_to};

/// Sends a request for a target from another address.
pub(super) fn get_from(ip: &str, gateway: &Gateway, target: &str) -> Waiting {
    let head = format!("GET /{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    Waiting::send_on(connect_from(ip, gateway.addr()), head.as_bytes(), false)
}

/// Waits until the gateway has read the heads of this many requests that wait at a gate. Until
/// then, their connections may give way.
pub(super) fn await_requests(gateway: &Gateway, count: usize) {
    let used = "millpond_pool_used{pool=\"responses\"} ";
    eventually("the requests are read", || {
        let page = gateway.request("GET", "/metrics").send().text();
        let used = page
            .lines()
            .find_map(|line| line.strip_prefix(used)?.parse().ok());
        // The page itself is one more.
        (used > Some(count)).then_some(())
    });
}

#[test]
fn silent_connections_of_one_client_leave_others() {
    let (_origin, gateway, body, url) = Scene::of("/x-1.0.tar.gz", archive(11, 20_000))
        .gateway(|builder| builder.relay().hard_descriptors(256))
        .start();
    get_from("127.0.0.2", &gateway, &url)
        .head()
        .finish()
        .assert_body(200, &body);
    gateway.await_stored(&url);
    // Some say nothing, others begin a head.
    let silent: Vec<_> = (0..120)
        .map(|number: usize| {
            let mut stream = connect_from("127.0.0.1", gateway.addr());
            if number.is_multiple_of(2) {
                stream
                    .write_all(b"GET / HTTP/1.1\r\nX: ")
                    .expect("the gateway reads");
            }
            stream
        })
        .collect();
    for ip in ["127.0.0.2", "127.0.0.3"] {
        for _ in 0..3 {
            let answer = get_from(ip, &gateway, &url).head().finish();
            answer.assert_body(200, &body);
            answer.assert_cache(&["hit"]);
        }
    }
    drop(silent);
    eventually("the first client is served again", || {
        let answer = get_from("127.0.0.1", &gateway, &url).head().finish();
        (answer.status == 200).then_some(())
    });
}

#[test]
fn unfinished_heads_are_bounded() {
    let gateway = Gateway::builder().hard_descriptors(256).start();
    let begin = |ip| {
        let mut stream = connect_from(ip, gateway.addr());
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nX: ")
            .expect("the gateway reads");
        stream
    };
    // A head may be 32 KiB, and not more.
    let mut long = begin("127.0.0.1");
    long.write_all(&vec![b'x'; 32 << 10])
        .expect("the gateway reads");
    let mut answer = String::new();
    drop(long.read_to_string(&mut answer));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut slow: Vec<_> = (0..30).map(|_| begin("127.0.0.1")).collect();
    let mut other = begin("127.0.0.2");
    for stream in [&mut other, &mut slow[0]] {
        stream
            .write_all(b"x\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("the head goes on");
        let mut answer = String::new();
        drop(stream.read_to_string(&mut answer));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn tunnels_of_one_client_leave_others() {
    let (_server, authority) = listener();
    let gateway = tunnelling_to(authority).hard_descriptors(256).start();
    let open = |ip| {
        let mut stream = connect_from(ip, gateway.proxy_addr());
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream
            .write_all(head.as_bytes())
            .expect("the gateway reads");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("the gateway answers");
        (stream, status[9..] == *b"200")
    };
    let mut tunnels = Vec::new();
    loop {
        let (stream, is_open) = open("127.0.0.1");
        if !is_open {
            break;
        }
        tunnels.push(stream);
        assert!(tunnels.len() < 200, "tunnels are unbounded");
    }
    let (_kept, is_open) = open("127.0.0.2");
    assert!(
        is_open,
        "another client has a tunnel beside {}",
        tunnels.len()
    );
}
