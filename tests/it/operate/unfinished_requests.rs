//! A stop ends connections whose client sends nothing: those without a whole request head or
//! handshake, half bodies, and unused tunnels.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Gateway, Origin, eventually, is_timeout};
use crate::http::tunnel::{listener, open, tunnelling_to};
use crate::intercept::harness::Intercepting;

/// Longest time of a stop with unfinished heads and handshakes. It is shorter than that which a
/// client may take for them.
const PROMPT: Duration = Duration::from_secs(8);

/// Longest time of a stop with transfers that have paused.
const PATIENT: Duration = Duration::from_secs(15);

/// Pause of a tunnel that a stop does not take for its end.
const PAUSE: Duration = Duration::from_secs(3);

/// Grace period that no test waits for.
const LONG_GRACE: &str = "1h";

/// Beginning of a ClientHello (RFC 8446, section 5.1).
const HALF_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00";

/// Opens a connection, and sends bytes.
fn begun(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the gateway accepts the connection");
    socket.write_all(bytes).expect("the connection is open");
    socket
}

/// Asserts that Millpond closes a connection within a time, and sends no more than a response.
#[track_caller]
fn assert_closed(name: &str, mut socket: &TcpStream, within: Duration) {
    let within = within.max(Duration::from_millis(1));
    let set = socket.set_read_timeout(Some(within));
    set.expect("a timeout can be set");
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{name} is still open: {error}"),
    }
}

/// Stops a gateway, and asserts that it closes all connections and exits without a delay.
#[track_caller]
fn assert_stops(gateway: &mut Gateway, unfinished: &[(&str, TcpStream)], within: Duration) {
    // Each listener accepts in order, so the connections before have been accepted too.
    assert_eq!(gateway.request("GET", "/healthz").send().status, 200);
    let started = Instant::now();
    gateway.signal("TERM");
    for (name, socket) in unfinished {
        assert_closed(name, socket, within.saturating_sub(started.elapsed()));
    }
    gateway.assert_clean_exit();
    let elapsed = started.elapsed();
    assert!(elapsed < within, "the stop took {elapsed:?}");
}

#[test]
fn stop_does_not_wait_for_unfinished_requests() {
    let (listener, address) = listener();
    let mut stage = Intercepting::start_with(|builder| {
        let builder = builder.text("gateway.shutdown_grace", LONG_GRACE);
        builder.port(address.port())
    });
    let (own, proxy) = (stage.gateway.addr(), stage.gateway.proxy_addr());
    let inside = |authority: &str, bytes: &[u8]| {
        let mut socket = stage.connect_to(authority);
        socket.write_all(bytes).expect("the connection is open");
        socket
    };
    let origin = stage.origin_authority();
    let mut secure = stage.secure("localhost");
    let half_head = b"GET /x HTTP/1.1\r\nHost: x";
    secure.0.write_all(half_head).expect("TLS is established");
    let unfinished = [
        ("a connection without bytes", begun(own, b"")),
        ("half a head at the gateway port", begun(own, half_head)),
        ("half a head at the proxy port", begun(proxy, half_head)),
        ("half a CONNECT", begun(proxy, b"CONNECT localhost:443 HT")),
        ("a CONNECT to Millpond", inside(&own.to_string(), b"")),
        ("half a head inside it", inside(&own.to_string(), half_head)),
        ("a CONNECT of any kind", inside(&address.to_string(), b"")),
        (
            "half a method inside it",
            inside(&address.to_string(), b"GE"),
        ),
        ("a CONNECT without a handshake", inside(&origin, b"")),
        ("half a handshake", inside(&origin, HALF_HELLO)),
        (
            "half a head inside TLS",
            secure.0.sock.try_clone().expect("a socket can be cloned"),
        ),
    ];
    assert_stops(&mut stage.gateway, &unfinished, PROMPT);
    drop(listener);
}

#[test]
fn stop_does_not_wait_for_half_proxy_header() {
    let mut gateway = Gateway::builder()
        .set("gateway.trusted_proxies", "[\"127.0.0.0/8\"]")
        .set("proxy.proxy_protocol", "true")
        .text("gateway.shutdown_grace", LONG_GRACE)
        .start();
    let half = begun(gateway.proxy_addr(), b"PROXY TCP4 192.0");
    assert_stops(&mut gateway, &[("half a PROXY header", half)], PROMPT);
}

#[test]
fn stop_does_not_wait_for_half_bodies() {
    let origin = Origin::start();
    let mut gateway = Gateway::builder()
        .origin(&origin)
        .text("gateway.shutdown_grace", LONG_GRACE)
        .start();
    let half = |line: &str, field: &str| {
        format!("{line} HTTP/1.1\r\nHost: x\r\n{field}Content-Length: 9\r\n\r\nhalf")
    };
    let passed = half(&format!("POST {}", origin.url("/form")), "");
    let token = format!("Authorization: Bearer {}\r\n", gateway.token());
    let list = half("PUT /api/v1/catalog?format=sums", &token);
    let unfinished = [
        (
            "half a form",
            begun(gateway.proxy_addr(), passed.as_bytes()),
        ),
        ("half a list", begun(gateway.addr(), list.as_bytes())),
    ];
    eventually("the origin gets the form", || {
        (origin.connections() > 0).then_some(())
    });
    assert_stops(&mut gateway, &unfinished, PATIENT);
}

#[test]
fn stop_ends_idle_tunnels_only() {
    let (listener, address) = listener();
    let mut gateway = tunnelling_to(address)
        .text("gateway.shutdown_grace", LONG_GRACE)
        .start();
    let (mut idle, mut idle_server) = open(&gateway, &listener);
    let (mut client, mut server) = open(&gateway, &listener);
    let mut byte = [0];
    for (from, to) in [(&mut idle_server, &mut idle), (&mut server, &mut client)] {
        from.write_all(b"x").expect("the tunnel is open");
        to.read_exact(&mut byte).expect("the tunnel is open");
    }
    client
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout can be set");
    // The reads of the idle tunnel give the other one its pace.
    idle.set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout can be set");
    gateway.signal("TERM");
    let started = Instant::now();
    eventually("the idle tunnel is closed", || {
        server.write_all(b"x").expect("the tunnel is open");
        client.read_exact(&mut byte).expect("the tunnel is open");
        match idle.read(&mut byte) {
            Ok(0) => Some(()),
            Ok(_) => panic!("nothing was sent"),
            Err(error) if is_timeout(&error) => None,
            Err(error) => panic!("{error}"),
        }
    });
    let elapsed = started.elapsed();
    assert!(PAUSE < elapsed && elapsed < PATIENT, "{elapsed:?}");
    client.write_all(b"y").expect("the tunnel is open");
    server.read_exact(&mut byte).expect("the tunnel is open");
    assert_eq!(&byte, b"y");
    drop((client, server));
    gateway.assert_clean_exit();
    drop(idle_server);
}
