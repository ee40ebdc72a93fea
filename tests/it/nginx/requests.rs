//! Requests through the real nginx with the shipped files: the gateway interprets them as
//! it does without nginx.

mod proxy_port;
mod targets;

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{
    Answer, Builder, Gateway, Nginx, Origin, Reply, Tool, Waiting, archive, assert_same,
};

const IMMUTABLE: &str = "/pub/x-1.0.tar.gz";
const PASS_THROUGH: &str = "/pub/latest/list.bin";

/// Returns a gateway configured for use behind nginx.
pub fn behind_nginx(origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .behind_nginx()
}

#[test]
fn client_address_is_never_taken_from_headers() {
    let origin = Origin::start();
    origin.serve(IMMUTABLE, Reply::file(&archive(1, 2000)));
    let gateway = behind_nginx(&origin)
        .set("policy.allow_clients", "[\"127.0.0.0/28\"]")
        .start();
    let nginx = Nginx::before(&gateway);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let ask = |from: &str, proxied: bool, headers: &[&str]| {
        let mut curl = Tool::curl(folder.path()).args(&[
            "-o",
            "out",
            "-w",
            "%{http_code}",
            "--interface",
            from,
        ]);
        for header in headers {
            curl = curl.args(&["-H", header]);
        }
        let proxy = nginx.proxy_addr().to_string();
        if proxied {
            curl.args(&["-x", &proxy, &origin.url(IMMUTABLE)])
                .run()
                .stdout
        } else {
            curl.arg(&nginx.rewritten(&origin.url(IMMUTABLE)))
                .run()
                .stdout
        }
    };
    let lies = [
        "X-Forwarded-For: 127.0.0.9",
        "X-Forwarded-For: 127.0.0.8",
        "X-Real-IP: 127.0.0.9",
        "Forwarded: for=127.0.0.9",
        "PROXY: TCP4 127.0.0.9 127.0.0.1 1 2",
    ];
    for proxied in [false, true] {
        assert_eq!(ask("127.0.0.2", proxied, &lies), "200");
        gateway.log().wait_for("the client", |event| {
            let endpoint = if proxied { "proxy" } else { "gateway" };
            event["message"] == "request"
                && event["client"] == "127.0.0.2"
                && event["endpoint"] == endpoint
        });
        assert_eq!(ask("127.0.0.99", proxied, &lies), "403");
    }
    let told = gateway
        .log()
        .events()
        .into_iter()
        .filter(|event| event["message"] == "request");
    for event in told {
        assert!(
            ["127.0.0.2", "127.0.0.99"].contains(&event["client"].as_str().unwrap_or_default()),
            "{event}"
        );
    }
}

#[test]
fn headers_of_nginx_are_ignored_from_clients() {
    let origin = Origin::start();
    let body = archive(2, 100_000);
    origin.serve(IMMUTABLE, Reply::file(&body));
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let url = origin.url(IMMUTABLE);
    nginx.get(&url).send().assert_body(200, &body);
    gateway.await_stored(&url);
    let marked = |name: &str, value: &str| nginx.get(&url).header(name, value).send();
    let plain = nginx.get(&url).send();
    for (name, value) in [
        (
            "X-Millpond-Request-Line",
            "GET /https://example.org/other-1.0.tar.gz HTTP/1.1",
        ),
        ("X-Millpond-File-Missing", "1"),
        ("X-Accel-Redirect", "/_objects/00/0"),
        ("X-Accel-Buffering", "yes"),
    ] {
        let answer = marked(name, value);
        answer.assert_body(200, &body);
        assert_eq!(shown(&answer), shown(&plain), "{name}");
    }
    assert_eq!(origin.total(), 1);
    // The internal location of nginx is no valid target for clients.
    let object = gateway.object_path(&body);
    let name = object
        .strip_prefix(gateway.cache())
        .expect("the object is in the cache")
        .to_str()
        .expect("the path is text");
    let path = format!("/_{name}");
    assert!(path.starts_with("/_objects/"), "{path}");
    for spelling in [
        path.clone(),
        path.replace("_objects", "%5Fobjects"),
        format!("/x/..{path}"),
        format!("/.{path}"),
    ] {
        nginx.request("GET", &spelling).send().assert_status(404);
    }
}

#[test]
fn origin_cannot_send_accel_headers_to_nginx() {
    let origin = Origin::start();
    let page = b"page\n".to_vec().into();
    let reply = Reply::ok(&page)
        .header("X-Accel-Redirect", "/_objects/")
        .header("X-Accel-Limit-Rate", "1");
    origin.serve(
        PASS_THROUGH,
        reply
            .header("X-Accel-Buffering", "yes")
            .header("X-Accel-Charset", "utf-7"),
    );
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let url = origin.url(PASS_THROUGH);
    for request in [
        nginx.get(&url),
        nginx.request("GET", &url),
        nginx.proxied("GET", &url),
    ] {
        request.send().assert_body(200, b"page\n");
    }
    assert_eq!(origin.count(PASS_THROUGH), 3);
}

#[test]
fn nginx_serves_builtin_pages() {
    let gateway = Gateway::builder().behind_nginx().start();
    let nginx = Nginx::before(&gateway);
    for path in ["/", "/healthz", "/readyz", "/version", "/robots.txt"] {
        let (through, direct) = (
            nginx.request("GET", path).send(),
            gateway.request("GET", path).send(),
        );
        // The page names the address under which it was asked.
        let (own, front) = (gateway.addr().to_string(), nginx.addr().to_string());
        let text = direct.text().replace(&own, &front);
        assert_eq!((through.status, through.text()), (200, text), "{path}");
        nginx.request("HEAD", path).send().assert_body(200, b"");
    }
    nginx
        .request("POST", "/")
        .body(b"x")
        .send()
        .assert_status(405);
}

#[test]
fn nginx_refuses_connect_and_http_0_9_requests() {
    let gateway = Gateway::builder().behind_nginx().start();
    let nginx = Nginx::before(&gateway);
    // nginx 1.22 answers 400; later versions answer 405.
    let connect = nginx.request("CONNECT", "127.0.0.1:443").send();
    assert!(matches!(connect.status, 400 | 405), "{:?}", connect.head);
    // A client cannot detect a cut response of HTTP/0.9.
    let mut old = TcpStream::connect(nginx.addr()).expect("nginx accepts the connection");
    old.write_all(b"GET /healthz\r\n\r\n")
        .expect("nginx reads the request");
    let mut answer = String::new();
    old.read_to_string(&mut answer)
        .expect("nginx closes the connection");
    assert!(
        answer.contains("HTTP/1.0 or later") && !answer.contains("alive"),
        "{answer}"
    );
    // An HTTP/1.0 request needs no `Host`.
    let bare = Waiting::send(nginx.addr(), b"GET /healthz HTTP/1.0\r\n\r\n", false)
        .head()
        .finish();
    assert_eq!((bare.status, bare.text().as_str()), (200, "alive\n"));
}

#[test]
fn client_connection_stays_open_between_requests() {
    let origin = Origin::start();
    let body = archive(5, 100_000);
    origin.serve(IMMUTABLE, Reply::file(&body));
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    nginx
        .get(&origin.url(IMMUTABLE))
        .send()
        .assert_body(200, &body);
    gateway.await_stored(&origin.url(IMMUTABLE));
    let one = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url(IMMUTABLE));
    let pages = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut streaming = Waiting::send(
        nginx.addr(),
        [&one, pages, &one, &one].concat().as_bytes(),
        false,
    )
    .head();
    for wanted in [&body[..], b"alive\n", &body[..]] {
        let (next, answer) = streaming.next();
        answer.assert_body(200, wanted);
        streaming = next;
    }
    assert_same(&streaming.read(body.len()), &body);
}

#[test]
fn unreachable_gateway_gives_503_with_retry_after() {
    let mut gateway = Gateway::builder().behind_nginx().start();
    let nginx = Nginx::before(&gateway);
    gateway.kill9();
    let answer = nginx.request("GET", "/healthz").send();
    answer.assert_problem(503);
    assert_eq!(answer.wants("retry-after"), "5");
}

#[test]
fn nginx_log_contains_no_secrets() {
    let origin = Origin::start();
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let port = origin.port();
    for target in [
        format!("/{}?X-Amz-Signature=hush", origin.url("/signed-1.0.tar.gz")),
        format!("http://127.0.0.1:{port}/absolute-1.0.tar.gz?token=hush"),
        "/ftp://somebody:hush@127.0.0.1:9/user-1.0.tar.gz".to_owned(),
        "/ftp:/somebody:hush%40127.0.0.1:9/encoded-1.0.tar.gz".to_owned(),
        "ftp://somebody:hush@127.0.0.1:9/absolute-user-1.0.tar.gz".to_owned(),
        "/ftp%3A%2F%2Fsomebody%3Ahush%40127.0.0.1%3A9%2Fwhole-1.0.tar.gz".to_owned(),
        "/ftp%3a//somebody%3Ahush@127.0.0.1%3A9/colon-1.0.tar.gz".to_owned(),
        "/ftp:%2f%2fsomebody:hush%40127.0.0.1:9%2fslash-1.0.tar.gz".to_owned(),
        format!("/http%3A%2F%2F127.0.0.1%3A{port}%2Fquery-1.0.tar.gz%3Ftoken%3Dhush%40x"),
        format!("/http://127.0.0.1:{port}/mark-1.0.tar.gz%3ftoken=hush"),
        format!("/http://127.0.0.1:{port}/at-1.0.tar.gz?hush@x"),
        format!("/http://127.0.0.1:{port}/%7Eat%2Dmark-1.0.tar.gz%3Fhush%40x"),
        "/ftp://somebody:hush%40@127.0.0.1:9/two-marks-1.0.tar.gz?hush".to_owned(),
    ] {
        nginx.request("GET", &target).send();
    }
    let log = crate::harness::eventually("all requests are logged", || {
        let lines = nginx.accesses();
        (lines.len() == 13).then(|| lines.join("\n"))
    });
    assert!(!log.contains("hush"), "{log}");
    for name in [
        "signed",
        "absolute",
        "user",
        "encoded",
        "absolute-user",
        "whole",
        "colon",
        "slash",
        "query",
        "mark",
        "at",
        "%7eat%2dmark",
        "two-marks",
    ] {
        assert!(
            log.to_lowercase()
                .replace("%2f", "/")
                .contains(&format!("/{name}-1.0.tar.gz")),
            "{name} is logged: {log}"
        );
    }
}

/// Returns the headers without those that nginx sets itself. A second may pass between two
/// responses, so `Age` must only be a number.
pub fn shown(answer: &Answer) -> Vec<(String, String)> {
    let of_nginx = ["date", "server", "connection"];
    let headers = answer
        .head
        .headers
        .iter()
        .map(|(name, value)| match name.to_ascii_lowercase() {
            name if name == "age" => {
                let age: u64 = value.parse().expect("Age is a number");
                assert!(age < 3600, "{age}");
                (name, "seconds".to_owned())
            }
            name => (name, value.clone()),
        });
    let mut headers: Vec<_> = headers
        .filter(|(name, _)| !of_nginx.contains(&name.as_str()))
        .collect();
    headers.sort();
    headers
}
