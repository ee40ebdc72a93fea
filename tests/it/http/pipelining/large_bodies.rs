//! Bodies that the connection sends past the buffer of the HTTP library.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZero;

use rustix::fs::{Advice, fadvise};

use super::setting::{PORTS, Received};
use crate::harness::{Body, DEADLINE, Gateway, Origin, Reply, Scene, archive, is_request_of};

/// On both sides of the bounds of a direct body and of a chunk.
const SIZES: [usize; 6] = [
    100,
    32 * 1024 - 1,
    32 * 1024,
    256 * 1024,
    256 * 1024 + 1,
    3 << 20,
];

fn path(size_bytes: usize) -> String {
    format!("/file-1.{size_bytes}.tar.gz")
}

/// Returns a gateway that has stored a file, with its origin, the file and its URL.
fn stored(path: &str, body: Body) -> (Origin, Gateway, Body, String) {
    let (origin, gateway, body, url) = Scene::relaying(path, body);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    (origin, gateway, body, url)
}

fn exchange(address: std::net::SocketAddr, sent: &str) -> Received {
    let mut socket = TcpStream::connect(address).expect("the gateway listens");
    let patience = socket.set_read_timeout(Some(DEADLINE));
    patience.expect("a timeout can be set");
    let sending = socket.write_all(sent.as_bytes());
    sending.expect("the gateway takes the requests");
    let mut bytes = Vec::new();
    let reading = socket.read_to_end(&mut bytes);
    reading.expect("the gateway answers and closes");
    Received(bytes)
}

#[test]
fn large_bodies_keep_their_order_and_bytes() {
    let origin = Origin::start();
    let bodies: Vec<(usize, Body)> = SIZES.map(|size| (size, archive(9, size))).to_vec();
    for (size, body) in &bodies {
        origin.serve(&path(*size), Reply::file(body));
    }
    let gateway = Gateway::relaying(&origin);
    for port in PORTS {
        let request = |method: &str, size: usize, fields: &str| {
            let target = port.target(&origin.url(&path(size)));
            format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
        };
        let requests = bodies.iter().map(|(size, _)| {
            let range = request("GET", *size, "Range: bytes=50-\r\n");
            [request("GET", *size, ""), request("HEAD", *size, ""), range].concat()
        });
        let sent: String = requests.collect();
        let last = request("GET", SIZES[0], "Connection: close\r\n");
        let mut received = exchange(port.address(&gateway), &[sent, last].concat());
        for (_, body) in &bodies {
            received.take_ok("GET", body);
            received.take_ok("HEAD", body);
            let part = received.take("GET");
            assert_eq!(part.status, 206);
            assert!(
                part.body == body[50..],
                "{} bytes of {}",
                part.body.len(),
                body.len()
            );
        }
        received.take_last_ok(&bodies[0].1);
    }
}

#[test]
fn large_body_of_old_client_ends_with_connection() {
    let origin = Origin::start();
    let body = archive(10, 1 << 20);
    origin.serve("/old-1.0.tar.gz", Reply::file(&body));
    let gateway = Gateway::relaying(&origin);
    let target = origin.url("/old-1.0.tar.gz");
    for _ in 0..2 {
        let mut received = exchange(gateway.addr(), &format!("GET /{target} HTTP/1.0\r\n\r\n"));
        received.take_ok("GET", &body);
        received.assert_end();
    }
}

#[test]
fn object_that_gets_shorter_breaks_the_connection() {
    // More than the sockets buffer, in front of the end of the shorter object too.
    const SIZE: usize = 24 << 20;
    const SHORTER: u64 = 16 << 20;
    let (_origin, gateway, body, url) = stored("/cut-1.0.tar.gz", archive(11, SIZE));
    let mut socket = TcpStream::connect(gateway.addr()).expect("the gateway listens");
    let request = format!("GET /{url} HTTP/1.1\r\nHost: x\r\n\r\n");
    socket
        .write_all(request.as_bytes())
        .expect("the gateway takes the request");
    let mut bytes = vec![0; 1000];
    socket.read_exact(&mut bytes).expect("the response begins");
    let object = gateway.object_path(&body);
    let file = fs::OpenOptions::new().write(true).open(object);
    let cut = file.and_then(|file| file.set_len(SHORTER));
    cut.expect("the object can be cut");
    socket.read_to_end(&mut bytes).expect("the connection ends");
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let received = &bytes[head.expect("there is a head") + 4..];
    assert_eq!(received.len() as u64, SHORTER);
    assert!(
        body.starts_with(received),
        "the bytes are those of the object"
    );
    let event = gateway.log().wait_for("the broken response", |event| {
        is_request_of(event, "cut-1.0") && event["completion"] == "aborted"
    });
    assert_eq!(event["sent_bytes"], SHORTER, "{event}");
}

#[test]
fn unsent_bytes_are_not_logged_as_sent() {
    let origin = Origin::start();
    let body = archive(12, 24 << 20);
    origin.serve("/left-1.0.tar.gz", Reply::file(&body));
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/left-1.0.tar.gz");
    gateway.assert_serves(&url, &body);
    let mut answer = gateway.get(&url).open();
    answer.read(1);
    drop(answer);
    let event = gateway.log().wait_for("the broken response", |event| {
        is_request_of(event, "left-1.0") && event["completion"] == "aborted"
    });
    let sent_bytes = event["sent_bytes"].as_u64().expect("a number of bytes");
    assert!(sent_bytes < body.len() as u64, "{event}");
}

#[test]
fn clients_that_pause_get_the_rest() {
    const CLIENTS: usize = 40;
    let (_origin, gateway, body, url) = stored("/paused-1.0.tar.gz", archive(13, 8 << 20));
    let paused = (0..CLIENTS).map(|_| gateway.get(&url).open());
    let paused: Vec<_> = paused
        .map(|mut answer| {
            assert_eq!(answer.read(1), body[..1]);
            answer
        })
        .collect();
    // Their sockets are full by the time that this client has its bytes.
    gateway.assert_serves(&url, &body);
    for answer in paused {
        assert!(answer.finish().body == body[1..], "the rest is complete");
    }
}

#[test]
fn bytes_outside_memory_are_read_and_sent() {
    const SIZE: usize = 5 << 20;
    let (_origin, gateway, body, url) = stored("/cold-1.0.tar.gz", archive(14, SIZE));
    let object = fs::File::open(gateway.object_path(&body)).expect("the object is there");
    object.sync_all().expect("the object can be synced");
    // The whole object, its middle, and its end.
    for (first, length) in [(0, SIZE), (1 << 20, 3 << 20), (SIZE - 4096, 4096)] {
        gateway.assert_serves(&url, &body);
        let length = NonZero::new(length as u64);
        let dropped = fadvise(&object, first as u64, length, Advice::DontNeed);
        dropped.expect("the kernel takes the advice");
        gateway.assert_serves(&url, &body);
        let range = gateway.get(&url).header("Range", "bytes=1000000-").send();
        assert_eq!(range.status, 206);
        assert!(range.body == body[1_000_000..], "the range is complete");
    }
}
