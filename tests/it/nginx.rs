//! Requests through the real nginx with the shipped files: the gateway interprets them as
//! it does without nginx.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::harness::{
    Answer, Builder, Gateway, Nginx, Origin, Reply, Request, Tool, Waiting, archive, assert_same,
    is_request_of,
};
use crate::tunnel::listener;

const FROZEN: &str = "/pub/x-1.0.tar.gz";
const PASSED: &str = "/pub/latest/list.bin";

/// Targets that a proxy might decode, merge or encode.
const ODD_TARGETS: [&str; 26] = [
    "/a//b.bin",
    "//a.bin",
    "/a.bin//",
    "/a%2Fb.bin",
    "/a%2fb.bin",
    "/a+b.bin",
    "/a%20b.bin",
    "/a;b=c.bin",
    "/a:b@c.bin",
    "/~u/!$&'()*,=.bin",
    "/%7Eu/%41.bin",
    "/%E4%BD%A0.bin",
    "/100%25.bin",
    "/%2525.bin",
    "/a%3Fb.bin",
    "/a%23b.bin",
    "/a%09b.bin",
    "/_objects/ab/x.bin",
    "/x.bin?",
    "/x.bin?a?b",
    "/x.bin?a=%20+%2F//&b=;c",
    "/x.bin?a='b'",
    "/x.bin?u=https://example.org//y",
    "/x.bin?a=/../b",
    "/https://example.org/x.bin",
    "/x.bin?&&==",
];

/// Returns a gateway configured for use behind nginx.
pub fn behind_nginx(origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .behind_nginx()
}

/// Returns the targets of the first `count` requests, as the gateway parsed them.
fn uris(gateway: &Gateway, count: usize) -> Vec<String> {
    let events = gateway
        .log()
        .wait_for_many("the requests", count, |event| event["message"] == "request");
    let mut uris: Vec<_> = events
        .iter()
        .map(|event| event["uri"].as_str().unwrap_or_default().to_owned())
        .collect();
    uris.sort();
    uris
}

#[test]
fn nginx_forwards_targets_byte_for_byte() {
    let origin = Origin::start();
    let direct = behind_nginx(&origin).start();
    let behind = behind_nginx(&origin).start();
    let nginx = Nginx::before(&behind);
    let ask_all = |ask: &dyn Fn(&str) -> Request| {
        let statuses = ODD_TARGETS.map(|target| ask(&origin.url(target)).send().status);
        (statuses, origin.asked())
    };
    let (wanted, once) = ask_all(&|url| direct.get(url));
    assert_eq!(
        once.len(),
        ODD_TARGETS.len(),
        "the origin gets each target: {once:?}"
    );
    let (found, twice) = ask_all(&|url| nginx.get(url));
    assert_eq!(found, wanted);
    assert_eq!(
        twice,
        once.iter()
            .flat_map(|target| [target.clone(), target.clone()])
            .collect::<Vec<_>>()
    );
    assert_eq!(
        uris(&direct, ODD_TARGETS.len()),
        uris(&behind, ODD_TARGETS.len())
    );
}

#[test]
fn nginx_does_not_change_target_parsing() {
    let refusing = || {
        Gateway::builder()
            .relay()
            .behind_nginx()
            .set("policy.allow_hosts", "[\"nobody.example\"]")
            .start()
    };
    let (direct, behind) = (refusing(), refusing());
    let nginx = Nginx::before(&behind);
    let table = include_str!("../rewrites.tsv");
    let mut taken = 0;
    for line in table.lines().filter(|line| line.starts_with('/')) {
        let (spelling, verdict) = line.split_once('\t').expect("a line has two fields");
        // A request line that is not valid HTTP names no target.
        if spelling.contains(['\\', ' ']) {
            continue;
        }
        let (through, without) = (
            nginx.request("GET", spelling).send(),
            direct.request("GET", spelling).send(),
        );
        assert_eq!(through.status, without.status, "{spelling}");
        if verdict.starts_with('!') {
            continue;
        }
        assert_eq!(
            (without.status, without.text()),
            (through.status, through.text()),
            "{spelling}"
        );
        taken += 1;
    }
    assert!(taken >= 40, "only {taken} spellings were compared");
    // A 403 or 400 may come from nginx, and then has no target.
    let canonical = |gateway| {
        uris(gateway, taken)
            .into_iter()
            .filter(|uri| uri.contains("://"))
            .collect::<Vec<_>>()
    };
    assert_eq!(canonical(&direct), canonical(&behind));
}

#[test]
fn nginx_forwards_long_targets() {
    let origin = Origin::start();
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let target = format!("/x.bin?{}", "a".repeat(8000));
    origin.serve(&target, Reply::ok(&b"long\n".to_vec().into()));
    nginx
        .get(&origin.url(&target))
        .send()
        .assert_body(200, b"long\n");
    assert_eq!(origin.count(&target), 1);
    // The gateway rejects a target that is too long.
    nginx
        .get(&origin.url(&format!("/x.bin?{}", "a".repeat(20_000))))
        .send()
        .assert_problem(414);
}

#[test]
fn client_address_is_never_taken_from_headers() {
    let origin = Origin::start();
    origin.serve(FROZEN, Reply::file(&archive(1, 2000)));
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
            curl.args(&["-x", &proxy, &origin.url(FROZEN)]).run().stdout
        } else {
            curl.arg(&nginx.rewritten(&origin.url(FROZEN))).run().stdout
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
            let door = if proxied { "proxy" } else { "gateway" };
            event["message"] == "request"
                && event["client"] == "127.0.0.2"
                && event["endpoint"] == door
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
    origin.serve(FROZEN, Reply::file(&body));
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let url = origin.url(FROZEN);
    nginx.get(&url).send().assert_body(200, &body);
    gateway.await_stored(&url);
    let marked = |name: &str, value: &str| nginx.get(&url).header(name, value).send();
    let plain = nginx.get(&url).send();
    for (name, value) in [
        (
            "X-Millpond-Request-Line",
            "GET /https://example.org/other.tar.gz HTTP/1.1",
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
        PASSED,
        reply
            .header("X-Accel-Buffering", "yes")
            .header("X-Accel-Charset", "utf-7"),
    );
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let url = origin.url(PASSED);
    for request in [
        nginx.get(&url),
        nginx.request("GET", &url),
        nginx.proxied("GET", &url),
    ] {
        request.send().assert_body(200, b"page\n");
    }
    assert_eq!(origin.count(PASSED), 3);
}

#[test]
fn gateway_port_accepts_proxy_requests() {
    let origin = Origin::start();
    let body = archive(3, 50_000);
    origin.serve(FROZEN, Reply::file(&body));
    origin.serve("/_objects/x.tar.gz", Reply::file(&body));
    origin.serve(
        PASSED,
        Reply::ok(&b"page\n".to_vec().into()).header("Set-Cookie", "a=b"),
    );
    let gateway = Gateway::builder()
        .origin(&origin)
        .one_attempt()
        .behind_nginx()
        .start();
    let nginx = Nginx::before(&gateway);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let proxy = nginx.addr().to_string();
    for path in [FROZEN, "/_objects/x.tar.gz"] {
        for _ in 0..2 {
            let curl = Tool::curl(folder.path()).args(&[
                "-f",
                "-o",
                "out",
                "-x",
                &proxy,
                &origin.url(path),
            ]);
            curl.run().assert_success();
            assert_same(
                &fs::read(folder.path().join("out")).expect("curl wrote the file"),
                &body,
            );
        }
        gateway.await_stored(&origin.url(path));
        // Hits that nginx sends with sendfile count too.
        let hit = nginx.request("GET", &origin.url(path)).send();
        hit.assert_body(200, &body);
        hit.assert_cache(&["hit"]);
        assert_eq!(origin.count(path), 1, "{path}");
    }
    let passed = nginx.request("GET", &origin.url(PASSED)).send();
    assert_eq!(passed.wants("set-cookie"), "a=b", "a proxy is transparent");
    let posted = nginx
        .request("POST", &origin.url("/latest/form"))
        .body(b"a=b")
        .send();
    assert_eq!(
        (posted.status, origin.request("/latest/form").body),
        (404, b"a=b".to_vec())
    );
    gateway.log().wait_for("the endpoint", |event| {
        is_request_of(event, FROZEN) && event["endpoint"] == "proxy"
    });
    // FTP gets the same response as at the proxy port.
    let ftp = "ftp://127.0.0.1:21/pub/x-1.0.tar.gz";
    let (at_gateway, at_proxy) = (
        nginx.request("GET", ftp).send(),
        nginx.proxied("GET", ftp).send(),
    );
    assert_eq!(
        (at_gateway.status, at_gateway.text()),
        (at_proxy.status, at_proxy.text())
    );
}

#[test]
fn nginx_proxy_port_serves_requests_and_tunnels() {
    let origin = Origin::start();
    let body = archive(4, 50_000);
    origin.serve(FROZEN, Reply::file(&body));
    let (listener, address) = listener();
    let gateway = behind_nginx(&origin).port(address.port()).start();
    let nginx = Nginx::before(&gateway);
    for _ in 0..2 {
        nginx
            .proxied("GET", &origin.url(FROZEN))
            .send()
            .assert_body(200, &body);
    }
    assert_eq!(origin.count(FROZEN), 1);

    let head = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\nearly ");
    let answer = Waiting::send(nginx.proxy_addr(), head.as_bytes(), false).head();
    assert_eq!(answer.head.status, 200);
    let (mut client, _) = answer.into_socket();
    client
        .write_all(b"and late")
        .expect("the tunnel accepts data");
    client
        .shutdown(Shutdown::Write)
        .expect("one direction can be closed");
    let (mut server, _) = listener.accept().expect("the gateway connects");
    let mut received = String::new();
    server
        .read_to_string(&mut received)
        .expect("the client ends cleanly");
    assert_eq!(received, "early and late");
    // The other direction stays open.
    server.write_all(&body).expect("the tunnel accepts data");
    drop(server);
    let mut answer = Vec::new();
    client
        .read_to_end(&mut answer)
        .expect("the server ends cleanly");
    assert_same(&answer, &body);
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
        assert_eq!(
            (through.status, through.text()),
            (200, direct.text()),
            "{path}"
        );
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
    origin.serve(FROZEN, Reply::file(&body));
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    nginx
        .get(&origin.url(FROZEN))
        .send()
        .assert_body(200, &body);
    gateway.await_stored(&origin.url(FROZEN));
    let one = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url(FROZEN));
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
        format!("/{}?X-Amz-Signature=hush", origin.url("/signed.tar.gz")),
        format!("http://127.0.0.1:{port}/absolute.tar.gz?token=hush"),
        "/ftp://somebody:hush@127.0.0.1:9/user.tar.gz".to_owned(),
        "/ftp:/somebody:hush%40127.0.0.1:9/encoded.tar.gz".to_owned(),
        "ftp://somebody:hush@127.0.0.1:9/absolute-user.tar.gz".to_owned(),
    ] {
        nginx.request("GET", &target).send();
    }
    let log = crate::harness::eventually("all requests are logged", || {
        let lines = nginx.accesses();
        (lines.len() == 5).then(|| lines.join("\n"))
    });
    assert!(!log.contains("hush"), "{log}");
    for name in ["signed", "absolute", "user", "encoded", "absolute-user"] {
        assert!(
            log.contains(&format!("/{name}.tar.gz")),
            "{name} is logged: {log}"
        );
    }
}

/// Returns the headers without those that nginx sets itself.
pub fn shown(answer: &Answer) -> Vec<(String, String)> {
    let of_nginx = ["date", "server", "connection"];
    let headers = answer
        .head
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut headers: Vec<_> = headers
        .filter(|(name, _)| !of_nginx.contains(&name.as_str()))
        .collect();
    headers.sort();
    headers
}
