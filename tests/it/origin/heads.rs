//! Heads of origins that break a rule without effect on the body, and statuses of origins.

use crate::harness::{Builder, Gateway, Origin, Reply, archive};

fn builder(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

/// Returns a response with this head and body.
fn raw(head: &[u8], body: &[u8]) -> Reply {
    Reply::raw(&[head, b"\r\n", body].concat())
}

#[test]
fn malformed_field_costs_nothing() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(1, 30_000);
    let many = "a: b\r\n".repeat(3000);
    let long = format!("X-Long: {}\r\n", "x".repeat(60_000));
    let lines: [&[u8]; 20] = [
        b"X-XSS-Protection : 1; mode=block\r\n",
        b"X-Note: one\r\n  two\r\n",
        b"X-Note:\r\n\ttwo\r\n",
        b"X Powered By: something\r\n",
        b"X-Foo(1): bar\r\n",
        b"X-Foo: b\x01ar\r\n",
        b"X-Foo: \x7f\r\n",
        b"X-Foo: b\x00ar\r\n",
        b"X-Foo: b\rar\r\n",
        b"X-Foo: bar\r\r\n",
        b"X-Foo\x00: bar\r\n",
        b"X-Foo: \xe9\xff\r\n",
        b"a line without a colon\r\n",
        b": no name\r\n",
        b"\xe4: latin\r\n",
        b"X-Foo: bar\n",
        b"Content-Type: a/b\r\nContent-Type: c/d\r\n",
        b"Last-Modified: \x01\r\n",
        many.as_bytes(),
        long.as_bytes(),
    ];
    for (number, line) in lines.into_iter().enumerate() {
        let length = format!("Content-Length: {}\r\n", body.len());
        for (port, start) in [
            ("gateway", "HTTP/1.1 200 OK\r\n"),
            ("proxy", "HTTP/1.1 200\r\n"),
        ] {
            for name in ["x-1.0.tar.gz", "latest/list.bin"] {
                let path = format!("/{number}/{port}/{name}");
                let head = [start.as_bytes(), line, length.as_bytes()].concat();
                origin.serve(&path, raw(&head, &body));
                let url = origin.url(&path);
                let request = match port {
                    "gateway" => gateway.get(&url),
                    _ => gateway.proxied("GET", &url),
                };
                let answer = request.send();
                let line = String::from_utf8_lossy(&line[..line.len().min(60)]);
                assert_eq!(answer.status, 200, "{line:?}: {}", answer.text());
                answer.assert_body(200, &body);
            }
        }
    }
}

#[test]
fn bare_line_feeds_end_lines() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(2, 3000);
    let head = format!(
        "HTTP/1.1 200 OK\nETag: \"a\"\nContent-Length: {}\n",
        body.len()
    );
    origin.serve(
        "/x-1.0.tar.gz",
        Reply::raw(&[head.as_bytes(), b"\n", &body].concat()),
    );
    gateway.assert_serves(&origin.url("/x-1.0.tar.gz"), &body);
}

#[test]
fn contradictory_length_is_refused() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(3, 3000);
    for (number, lines) in [
        "Content-Length: 3000\r\nContent-Length: 2999\r\n",
        "Content-Length: 3000, 2999\r\n",
        "Content-Length: +3000\r\n",
        "Content-Length: 3e3\r\n",
        "Content-Length : 3000\r\nContent-Length: 1\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}/x-1.0.tar.gz");
        let head = format!("HTTP/1.1 200 OK\r\n{lines}");
        origin.serve(&path, raw(head.as_bytes(), &body));
        gateway.get(&origin.url(&path)).send().assert_problem(502);
    }
    gateway.assert_nothing_stored();
}

#[test]
fn status_with_whole_body_is_accepted() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(4, 30_000);
    let size = body.len();
    let range = format!("Content-Range: bytes 0-{}/{size}\r\n", size - 1);
    let length = format!("Content-Length: {size}\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let chunks = [format!("{size:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    for (number, (status, lines, sent)) in [
        (
            "203 Non-Authoritative Information",
            length.clone(),
            &body[..],
        ),
        ("226 IM Used", length.clone(), &body),
        ("206 Partial Content", format!("{range}{length}"), &body),
        ("206 Partial Content", format!("{range}{chunked}"), &chunks),
        ("206 Partial Content", range.clone(), &body),
        ("300 Multiple Choices", length.clone(), &body),
        ("200 OK", chunked.to_owned(), &chunks),
    ]
    .into_iter()
    .enumerate()
    {
        for name in ["x-1.0.tar.gz", "latest/list.bin"] {
            let path = format!("/{number}/{name}");
            let head = format!("HTTP/1.1 {status}\r\n{lines}");
            origin.serve(&path, raw(head.as_bytes(), sent));
            let answer = gateway.get(&origin.url(&path)).send();
            assert!(
                matches!(answer.status, 200 | 203 | 226 | 300),
                "{status} {path}"
            );
            answer.assert_body(answer.status, &body);
            let proxied = gateway.proxied("GET", &origin.url(&path)).send();
            proxied.assert_body(proxied.status, &body);
        }
        let stored = origin.url(&format!("/{number}/x-1.0.tar.gz"));
        gateway.await_stored(&stored);
    }
}

#[test]
fn unusual_status_lines_are_read() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(8, 3000);
    for (number, line) in [
        "HTTP/1.1  200  OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 200",
        "HTTP/1.1 200 d\u{e9}j\u{e0}",
        "HTTP/1.1 200 O\rK\0",
        "HTTP/1.2 200 OK",
        "HTTP/1.9 200 OK",
        "HTTP/1.0   200 OK",
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}/x-1.0.tar.gz");
        let head = format!("{line}\r\nContent-Length: {}\r\n", body.len());
        origin.serve(&path, raw(head.as_bytes(), &body));
        let answer = gateway.get(&origin.url(&path)).send();
        assert_eq!(answer.status, 200, "{line:?}: {}", answer.text());
        answer.assert_body(200, &body);
        gateway.await_stored(&origin.url(&path));
    }
}

#[test]
fn page_of_choices_is_no_archive() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let page = b"<!DOCTYPE html><html><body>choose</body></html>";
    let head = format!(
        "HTTP/1.1 300 Multiple Choices\r\nContent-Length: {}\r\n",
        page.len()
    );
    origin.serve("/x-1.0.tar.gz", raw(head.as_bytes(), page));
    let answer = gateway.get(&origin.url("/x-1.0.tar.gz")).send();
    answer.assert_problem(502);
    gateway.assert_nothing_stored();
}

#[test]
fn partial_body_is_never_taken_for_whole() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(5, 3000);
    for (number, lines) in [
        "Content-Range: bytes 0-2999/9000\r\nContent-Length: 3000\r\n",
        "Content-Range: bytes 10-3009/3010\r\nContent-Length: 3000\r\n",
        "Content-Range: bytes 0-3999/4000\r\nContent-Length: 3000\r\n",
        "Content-Range: bytes 0-3999/4000\r\n",
        "Content-Range: bytes 0-2999/*\r\nContent-Length: 3000\r\n",
        "Content-Length: 3000\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}/x-1.0.tar.gz");
        let head = format!("HTTP/1.1 206 Partial Content\r\n{lines}");
        origin.serve(&path, raw(head.as_bytes(), &body));
        let answer = gateway.get(&origin.url(&path)).send();
        if answer.status == 200 {
            answer.assert_broken();
        } else {
            answer.assert_problem(502);
        }
    }
    gateway.assert_nothing_stored();
}

#[test]
fn bytes_after_response_cost_one_connection() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(6, 3000);
    for (number, rubbish) in [
        &b"rubbish"[..],
        b"\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        &[0; 9000],
    ]
    .into_iter()
    .enumerate()
    {
        let (first, second) = (format!("/{number}/a-1.0.gz"), format!("/{number}/b-1.0.gz"));
        origin.serve(&first, Reply::file(&body).trailing(rubbish));
        origin.serve(&second, Reply::file(&body));
        gateway.assert_serves(&origin.url(&first), &body);
        gateway.assert_serves(&origin.url(&second), &body);
    }
}

#[test]
fn late_bytes_of_response_cost_one_connection() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let body = archive(6, 3000);
    origin.serve("/warm", Reply::ok(&body));
    for rubbish in [&b"rubbish\r\n"[..], b"<html></html>", &[0; 900]] {
        // The connection may not be back in the pool yet.
        let came_on_used_connection = (0..100).any(|number| {
            let path = format!("/{}/{number}/x-1.0.gz", rubbish.len());
            gateway.get(&origin.url("/warm")).send();
            origin.script(&path, vec![Reply::raw(rubbish), Reply::file(&body)]);
            let answer = gateway.get(&origin.url(&path)).send();
            let is_used = origin.requests(&path)[0].turn > 0;
            if is_used {
                answer.assert_body(200, &body);
            }
            is_used
        });
        assert!(came_on_used_connection, "no connection was reused");
    }
}

#[test]
fn proxy_authentication_of_origin_is_502() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    for path in ["/x-1.0.tar.gz", "/latest/x.bin", "/x?token=a"] {
        let reply = Reply::status(407).header("Proxy-Authenticate", "Basic realm=x");
        origin.serve(path, reply);
        let url = origin.url(path);
        for request in [
            gateway.get(&url),
            gateway.proxied("GET", &url),
            gateway.proxied("POST", &url),
        ] {
            let answer = request.send();
            answer.assert_problem(502);
            assert_eq!(answer.header("proxy-authenticate"), None);
        }
    }
    origin.serve("/moved-1.0.gz", Reply::redirect(302, "/x-1.0.tar.gz"));
    let moved = gateway.get(&origin.url("/moved-1.0.gz")).send();
    moved.assert_problem(502);
}

#[test]
fn proxy_status_names_failure() {
    let origin = Origin::start();
    let closed = Origin::start();
    let gateway = builder(&origin)
        .origin(&closed)
        .port(80)
        .text("fetch.idle_timeout", "1s")
        .start();
    let (refused, refused_page) = (closed.url("/x-1.0.gz"), closed.url("/latest/x"));
    closed.stop();
    origin.serve("/garbage-1.0.gz", Reply::raw(b"no HTTP at all\r\n\r\n"));
    origin.serve("/close-1.0.gz", Reply::raw(b""));
    for (url, wanted) in [
        (refused, "connection_refused"),
        (refused_page, "connection_refused"),
        ("http://nowhere.invalid/x-1.0.gz".to_owned(), "dns_error"),
        (origin.url("/garbage-1.0.gz"), "http_protocol_error"),
        (origin.url("/close-1.0.gz"), "connection_terminated"),
    ] {
        for request in [gateway.get(&url), gateway.proxied("GET", &url)] {
            let answer = request.send();
            let found = answer.wants("proxy-status").to_owned();
            assert!(found.contains(&format!("error={wanted}")), "{url}: {found}");
        }
    }
    let looped = gateway
        .get(&origin.url("/x"))
        .header("Via", "1.1 mill-test");
    let looped = looped.send();
    looped.assert_problem(508);
    assert!(looped.wants("proxy-status").contains("proxy_loop_detected"));
}
