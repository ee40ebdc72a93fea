//! Heads of origins in which a line about the framing is damaged, and bounds of heads. A body whose
//! end would be a guess is refused.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use crate::harness::{Answer, Builder, Gateway, Origin, Reply, archive, listen};

fn builder(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

/// Requests a target at both ports.
fn ask_both(gateway: &Gateway, url: &str) -> [Answer; 2] {
    [gateway.get(url).send(), gateway.proxied("GET", url).send()]
}

#[test]
fn damaged_framing_line_is_refused() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(1, 3000);
    let lines: [&[u8]; 20] = [
        b"Content-Length: 3000\x01\r\n",
        b"Content-Length: \x003000\r\n",
        b"Content-Length: 30\x7f00\r\n",
        b"Content-Length\x01: 3000\r\n",
        b"Content-Length\x0c: 3000\r\n",
        b"\x0bContent-Length: 3000\r\n",
        b"\xa0content-length: 3000\r\n",
        b"Content-Length\xa0: 3000\r\n",
        b"Content-Length;: 3000\r\n",
        b"Content-Length\r\n",
        b"Content-Length:\r\n 3000\r\n",
        b"Content-Length: 3000\r\n 0\r\n",
        b"X-Note: one\r\n Content-Length: 3000\r\n",
        b" Content-Length: 3000\r\n",
        b"Content-Length: 3000\rX: y\r\n",
        b"Transfer-Encoding: chunked\x01\r\n",
        b"Transfer-Encoding\x00: chunked\r\n",
        b"Transfer-Encoding:\r\n\tchunked\r\n",
        b"Transfer\x02-Encoding: chunked\r\nContent-Length: 3000\r\n",
        b"Transfer-Encoding: chu\x08nked\r\nContent-Length: 3000\r\n",
    ];
    for (number, line) in lines.into_iter().enumerate() {
        for (start, before) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], &b""[..]),
            (b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
            (b"\r\n\nHTTP/1.1 200 OK\n", b""),
        ] {
            for name in ["x-1.0.tar.gz", "latest/list.bin"] {
                let path = format!("/{number}/{}{}/{name}", start.len(), before.len());
                let etag = b"ETag: \"a\"\r\n\r\n";
                let response = [before, start, line, etag, &body].concat();
                origin.serve(&path, Reply::raw(&response));
                for answer in ask_both(&gateway, &origin.url(&path)) {
                    let shown = String::from_utf8_lossy(line);
                    assert_eq!(answer.status, 502, "{shown:?} {path}: {}", answer.text());
                    answer.assert_problem(502);
                }
            }
        }
    }
    gateway.assert_nothing_stored();
}

#[test]
fn head_in_pieces_is_judged_whole() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(5, 3000);
    let hint = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let good = &b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"[..];
    let bad = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\x01\r\n\r\n";
    for (number, (head, is_accepted)) in [(good, true), (bad, false)].into_iter().enumerate() {
        let response = [&b"\r\n"[..], hint, b"\n", hint, head, &body].concat();
        for size in [1, hint.len(), hint.len() + 2] {
            let path = format!("/{number}/{size}/page");
            let pause = Duration::from_millis(if size == 1 { 0 } else { 5 });
            let reply = Reply::raw(&response);
            origin.serve(&path, reply.drip(size, pause));
            for answer in ask_both(&gateway, &origin.url(&path)) {
                if is_accepted {
                    answer.assert_body(200, &body);
                } else {
                    answer.assert_problem(502);
                }
            }
        }
    }
}

#[test]
fn similar_names_and_spaces_cost_nothing() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(2, 3000);
    for (number, lines) in [
        "X-Content-Length: 7\x01\r\nContent-Length: 3000\r\n",
        "Content Length: 7\r\nContent-Length: 3000\r\n",
        "Content_Length: 7\r\nContent-Length: 3000\r\n",
        "X: Content-Length: 7\x01\r\nContent-Length:3000\r\n",
        "Content-Length \t : \t 3000 \t\r\n",
        "content-length:3000\n",
    ]
    .into_iter()
    .enumerate()
    {
        for start in ["HTTP/1.1 200 OK\r\n", "\r\n\r\nHTTP/1.0 200 OK\r\n"] {
            let path = format!("/{number}/{}/x-1.0.tar.gz", start.len());
            let head = format!("{start}{lines}\r\n");
            origin.serve(&path, Reply::raw(&[head.as_bytes(), &body].concat()));
            for answer in ask_both(&gateway, &origin.url(&path)) {
                answer.assert_body(200, &body);
            }
        }
    }
}

#[test]
fn heads_are_bounded_in_bytes() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(3, 3000);
    let end = "Content-Length: 3000\r\n\r\n";
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    for (number, (head, is_accepted)) in [
        (long_head("X-Long: ", 60_000), true),
        (long_head("X-Long: ", 66_000), false),
        (long_head("X-More: more\r\n", 60_000), true),
        (long_head("X-More: more\r\n", 66_000), false),
        (hint.repeat(20) + "HTTP/1.1 200 OK\r\n", true),
        (hint.repeat(2000) + "HTTP/1.1 200 OK\r\n", false),
        ("\r\n".repeat(33_000) + "HTTP/1.1 200 OK\r\n", false),
    ]
    .into_iter()
    .enumerate()
    {
        for name in ["x-1.0.tar.gz", "latest/list.bin"] {
            let path = format!("/{number}/{name}");
            let head = [&head, end].concat();
            origin.serve(&path, Reply::raw(&[head.as_bytes(), &body].concat()));
            for answer in ask_both(&gateway, &origin.url(&path)) {
                if is_accepted {
                    answer.assert_body(200, &body);
                    continue;
                }
                answer.assert_problem(502);
                let found = answer.wants("proxy-status");
                assert!(
                    found.contains("http_response_header_section_size"),
                    "{found}"
                );
            }
        }
    }
}

/// Returns a head of this size in bytes without its end. It repeats a line, or the last byte of
/// what is no line.
fn long_head(line: &str, size: usize) -> String {
    let start = "HTTP/1.1 200 OK\r\n";
    if line.ends_with('\n') {
        return start.to_owned() + &line.repeat(size / line.len());
    }
    format!("{start}{line}{}\r\n", "x".repeat(size))
}

#[test]
fn endless_head_ends_the_connection() {
    let endless = listen("127.0.0.1");
    let address = endless.local_addr().expect("a listener has an address");
    let sending = thread::spawn(move || {
        let mut size = 0;
        let (mut socket, _) = endless.accept().expect("a client connects");
        let mut send = |bytes: &[u8]| {
            size += bytes.len();
            socket.write_all(bytes)
        };
        let mut is_open = send(b"HTTP/1.1 200 OK\r\n").is_ok();
        while is_open {
            is_open = send(&b"X-More: more\r\n".repeat(1000)).is_ok();
        }
        size
    });
    let gateway = Gateway::builder()
        .port(address.port())
        .relay()
        .one_attempt()
        .start();
    let answer = gateway.get(&format!("http://{address}/x-1.0.gz")).send();
    answer.assert_problem(502);
    let size = sending.join().expect("the origin does not panic");
    // Buffers of both sockets take some megabytes.
    assert!(size < 32 << 20, "{size} bytes were sent");
}

#[test]
fn upload_with_early_response_keeps_its_body() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(4, 300_000);
    origin.serve("/warm", Reply::ok(&body));
    origin.serve("/upload", Reply::file(&body));
    // Each chunk of the request looks like a request, and each of the response like a head.
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5000);
    for _ in 0..3 {
        gateway
            .get(&origin.url("/warm"))
            .send()
            .assert_body(200, &body);
        let upload = gateway.proxied("POST", &origin.url("/upload"));
        upload.body(&request).send().assert_body(200, &body);
    }
    for asked in origin.requests("/upload") {
        assert_eq!(asked.turn, 0, "the connection is a fresh one");
        assert_eq!(asked.body, request);
    }
}
