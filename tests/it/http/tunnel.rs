//! CONNECT tunnels: an opaque byte stream in which each direction closes separately.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::harness::{
    Builder, DEADLINE, Gateway, Streaming, Waiting, archive, assert_same, is_timeout, listen,
};

/// Returns a listener to which the gateway may open tunnels.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = listen("127.0.0.1");
    let address = listener.local_addr().expect("a listener has an address");
    (listener, address)
}

pub fn tunnelling_to(address: SocketAddr) -> Builder {
    Gateway::builder().port(address.port())
}

/// Sends a CONNECT request with `early` in the same write.
#[track_caller]
pub fn connect(gateway: &Gateway, authority: &str, early: &[u8]) -> Streaming {
    let mut bytes =
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").into_bytes();
    bytes.extend_from_slice(early);
    Waiting::send(gateway.proxy_addr(), &bytes, false).head()
}

/// Opens a tunnel and returns both ends.
#[track_caller]
pub fn open(gateway: &Gateway, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let address = listener
        .local_addr()
        .expect("a listener has an address")
        .to_string();
    let answer = connect(gateway, &address, b"");
    assert_eq!(answer.head.status, 200, "{:?}", answer.head);
    let (client, early) = answer.into_socket();
    assert!(early.is_empty(), "no bytes arrive before the server sends");
    let (server, _) = listener.accept().expect("the gateway has connected");
    server
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout can be set");
    (client, server)
}

#[track_caller]
fn read_all(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket
        .read_to_end(&mut bytes)
        .expect("the other side ends cleanly");
    bytes
}

#[test]
fn tunnel_carries_bytes_both_ways() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).start();
    let (mut client, mut server) = open(&gateway, &listener);
    let mut buffer = [0; 4];
    for (from, to) in [
        (true, b"ping"),
        (false, b"pong"),
        (true, b"more"),
        (false, b"done"),
    ] {
        let (sender, receiver) = if from {
            (&mut client, &mut server)
        } else {
            (&mut server, &mut client)
        };
        sender.write_all(to).expect("the tunnel accepts data");
        receiver
            .read_exact(&mut buffer)
            .expect("the tunnel delivers data");
        assert_eq!(&buffer, to);
    }
    drop(client);
    assert_eq!(read_all(&mut server), b"");
    drop(server);
    let event = gateway.log().wait_for("the tunnel", |event| {
        event["message"] == "request" && event["endpoint"] == "tunnel"
    });
    assert_eq!(event["method"], "CONNECT");
    assert_eq!(event["status"], 200);
    assert_eq!(event["sent_bytes"], 8, "bytes sent to the client");
    assert!(
        event["uri"]
            .as_str()
            .is_some_and(|uri| uri.contains(&address.to_string())),
        "{event}"
    );
}

#[test]
fn client_half_close_keeps_response_flowing() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).start();
    let answer = archive(1, 1 << 20);
    for _ in 0..60 {
        let (mut client, mut server) = open(&gateway, &listener);
        client
            .write_all(b"all I want to say")
            .expect("the tunnel accepts data");
        client
            .shutdown(Shutdown::Write)
            .expect("one direction can be closed");
        assert_eq!(read_all(&mut server), b"all I want to say");
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                server
                    .write_all(&answer)
                    .and_then(|()| server.shutdown(Shutdown::Write))
            });
            assert_same(&read_all(&mut client), &answer);
            sending
                .join()
                .expect("no thread panicked")
                .expect("the tunnel accepts all data");
        });
    }
}

#[test]
fn server_half_close_keeps_request_flowing() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).start();
    let question = archive(2, 1 << 20);
    for _ in 0..60 {
        let (mut client, mut server) = open(&gateway, &listener);
        server
            .write_all(b"all I want to say")
            .expect("the tunnel accepts data");
        server
            .shutdown(Shutdown::Write)
            .expect("one direction can be closed");
        assert_eq!(read_all(&mut client), b"all I want to say");
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                client
                    .write_all(&question)
                    .and_then(|()| client.shutdown(Shutdown::Write))
            });
            assert_same(&read_all(&mut server), &question);
            sending
                .join()
                .expect("no thread panicked")
                .expect("the tunnel accepts all data");
        });
    }
}

#[test]
fn data_sent_with_connect_head_is_kept() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).start();
    for size in [1, 100, 20_000, 200_000] {
        let early = archive(3, size);
        let (mut client, _) = connect(&gateway, &address.to_string(), &early).into_socket();
        client
            .shutdown(Shutdown::Write)
            .expect("one direction can be closed");
        let (mut server, _) = listener.accept().expect("the gateway has connected");
        assert_same(&read_all(&mut server), &early);
        server
            .write_all(b"got it")
            .expect("the tunnel accepts data");
        drop(server);
        assert_eq!(read_all(&mut client), b"got it");
    }
}

#[test]
fn tunnel_delivers_server_greeting() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).start();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut server, _) = listener.accept().expect("the gateway connects");
            server
                .write_all(b"220 ready\r\n")
                .expect("the tunnel accepts data");
        });
        let answer = connect(&gateway, &address.to_string(), b"");
        assert_eq!(answer.head.status, 200);
        let (mut client, mut early) = answer.into_socket();
        early.extend(read_all(&mut client));
        assert_eq!(early, b"220 ready\r\n");
    });
}

#[test]
fn tunnel_applies_backpressure() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).start();
    let (client, server) = open(&gateway, &listener);
    for (sender, receiver) in [(&client, &server), (&server, &client)] {
        let taken = fill(sender);
        assert!(
            taken < 64 << 20,
            "{taken} bytes were accepted without a reader"
        );
        let draining = receiver.try_clone().expect("a socket can be cloned");
        let read = thread::spawn(move || drain(draining, taken));
        assert_eq!(
            read.join().expect("no thread panicked"),
            taken,
            "no bytes are lost"
        );
    }
    assert!(
        resident_kib(gateway.pid()) < 200 << 10,
        "the gateway does not buffer unread data"
    );
}

/// Writes until the socket accepts no more, and returns the number of accepted bytes.
fn fill(mut socket: &TcpStream) -> usize {
    socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout can be set");
    let piece = vec![7; 64 << 10];
    let mut taken = 0;
    while taken < 64 << 20 {
        match socket.write(&piece) {
            Ok(count) => taken += count,
            Err(error) if is_timeout(&error) => return taken,
            Err(error) => panic!("the tunnel broke: {error}"),
        }
    }
    taken
}

fn drain(mut socket: TcpStream, wanted: usize) -> usize {
    let mut buffer = vec![0; 256 << 10];
    let mut read = 0;
    while read < wanted {
        match socket.read(&mut buffer).expect("the tunnel stays open") {
            0 => break,
            count => read += count,
        }
    }
    read
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .expect("the kernel reports the process status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("the kernel reports the memory of a process");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("the size is a number")
}

#[test]
fn idle_tunnel_is_closed() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address)
        .text("proxy.tunnel_idle_timeout", "300ms")
        .start();
    let (mut client, mut server) = open(&gateway, &listener);
    client.write_all(b"hello").expect("the tunnel accepts data");
    let mut buffer = [0; 5];
    server
        .read_exact(&mut buffer)
        .expect("the tunnel delivers data");
    for socket in [&mut client, &mut server] {
        match socket.read(&mut buffer) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("an idle tunnel is closed at both ends: {other:?}"),
        }
    }
}

#[test]
fn one_way_traffic_keeps_tunnel_open() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address)
        .text("proxy.tunnel_idle_timeout", "1s")
        .start();
    let (mut client, mut server) = open(&gateway, &listener);
    let sending = thread::spawn(move || {
        for number in 0..25_u8 {
            server
                .write_all(&[number])
                .expect("the tunnel accepts data");
            thread::sleep(Duration::from_millis(100));
        }
    });
    let all: Vec<u8> = (0..25).collect();
    assert_eq!(read_all(&mut client), all);
    sending.join().expect("no thread panicked");
}

#[test]
fn half_closed_idle_tunnel_is_closed() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address)
        .text("proxy.tunnel_idle_timeout", "300ms")
        .start();
    let (mut client, mut server) = open(&gateway, &listener);
    client
        .shutdown(Shutdown::Write)
        .expect("one direction can be closed");
    assert_eq!(read_all(&mut server), b"");
    // The server stays silent, and the client's read must end.
    let ended = client.read(&mut [0; 1]);
    assert!(matches!(ended, Ok(0)) || ended.is_err_and(|error| !is_timeout(&error)));
}

#[test]
fn reset_at_one_end_closes_the_other() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address).start();
    for client_resets in [true, false] {
        let (client, server) = open(&gateway, &listener);
        let (gone, mut left) = if client_resets {
            (client, server)
        } else {
            (server, client)
        };
        tokio::net::TcpSocket::from_std_stream(gone)
            .set_zero_linger()
            .expect("SO_LINGER can be set");
        let ended = left.read(&mut [0; 1]);
        assert!(matches!(ended, Ok(0)) || ended.is_err_and(|error| !is_timeout(&error)));
    }
}
