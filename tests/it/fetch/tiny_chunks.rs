//! Bodies that arrive in chunks of one byte. They are gathered before they are written and sent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::harness::{DEADLINE, Gateway, Origin, Reply, archive, assert_same};

const SIZE_BYTES: usize = 5000;

/// Returns a response whose body is in chunks of one byte.
fn in_tiny_chunks(body: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"1\"\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    for byte in body {
        bytes.extend_from_slice(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// Requests a target, and returns the sizes of the chunks of the response, and its body.
fn receive_chunks(gateway: &Gateway, url: &str) -> (Vec<usize>, Vec<u8>) {
    let mut socket = TcpStream::connect(gateway.addr()).expect("the gateway accepts");
    socket
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout can be set");
    let head = format!("GET /{url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    socket
        .write_all(head.as_bytes())
        .expect("the gateway reads");
    let mut raw = Vec::new();
    socket.read_to_end(&mut raw).expect("the response ends");
    let head_end = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let mut rest = &raw[head_end.expect("there is a head") + 4..];
    let (mut sizes, mut body) = (Vec::new(), Vec::new());
    loop {
        let line_end = rest.iter().position(|byte| *byte == b'\r');
        let line = &rest[..line_end.expect("a chunk has a size")];
        let size = std::str::from_utf8(line).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
        if size == 0 {
            return (sizes, body);
        }
        let start = line.len() + 2;
        body.extend_from_slice(&rest[start..start + size]);
        sizes.push(size);
        rest = &rest[start + size + 2..];
    }
}

#[test]
fn chunks_of_one_byte_are_gathered() {
    // One target of each class.
    for path in ["/x-1.0.tar.gz", "/list", "/page?session=1&sig=2"] {
        let origin = Origin::start();
        let body = archive(1, SIZE_BYTES);
        origin.serve(path, Reply::raw(&in_tiny_chunks(&body)));
        let gateway = Gateway::relaying(&origin);
        let (sizes, received) = receive_chunks(&gateway, &origin.url(path));
        assert_same(&received, &body);
        let count = sizes.len();
        assert!(count < SIZE_BYTES / 4, "{path}: {count} chunks");
    }
}

#[test]
fn cut_after_tiny_chunks_is_an_error() {
    let origin = Origin::start();
    let body = archive(2, SIZE_BYTES);
    for path in ["/x-1.0.tar.gz", "/list", "/page?session=1&sig=2"] {
        let mut reply = in_tiny_chunks(&body);
        reply.truncate(reply.len() - 20);
        origin.serve(path, Reply::raw(&reply));
        let gateway = Gateway::relaying(&origin);
        let answer = gateway.get(&origin.url(path)).send_if_it_lives();
        if let Some(answer) = answer.filter(|answer| answer.status == 200) {
            answer.assert_broken();
        }
    }
}
