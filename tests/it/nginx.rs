//! Requests through the real nginx, with the files that are shipped: they mean to the gateway what they mean without it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::harness::{
    Answer, Builder, Gateway, Nginx, Origin, Reply, Request, Tool, Waiting, archive, assert_same, is_request_of,
};
use crate::tunnel::listener;

const FROZEN: &str = "/pub/x-1.0.tar.gz";
const PASSED: &str = "/pub/latest/list.bin";

/// Targets that something on the way could decode, merge or encode.
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

/// A gateway that is configured as behind nginx.
pub fn behind_nginx(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt().behind_nginx()
}

/// What the gateway took the requests so far for.
fn uris(gateway: &Gateway, count: usize) -> Vec<String> {
    let events = gateway.log().wait_for_many("the requests", count, |event| event["message"] == "request");
    let mut uris: Vec<_> = events.iter().map(|event| event["uri"].as_str().unwrap_or_default().to_owned()).collect();
    uris.sort();
    uris
}

#[test]
fn every_target_arrives_byte_for_byte() {
    let origin = Origin::start();
    let direct = behind_nginx(&origin).start();
    let behind = behind_nginx(&origin).start();
    let nginx = Nginx::before(&behind);
    let ask_all = |ask: &dyn Fn(&str) -> Request| {
        let statuses = ODD_TARGETS.map(|target| ask(&origin.url(target)).send().status);
        (statuses, origin.asked())
    };
    let (wanted, once) = ask_all(&|url| direct.get(url));
    assert_eq!(once.len(), ODD_TARGETS.len(), "each is asked for: {once:?}");
    let (found, twice) = ask_all(&|url| nginx.get(url));
    assert_eq!(found, wanted);
    assert_eq!(twice, once.iter().flat_map(|target| [target.clone(), target.clone()]).collect::<Vec<_>>());
    assert_eq!(uris(&direct, ODD_TARGETS.len()), uris(&behind, ODD_TARGETS.len()));
}

#[test]
fn every_spelling_means_the_same_through_nginx() {
    let refusing =
        || Gateway::builder().relay().behind_nginx().set("policy.allow_hosts", "[\"nobody.example\"]").start();
    let (direct, behind) = (refusing(), refusing());
    let nginx = Nginx::before(&behind);
    let table = include_str!("../rewrites.tsv");
    let mut taken = 0;
    for line in table.lines().filter(|line| line.starts_with('/')) {
        let (spelling, verdict) = line.split_once('\t').expect("a line has two fields");
        // What is no request line at all is nobody's target.
        if spelling.contains(['\\', ' ']) {
            continue;
        }
        let (through, without) = (nginx.request("GET", spelling).send(), direct.request("GET", spelling).send());
        assert_eq!(through.status, without.status, "{spelling}");
        if verdict.starts_with('!') {
            continue;
        }
        assert_eq!((without.status, without.text()), (through.status, through.text()), "{spelling}");
        taken += 1;
    }
    assert!(taken >= 40, "only {taken} spellings were tried");
    // A refusal may be nginx's own.
    let canonical = |gateway| uris(gateway, taken).into_iter().filter(|uri| uri.contains("://")).collect::<Vec<_>>();
    assert_eq!(canonical(&direct), canonical(&behind));
}

#[test]
fn a_long_target_arrives() {
    let origin = Origin::start();
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let target = format!("/x.bin?{}", "a".repeat(8000));
    origin.serve(&target, Reply::ok(&b"long\n".to_vec().into()));
    nginx.get(&origin.url(&target)).send().assert_body(200, b"long\n");
    assert_eq!(origin.count(&target), 1);
    // One that is too long is told so by the gateway.
    nginx.get(&origin.url(&format!("/x.bin?{}", "a".repeat(20_000)))).send().assert_problem(414);
}

#[test]
fn the_client_is_who_connected_whatever_it_says() {
    let origin = Origin::start();
    origin.serve(FROZEN, Reply::file(&archive(1, 2000)));
    let gateway = behind_nginx(&origin).set("policy.allow_clients", "[\"127.0.0.0/28\"]").start();
    let nginx = Nginx::before(&gateway);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let ask = |from: &str, proxied: bool, headers: &[&str]| {
        let mut curl = Tool::curl(folder.path()).args(&["-o", "out", "-w", "%{http_code}", "--interface", from]);
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
            let door = if proxied { "proxy" } else { "rewrite" };
            event["message"] == "request" && event["client"] == "127.0.0.2" && event["door"] == door
        });
        assert_eq!(ask("127.0.0.99", proxied, &lies), "403");
    }
    let told = gateway.log().events().into_iter().filter(|event| event["message"] == "request");
    for event in told {
        assert!(["127.0.0.2", "127.0.0.99"].contains(&event["client"].as_str().unwrap_or_default()), "{event}");
    }
}

#[test]
fn marks_from_outside_mean_nothing() {
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
        ("X-Millpond-Request-Line", "GET /https://example.org/other.tar.gz HTTP/1.1"),
        ("X-Millpond-File-Missing", "1"),
        ("X-Accel-Redirect", "/_objects/00/0"),
        ("X-Accel-Buffering", "yes"),
    ] {
        let answer = marked(name, value);
        answer.assert_body(200, &body);
        assert_eq!(shown(&answer), shown(&plain), "{name}");
    }
    assert_eq!(origin.total(), 1);
    // What nginx alone may ask of itself is to everybody else a target that is none.
    let object = gateway.object_path(&body);
    let name = object.strip_prefix(gateway.cache()).expect("it is in the cache").to_str().expect("it is text");
    let path = format!("/_{name}");
    assert!(path.starts_with("/_objects/"), "{path}");
    for spelling in [path.clone(), path.replace("_objects", "%5Fobjects"), format!("/x/..{path}"), format!("/.{path}")]
    {
        nginx.request("GET", &spelling).send().assert_status(404);
    }
}

#[test]
fn an_origin_cannot_make_nginx_do_anything() {
    let origin = Origin::start();
    let page = b"page\n".to_vec().into();
    let reply = Reply::ok(&page).header("X-Accel-Redirect", "/_objects/").header("X-Accel-Limit-Rate", "1");
    origin.serve(PASSED, reply.header("X-Accel-Buffering", "yes").header("X-Accel-Charset", "utf-7"));
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let url = origin.url(PASSED);
    for request in [nginx.get(&url), nginx.request("GET", &url), nginx.proxied("GET", &url)] {
        request.send().assert_body(200, b"page\n");
    }
    assert_eq!(origin.count(PASSED), 3);
}

#[test]
fn a_proxy_request_at_the_gateway_port_is_one() {
    let origin = Origin::start();
    let body = archive(3, 50_000);
    origin.serve(FROZEN, Reply::file(&body));
    origin.serve("/_objects/x.tar.gz", Reply::file(&body));
    origin.serve(PASSED, Reply::ok(&b"page\n".to_vec().into()).header("Set-Cookie", "a=b"));
    let gateway = Gateway::builder().origin(&origin).one_attempt().behind_nginx().start();
    let nginx = Nginx::before(&gateway);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let proxy = nginx.addr().to_string();
    for path in [FROZEN, "/_objects/x.tar.gz"] {
        for _ in 0..2 {
            let curl = Tool::curl(folder.path()).args(&["-f", "-o", "out", "-x", &proxy, &origin.url(path)]);
            curl.run().assert_success();
            assert_same(&fs::read(folder.path().join("out")).expect("there is a file"), &body);
        }
        gateway.await_stored(&origin.url(path));
        // Hits by sendfile, too.
        let hit = nginx.request("GET", &origin.url(path)).send();
        hit.assert_body(200, &body);
        hit.assert_cache(&["hit"]);
        assert_eq!(origin.count(path), 1, "{path}");
    }
    let passed = nginx.request("GET", &origin.url(PASSED)).send();
    assert_eq!(passed.wants("set-cookie"), "a=b", "a proxy is transparent");
    let posted = nginx.request("POST", &origin.url("/latest/form")).body(b"a=b").send();
    assert_eq!((posted.status, origin.request("/latest/form").body), (404, b"a=b".to_vec()));
    gateway.log().wait_for("the door", |event| is_request_of(event, FROZEN) && event["door"] == "proxy");
    // ftp is answered as the proxy port answers it.
    let ftp = "ftp://127.0.0.1:21/pub/x-1.0.tar.gz";
    let (at_gateway, at_proxy) = (nginx.request("GET", ftp).send(), nginx.proxied("GET", ftp).send());
    assert_eq!((at_gateway.status, at_gateway.text()), (at_proxy.status, at_proxy.text()));
}

#[test]
fn the_proxy_port_serves_requests_and_tunnels() {
    let origin = Origin::start();
    let body = archive(4, 50_000);
    origin.serve(FROZEN, Reply::file(&body));
    let (listener, address) = listener();
    let gateway = behind_nginx(&origin).port(address.port()).start();
    let nginx = Nginx::before(&gateway);
    for _ in 0..2 {
        nginx.proxied("GET", &origin.url(FROZEN)).send().assert_body(200, &body);
    }
    assert_eq!(origin.count(FROZEN), 1);

    let head = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\nearly ");
    let answer = Waiting::send(nginx.proxy_addr(), head.as_bytes(), false).head();
    assert_eq!(answer.head.status, 200);
    let (mut client, _) = answer.into_socket();
    client.write_all(b"and late").expect("the tunnel takes it");
    client.shutdown(Shutdown::Write).expect("one direction can be closed");
    let (mut server, _) = listener.accept().expect("the gateway connects");
    let mut received = String::new();
    server.read_to_string(&mut received).expect("the client ends cleanly");
    assert_eq!(received, "early and late");
    // The other direction goes on.
    server.write_all(&body).expect("the tunnel takes it");
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("the server ends cleanly");
    assert_same(&answer, &body);
}

#[test]
fn the_gateways_own_pages_come_through() {
    let gateway = Gateway::builder().behind_nginx().start();
    let nginx = Nginx::before(&gateway);
    for path in ["/", "/healthz", "/readyz", "/version", "/robots.txt"] {
        let (through, direct) = (nginx.request("GET", path).send(), gateway.request("GET", path).send());
        assert_eq!((through.status, through.text()), (200, direct.text()), "{path}");
        nginx.request("HEAD", path).send().assert_body(200, b"");
    }
    nginx.request("POST", "/").body(b"x").send().assert_status(405);
}

#[test]
fn what_belongs_elsewhere_is_refused_at_the_gateway_port() {
    let gateway = Gateway::builder().behind_nginx().start();
    let nginx = Nginx::before(&gateway);
    // The statuses of nginx 1.22 and of later ones.
    let connect = nginx.request("CONNECT", "127.0.0.1:443").send();
    assert!(matches!(connect.status, 400 | 405), "{:?}", connect.head);
    // HTTP/0.9: nobody could tell whether the answer is whole.
    let mut old = TcpStream::connect(nginx.addr()).expect("nginx takes the connection");
    old.write_all(b"GET /healthz\r\n\r\n").expect("nginx reads it");
    let mut answer = String::new();
    old.read_to_string(&mut answer).expect("nginx ends it");
    assert!(answer.contains("HTTP/1.0 or later") && !answer.contains("alive"), "{answer}");
    // A request of HTTP/1.0 needs no Host.
    let bare = Waiting::send(nginx.addr(), b"GET /healthz HTTP/1.0\r\n\r\n", false).head().finish();
    assert_eq!((bare.status, bare.text().as_str()), (200, "alive\n"));
}

#[test]
fn a_client_keeps_its_connection() {
    let origin = Origin::start();
    let body = archive(5, 100_000);
    origin.serve(FROZEN, Reply::file(&body));
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    nginx.get(&origin.url(FROZEN)).send().assert_body(200, &body);
    gateway.await_stored(&origin.url(FROZEN));
    let one = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", origin.url(FROZEN));
    let pages = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut streaming = Waiting::send(nginx.addr(), [&one, pages, &one, &one].concat().as_bytes(), false).head();
    for wanted in [&body[..], b"alive\n", &body[..]] {
        let (next, answer) = streaming.next();
        answer.assert_body(200, wanted);
        streaming = next;
    }
    assert_same(&streaming.read(body.len()), &body);
}

#[test]
fn a_gateway_that_is_away_is_503_for_a_moment() {
    let mut gateway = Gateway::builder().behind_nginx().start();
    let nginx = Nginx::before(&gateway);
    gateway.kill9();
    let answer = nginx.request("GET", "/healthz").send();
    answer.assert_problem(503);
    assert_eq!(answer.wants("retry-after"), "5");
}

#[test]
fn secrets_are_not_in_nginxs_log() {
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
    let log = crate::harness::eventually("all are logged", || {
        let lines = nginx.accesses();
        (lines.len() == 5).then(|| lines.join("\n"))
    });
    assert!(!log.contains("hush"), "{log}");
    for name in ["signed", "absolute", "user", "encoded", "absolute-user"] {
        assert!(log.contains(&format!("/{name}.tar.gz")), "{name} is told of: {log}");
    }
}

/// The fields of an answer but for those in which nginx speaks of itself.
pub fn shown(answer: &Answer) -> Vec<(String, String)> {
    let of_nginx = ["date", "server", "connection"];
    let headers = answer.head.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut headers: Vec<_> = headers.filter(|(name, _)| !of_nginx.contains(&name.as_str())).collect();
    headers.sort();
    headers
}
