//! Requests with a body, followed by other requests on the same connection.

use super::as_it_is;
use super::setting::{First, Port, SLOW, SMUGGLED, Setting, UPLOAD};
use crate::harness::{Gateway, archive, assert_same, encoded};

#[test]
fn body_of_get_is_not_the_next_request() {
    Setting::each(as_it_is, |setting| {
        let inner = setting.get(SMUGGLED);
        let outer = setting.head("GET", SLOW, &format!("Content-Length: {}\r\n", inner.len()));
        let mut received = setting.exchange([outer, inner, setting.last()].concat());
        let first = received.take("GET");
        assert_same(&first.body, &setting.slow);
        // A server may close behind a body that it has not read, if it says so.
        if !first.head.contains("connection: close\r\n") {
            received.take_ok("GET", &setting.other);
        }
        received.assert_end();
        assert_eq!(setting.origin.count(SMUGGLED), 0);
    });
}

#[test]
fn chunked_body_behind_get_ends_with_its_trailers() {
    Setting::each(as_it_is, |setting| {
        let post = setting.head("POST", UPLOAD, "Transfer-Encoding: chunked\r\n");
        let body = "5;a=b\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n";
        let sent = [setting.get(SLOW), post, body.to_owned(), setting.last()].concat();
        let mut received = setting.exchange(sent);
        received.take_ok("GET", &setting.slow);
        match setting.port {
            Port::Proxy => received.take_ok("POST", b"taken\n"),
            Port::Gateway => assert_eq!(received.take("POST").status, 405),
        }
        received.take_ok("GET", &setting.other);
        received.assert_end();
        if setting.port == Port::Proxy {
            assert_eq!(setting.origin.request(UPLOAD).body, b"hello");
        }
    });
}

#[test]
fn upload_that_expects_continue_waits_for_its_turn() {
    let setting = Setting::new(First::Miss, Port::Gateway, Gateway::builder());
    let body = archive(4, 600_000);
    let put = format!(
        "PUT /api/v1/objects?url={} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Expect: 100-continue\r\n\
         Content-Length: {}\r\n\r\n",
        encoded(&setting.origin.url("/imported-1.0.tar.gz")),
        setting.gateway.token(),
        body.len()
    );
    let sent = [
        setting.get(SLOW).as_bytes(),
        put.as_bytes(),
        &body,
        setting.last().as_bytes(),
    ]
    .concat();
    let mut received = setting.exchange(sent);
    received.take_ok("GET", &setting.slow);
    assert_eq!(received.take("PUT").status, 100);
    assert_eq!(received.take("PUT").status, 201);
    received.take_ok("GET", &setting.other);
    received.assert_end();
    setting
        .gateway
        .assert_serves(&setting.origin.url("/imported-1.0.tar.gz"), &body);
}

#[test]
fn malformed_chunks_reach_no_later_request() {
    Setting::each(as_it_is, |setting| {
        for body in [
            "5\nhello\r\n0\r\n\r\n",
            "0\r\nX: a\nY: b\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "-1\r\n\r\n",
        ] {
            let post = setting.head("POST", UPLOAD, "Transfer-Encoding: chunked\r\n");
            let sent = [
                setting.get(SLOW),
                post,
                body.to_owned(),
                setting.get(SMUGGLED),
            ]
            .concat();
            let mut received = setting.exchange(sent);
            received.take_ok("GET", &setting.slow);
            while !received.0.is_empty() {
                let status = received.take("POST").status;
                assert!((400..600).contains(&status), "{body:?}: {status}");
            }
        }
        assert_eq!(setting.origin.count(SMUGGLED), 0);
    });
}
