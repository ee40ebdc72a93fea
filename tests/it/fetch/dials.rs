//! Connections to hosts with several addresses: an address that is silent or refuses costs little,
//! wherever the connection is opened (RFC 8305).

use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType::{A, AAAA};

use crate::harness::{
    Builder, DnsReply, FtpServer, Gateway, NameServer, Origin, Reply, SilentAddress, Waiting,
    archive, eventually,
};
use crate::http::tunnel::connect;

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Time for one connection. Each silent address costs 0.25 s of it, and the connect timeout is
/// 10 s.
const SOON: Duration = Duration::from_secs(4);

fn resolving(server: &NameServer) -> Builder {
    Gateway::builder()
        .relay()
        .one_attempt()
        .set("dial.nameservers", &format!("[\"{}\"]", server.address()))
        .set("policy.allow_networks", "[\"127.0.0.0/8\", \"::1/128\"]")
}

#[track_caller]
fn assert_soon<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    assert!(start.elapsed() < SOON, "{name}: {:?}", start.elapsed());
    result
}

#[test]
fn silent_addresses_delay_each_connection_little() {
    let (server, origin, ftp) = (NameServer::start(), Origin::start(), FtpServer::start());
    let body = archive(1, 5000);
    origin.serve(PATH, Reply::file(&body));
    ftp.serve("x-1.0.tar.gz", &body);
    let silent: Vec<_> = [origin.port(), ftp.port()]
        .into_iter()
        .flat_map(|port| ["::1", "127.0.0.2"].map(|ip| SilentAddress::at(ip, port)))
        .collect();
    server.serve("many.example.test", &["::1", "127.0.0.2", "127.0.0.1"]);
    let gateway = resolving(&server).origin(&origin).port(ftp.port()).start();
    let url = format!("http://many.example.test:{}{PATH}", origin.port());
    let fresh = format!("http://many.example.test:{}/y-1.0.tar.gz", origin.port());
    origin.serve("/y-1.0.tar.gz", Reply::file(&body));
    let ftp_url = format!("ftp://many.example.test:{}/x-1.0.tar.gz", ftp.port());
    let authority = format!("many.example.test:{}", origin.port());
    thread::scope(|scope| {
        scope.spawn(|| assert_soon("url prefix", || gateway.assert_serves(&url, &body)));
        scope.spawn(|| {
            let answer = assert_soon("proxy", || gateway.proxied("GET", &fresh).send());
            answer.assert_body(200, &body);
        });
        scope.spawn(|| assert_soon("ftp", || gateway.assert_serves(&ftp_url, &body)));
        scope.spawn(|| {
            let answer = assert_soon("tunnel", || connect(&gateway, &authority, b""));
            assert_eq!(answer.head.status, 200, "{:?}", answer.head);
        });
    });
    drop(silent);
}

#[test]
fn unanswered_query_of_one_family_costs_little() {
    let (server, origin) = (NameServer::start(), Origin::start());
    let body = archive(2, 5000);
    origin.serve(PATH, Reply::file(&body));
    let v4 = || vec![DnsReply::Addresses(vec![[127, 0, 0, 1].into()], 300)];
    for (name, reply) in [
        ("silent.example.test", DnsReply::Silence),
        ("failing.example.test", DnsReply::Failure),
        ("none.example.test", DnsReply::Addresses(Vec::new(), 300)),
        ("missing.example.test", DnsReply::NoName(300)),
    ] {
        server.script(name, A, v4());
        server.script(name, AAAA, vec![reply]);
    }
    let gateway = resolving(&server).origin(&origin).start();
    for name in ["silent", "failing", "none", "missing"] {
        let url = format!("http://{name}.example.test:{}{PATH}", origin.port());
        assert_soon(name, || gateway.assert_serves(&url, &body));
    }
}

#[test]
fn unusable_addresses_are_skipped() {
    let (server, origin) = (NameServer::start(), Origin::start());
    let body = archive(3, 5000);
    origin.serve(PATH, Reply::file(&body));
    let refused = [
        "127.0.0.3",
        "127.0.0.4",
        "127.0.0.5",
        "127.0.0.6",
        "127.0.0.7",
        "127.0.0.8",
        "127.0.0.9",
    ];
    let with_last = |last: &'static str| [&refused[..], &[last]].concat();
    server.serve(
        "forbidden.example.test",
        &["10.0.0.1", "fd00::1", "127.0.0.1"],
    );
    server.serve("refused.example.test", &with_last("127.0.0.1"));
    server.serve("v6.example.test", &["::1", "127.0.0.1"]);
    server.serve("all.example.test", &refused);
    // The ninth address is not tried.
    server.serve(
        "more.example.test",
        &[&with_last("127.0.0.10")[..], &["127.0.0.1"]].concat(),
    );
    server.serve(
        "private.example.test",
        &["10.0.0.1", "192.168.0.1", "fd00::1"],
    );
    let gateway = resolving(&server).origin(&origin).start();
    for (name, status) in [
        ("forbidden", 200),
        ("refused", 200),
        ("v6", 200),
        ("all", 504),
        ("more", 504),
        ("private", 403),
    ] {
        let url = format!("http://{name}.example.test:{}{PATH}", origin.port());
        let answer = assert_soon(name, || gateway.get(&url).send());
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
    assert_eq!(origin.total(), 3);
}

#[test]
fn reload_says_that_dial_needs_a_restart() {
    let mut gateway = Gateway::builder().start();
    gateway.reload(|builder| builder.set("dial.nameservers", "[\"127.0.0.1:9\"]"));
    gateway.log().wait_for_line("the restart", |line| {
        line.contains("dial") && line.contains("need a restart")
    });
}

#[test]
fn long_answers_are_cut() {
    let (server, origin) = (NameServer::start(), Origin::start());
    let body = archive(9, 5000);
    origin.serve(PATH, Reply::file(&body));
    let forbidden = |count: u8| (0..count).map(|last| [10, 0, 0, last].into());
    for (name, before) in [("last", 15), ("cut", 16), ("long", 40)] {
        let list = forbidden(before).chain([[127, 0, 0, 1].into()]).collect();
        let name = format!("{name}.example.test");
        server.script(&name, A, vec![DnsReply::Addresses(list, 300)]);
    }
    let gateway = resolving(&server).origin(&origin).start();
    for (name, status) in [("last", 200), ("cut", 403), ("long", 403)] {
        let url = format!("http://{name}.example.test:{}{PATH}", origin.port());
        // The second answer comes from the cache.
        for _ in 0..2 {
            let answer = gateway.get(&url).send();
            assert_eq!(answer.status, status, "{name}: {}", answer.text());
        }
        assert_eq!(server.count(&format!("{name}.example.test"), A), 1);
    }
}

#[test]
fn own_shortage_opens_no_circuit() {
    let (server, origin) = (NameServer::start(), Origin::start());
    let body = archive(10, 5000);
    origin.serve(PATH, Reply::file(&body));
    let late = DnsReply::Addresses(vec![[127, 0, 0, 1].into()], 300);
    server.script("x.example.test", A, vec![DnsReply::Silence, late]);
    for number in 0..400 {
        server.silence(&format!("dead-{number}.example.test"));
    }
    let gateway = resolving(&server)
        .origin(&origin)
        .set("limits.burst", "5000")
        .set("fetch.breaker_failures", "1")
        .text("cache.negative_ttl", "1ms")
        .start();
    let url = format!("http://x.example.test:{}{PATH}", origin.port());
    let displaced = gateway.get(&url).start();
    eventually("the name is asked for", || {
        (server.count("x.example.test", A) > 0).then_some(())
    });
    let dead: Vec<_> = (0..400)
        .map(|number| {
            let authority = format!("dead-{number}.example.test:{}", origin.port());
            let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
            Waiting::send(gateway.proxy_addr(), head.as_bytes(), false)
        })
        .collect();
    let answer = displaced.head().finish();
    assert!(
        answer.text().contains("too many lookups"),
        "{}",
        answer.text()
    );
    gateway.assert_serves(&url, &body);
    drop(dead);
}
