//! Policy for tunnels, and many concurrent tunnels.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::harness::{Gateway, Origin, Reply, Streaming, Waiting, all_at_once, archive};
use crate::http::tunnel::{connect, listener, open, tunnelling_to};

const TUNNELS: usize = 600;

/// Opens 600 tunnels to the listener, and asserts that each client reaches its own server
/// connection. `connect` opens a tunnel and sends bytes with the request in the same write.
#[track_caller]
pub fn assert_each_hears_itself(
    listener: TcpListener,
    connect: impl Fn(&[u8]) -> Streaming + Sync,
) {
    assert!(
        open_files_limit() >= 4096,
        "this test needs 4096 open files: raise the limit with ulimit -n"
    );
    let echo = std::thread::spawn(move || {
        let mut servers: Vec<_> = (0..TUNNELS)
            .map(|_| listener.accept().expect("the gateway connects").0)
            .collect();
        // The servers echo only after all tunnels are open.
        for server in &mut servers {
            let mut number = [0; 8];
            server
                .read_exact(&mut number)
                .expect("the client sends its number");
            server
                .write_all(&number)
                .expect("the client receives the echo");
        }
        servers
    });
    let clients = all_at_once(TUNNELS, |number| {
        let mut answer = connect(&(number as u64).to_be_bytes());
        assert_eq!(answer.head.status, 200);
        assert_eq!(
            answer.read(8),
            (number as u64).to_be_bytes(),
            "each client gets its own number"
        );
        answer
    });
    drop(clients);
    drop(echo.join().expect("no thread panicked"));
}

#[test]
fn six_hundred_tunnels_work_concurrently() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).start();
    assert_each_hears_itself(listener, |early| {
        connect(&gateway, &address.to_string(), early)
    });
    let is_tunnel =
        |event: &serde_json::Value| event["message"] == "request" && event["endpoint"] == "tunnel";
    gateway
        .log()
        .wait_for_many("the tunnels", TUNNELS, is_tunnel);
}

fn open_files_limit() -> u64 {
    let limits =
        std::fs::read_to_string("/proc/self/limits").expect("the kernel reports the limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("the kernel reports the open file limit");
    line.split_whitespace()
        .nth(3)
        .and_then(|soft| soft.parse().ok())
        .unwrap_or(u64::MAX)
}

/// Asserts that a CONNECT request gets an error response with this status, and returns its text.
#[track_caller]
fn assert_refused(gateway: &Gateway, authority: &str, status: u16) -> String {
    let answer = connect(gateway, authority, b"").finish();
    assert_eq!(answer.status, status, "{authority}: {}", answer.text());
    answer.assert_problem(status);
    answer.text()
}

#[test]
fn unlisted_port_is_refused() {
    let (allowed, address) = listener();
    let (closed, other) = listener();
    let gateway = tunnelling_to(address).start();
    let text = assert_refused(&gateway, &other.to_string(), 403);
    assert!(
        text.contains("connect_ports"),
        "the error names the rule: {text}"
    );
    assert_refused(&gateway, "127.0.0.1:22", 403);
    assert_refused(&gateway, "127.0.0.1:80", 403);
    assert_nobody_came(&allowed);
    assert_nobody_came(&closed);
    gateway.log().wait_for("the refusal", |event| {
        event["message"] == "request" && event["method"] == "CONNECT" && event["status"] == 403
    });
}

#[test]
fn private_addresses_are_refused_in_every_form() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address)
        .set("policy.allow_networks", "[]")
        .start();
    let port = address.port();
    for host in [
        "127.0.0.1",
        "127.0.0.2",
        "localhost",
        "LOCALHOST.",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ] {
        assert_refused(&gateway, &format!("{host}:{port}"), 403);
    }
    for odd in [
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "127.0.0.1%00",
        "user@127.0.0.1",
    ] {
        let answer = connect(&gateway, &format!("{odd}:{port}"), b"").finish();
        assert!(
            matches!(answer.status, 400 | 403),
            "{odd}: {} {}",
            answer.status,
            answer.text()
        );
    }
    assert_nobody_came(&listener);
}

#[test]
fn host_rules_apply_to_tunnels() {
    let (listener, address) = listener();
    let authority = address.to_string();
    let denying = tunnelling_to(address)
        .set("policy.deny_hosts", "[\"127.0.0.1\"]")
        .start();
    let text = assert_refused(&denying, &authority, 403);
    assert!(text.contains("deny_hosts"), "{text}");
    let choosy = tunnelling_to(address)
        .set("policy.allow_hosts", "[\"localhost\"]")
        .start();
    assert_refused(&choosy, &authority, 403);
    let answer = connect(&choosy, &format!("localhost:{}", address.port()), b"");
    assert_eq!(answer.head.status, 200);
    listener.accept().expect("the gateway has connected");
}

#[test]
fn tunnel_requires_host_and_port() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).start();
    for authority in [
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        ":443",
    ] {
        let answer = Waiting::send(
            gateway.proxy_addr(),
            format!("CONNECT {authority} HTTP/1.1\r\n\r\n").as_bytes(),
            false,
        );
        let head = answer.head_if_any();
        assert!(
            head.is_none_or(|head| matches!(head.status, 400 | 403)),
            "{authority}"
        );
    }
    assert_nobody_came(&listener);
}

#[test]
fn tunnel_request_with_body_is_refused() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).start();
    for header in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let bytes =
            format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{header}\r\n\r\nhello");
        let answer = Waiting::send(gateway.proxy_addr(), bytes.as_bytes(), false).head();
        assert_eq!(answer.head.status, 400, "{header}");
    }
    assert_nobody_came(&listener);
}

#[test]
fn tunnel_to_closed_port_gives_502_or_504() {
    let (listener, address) = listener();
    drop(listener);
    let gateway = tunnelling_to(address).start();
    let answer = connect(&gateway, &address.to_string(), b"").finish();
    assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
    answer.assert_problem(answer.status);
}

#[test]
fn forwarding_loop_is_refused() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).start();
    let bytes =
        format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\nVia: 1.1 mill-test\r\n\r\n");
    let answer = Waiting::send(gateway.proxy_addr(), bytes.as_bytes(), false).head();
    assert_eq!(answer.head.status, 508);
    assert_nobody_came(&listener);
}

#[test]
fn tunnels_and_fetches_share_proxy_port() {
    let (listener, address) = listener();
    let origin = Origin::start();
    let body = archive(1, 5000);
    origin.serve("/x-1.0.tar.gz", Reply::file(&body));
    let gateway = tunnelling_to(address).origin(&origin).start();
    let (mut client, mut server) = open(&gateway, &listener);
    gateway
        .proxied("GET", &origin.url("/x-1.0.tar.gz"))
        .send()
        .assert_body(200, &body);
    client
        .write_all(b"still here")
        .expect("the tunnel accepts data");
    let mut buffer = [0; 10];
    server
        .read_exact(&mut buffer)
        .expect("the tunnel delivers data");
    assert_eq!(&buffer, b"still here");
}

#[track_caller]
fn assert_nobody_came(listener: &TcpListener) {
    listener
        .set_nonblocking(true)
        .expect("a listener can be made non-blocking");
    assert!(listener.accept().is_err(), "a denied connection was opened");
}
