//! Name lookups: TTLs, names without an answer, and names that lead to forbidden addresses.

use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType::{A, AAAA};

use crate::harness::{
    Builder, DNS_NAME, DnsReply, Gateway, NameServer, Named, Origin, Reply, Waiting, archive,
    can_replace_system_files, connect_from, eventually,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Number of names whose name server does not answer. More than lookups at the same time.
const DEAD_NAMES: usize = 700;

fn resolving(server: &NameServer, origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .set("dial.nameservers", &format!("[\"{}\"]", server.address()))
}

fn url(name: &str, origin: &Origin, path: &str) -> String {
    format!("http://{name}.example.test:{}{path}", origin.port())
}

fn addresses(ip: [u8; 4], ttl_seconds: u32) -> DnsReply {
    DnsReply::Addresses(vec![ip.into()], ttl_seconds)
}

#[test]
fn dead_names_delay_no_other_name() {
    let (server, origin) = (NameServer::start(), Origin::start());
    let body = archive(1, 5000);
    for path in [PATH, "/y-1.0.tar.gz"] {
        origin.serve(path, Reply::file(&body));
    }
    server.serve("good.example.test", &["127.0.0.1"]);
    server.serve("other.example.test", &["127.0.0.1"]);
    for number in 0..DEAD_NAMES {
        server.silence(&format!("dead-{number}.example.test"));
    }
    let gateway = resolving(&server, &origin)
        .set("limits.burst", "5000")
        .start();
    let stored = url("good", &origin, PATH);
    gateway.assert_serves(&stored, &body);
    gateway.await_stored(&stored);
    let waiting: Vec<_> = (0..DEAD_NAMES)
        .map(|number| {
            let authority = format!("dead-{number}.example.test:{}", origin.port());
            let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
            Waiting::send(gateway.proxy_addr(), head.as_bytes(), false)
        })
        .collect();
    eventually("the dead names are asked for", || {
        (server.total() >= DEAD_NAMES).then_some(())
    });
    let start = Instant::now();
    gateway.assert_serves(&stored, &body).assert_cache(&["hit"]);
    gateway.assert_serves(&url("other", &origin, "/y-1.0.tar.gz"), &body);
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    drop(waiting);
}

#[test]
fn dead_names_cost_only_their_client() {
    let (server, origin) = (NameServer::start(), Origin::start());
    let body = archive(7, 5000);
    let late = ["alone", "joined", "led", "own"];
    for name in late {
        origin.serve(&format!("/{name}-1.0.gz"), Reply::file(&body));
        let late = DnsReply::Late(vec![[127, 0, 0, 1].into()]);
        server.script(&format!("{name}.example.test"), A, vec![late]);
    }
    for number in 0..DEAD_NAMES {
        server.silence(&format!("dead-{number}.example.test"));
    }
    let gateway = resolving(&server, &origin)
        .set("limits.burst", "5000")
        .start();
    let await_query = |name: &str| {
        let name = format!("{name}.example.test");
        eventually("the name is asked for", || {
            (server.count(&name, A) > 0).then_some(())
        });
    };
    let get = |name: &str| {
        let url = url(name, &origin, &format!("/{name}-1.0.gz"));
        let waiting = gateway.get(&url).start();
        await_query(name);
        waiting
    };
    let attack = |name: &str| {
        let authority = format!("{name}.example.test:{}", origin.port());
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let socket = connect_from("127.0.0.2", gateway.proxy_addr());
        Waiting::send_on(socket, head.as_bytes(), false)
    };
    let alone = get("alone");
    // The other client asks for the same name, before or after.
    let led = attack("led");
    await_query("led");
    let waiting = [alone, get("led"), get("joined")];
    let joined = attack("joined");
    let dead: Vec<_> = (0..DEAD_NAMES)
        .map(|number| attack(&format!("dead-{number}")))
        .collect();
    // Two queries for each name, but a name that is displaced at once is not asked for.
    eventually("the dead names are asked for", || {
        (server.total() >= DEAD_NAMES).then_some(())
    });
    // The newest lookup of that client has a place as well.
    let own = attack("own");
    await_query("own");
    server.answer_late();
    for waiting in waiting {
        waiting.head().finish().assert_body(200, &body);
    }
    for tunnel in [led, joined, own] {
        assert_eq!(tunnel.head().head.status, 200);
    }
    drop(dead);
}

#[test]
fn changed_system_files_count_at_once() {
    if !can_replace_system_files() {
        eprintln!("SKIPPED: no mount namespace can be made");
        return;
    }
    let (first, second) = (
        NameServer::start_at("127.0.0.71:53"),
        NameServer::start_at("127.0.0.72:53"),
    );
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(8, 5000);
    // A kept-alive connection would need no lookup.
    let reply = || Reply::ok(&body).header("Connection", "close");
    for origin in [&origin, &other] {
        for name in ["listed", "short", "long"] {
            origin.serve(&format!("/{name}"), reply());
        }
    }
    first.serve("short.one.example.test", &["127.0.0.1"]);
    first.serve("long.example.test", &["127.0.0.1"]);
    second.serve("short.two.example.test", &["127.0.0.2"]);
    second.serve("long.example.test", &["127.0.0.2"]);
    let builder = Gateway::builder()
        .relay()
        .one_attempt()
        .set("fetch.breaker_failures", "0")
        .text("cache.negative_ttl", "1ms");
    let builder = builder.origin(&origin).origin(&other).system_files(
        "127.0.0.1 listed.example.test listed\n",
        "search one.example.test\nnameserver 127.0.0.71\n",
    );
    let gateway = builder.clone().start();
    let get = |host: &str, origin: &Origin, path: &str| {
        let url = format!("http://{host}:{}{path}", origin.port());
        gateway.get(&url).send().status
    };
    let hosts = [
        ("listed", "/listed"),
        ("listed.example.test", "/listed"),
        ("short", "/short"),
        ("long.example.test", "/long"),
    ];
    for (host, path) in hosts {
        assert_eq!(get(host, &origin, path), 200, "{host}");
    }
    assert_eq!(first.count("listed.one.example.test", A), 0);
    builder.write_system_files(
        "127.0.0.2 listed.example.test listed # moved\n",
        "search two.example.test\nnameserver 127.0.0.72\n",
    );
    eventually("the files are read again", || {
        (get("listed", &other, "/listed") == 200).then_some(())
    });
    for (host, path) in hosts {
        assert_eq!(get(host, &other, path), 200, "{host}");
    }
}

#[test]
fn responses_are_cached_for_their_ttl() {
    let (server, origin) = (NameServer::start(), Origin::start());
    let body = archive(2, 5000);
    let paths = ["/x-1.0.tar.gz", "/x-2.0.tar.gz", "/x-3.0.tar.gz"];
    for path in paths {
        // A kept-alive connection would need no lookup.
        origin.serve(path, Reply::file(&body).header("Connection", "close"));
    }
    for (name, reply) in [
        ("long", addresses([127, 0, 0, 1], 300)),
        ("none", addresses([127, 0, 0, 1], 0)),
        ("missing", DnsReply::NoName(300)),
        ("unsure", DnsReply::NoName(0)),
        ("failing", DnsReply::Failure),
    ] {
        let name = format!("{name}.example.test");
        server.script(&name, A, vec![reply]);
        server.script(&name, AAAA, vec![DnsReply::NoName(300)]);
    }
    let gateway = resolving(&server, &origin)
        .set("fetch.breaker_failures", "0")
        .start();
    for (name, status, is_cached) in [
        ("long", 200, true),
        ("none", 200, false),
        ("missing", 504, true),
        ("unsure", 504, false),
        ("failing", 504, false),
    ] {
        for path in paths {
            let answer = gateway.get(&url(name, &origin, path)).send();
            assert_eq!(answer.status, status, "{name}: {}", answer.text());
            assert!(status == 200 || answer.text().contains(name));
        }
        let count = server.count(&format!("{name}.example.test"), A);
        assert_eq!(count == 1, is_cached, "{name} was asked {count} times");
    }
}

#[test]
fn every_lookup_is_checked_again() {
    let (server, origin) = (NameServer::start(), Origin::start());
    let forbidden = Origin::start_at("127.0.0.2");
    let body = archive(3, 5000);
    for path in [PATH, "/y-1.0.tar.gz"] {
        origin.serve(path, Reply::file(&body));
    }
    server.serve("allowed.example.test", &["127.0.0.1"]);
    server.serve("private.example.test", &["127.0.0.2"]);
    server.serve(
        "metadata.example.test",
        &["169.254.169.254", "fd00:ec2::254"],
    );
    server.serve("agent.example.test", &["168.63.129.16"]);
    server.serve("mapped.example.test", &["::ffff:127.0.0.2"]);
    for (name, alias) in [
        ("alias", "allowed.example.test"),
        ("alias-private", "private.example.test"),
        ("alias-metadata", "metadata.example.test"),
    ] {
        let name = format!("{name}.example.test");
        for kind in [A, AAAA] {
            server.script(&name, kind, vec![DnsReply::Alias(alias)]);
        }
    }
    let rebinding = vec![addresses([127, 0, 0, 1], 0), addresses([127, 0, 0, 2], 0)];
    server.script("rebinding.example.test", A, rebinding);
    let gateway = resolving(&server, &origin)
        .origin(&forbidden)
        .set("policy.allow_networks", "[\"127.0.0.1/32\"]")
        .start();
    for (name, status) in [
        ("allowed", 200),
        ("alias", 200),
        ("private", 403),
        ("metadata", 403),
        ("agent", 403),
        ("mapped", 403),
        ("alias-private", 403),
        ("alias-metadata", 403),
    ] {
        let answer = gateway.get(&url(name, &origin, PATH)).send();
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
    gateway.assert_serves(&url("rebinding", &origin, PATH), &body);
    let second = url("rebinding", &forbidden, PATH);
    gateway.get(&second).send().assert_problem(403);
    assert_eq!(forbidden.connections(), 0);
}

#[test]
fn client_is_redirected_only_to_known_hosts() {
    let (server, origin) = (NameServer::start(), Origin::start());
    let body = archive(4, 5000);
    origin.serve(PATH, Reply::file(&body));
    server.serve("known.example.test", &["127.0.0.1"]);
    server.serve("mixed.example.test", &["127.0.0.1", "10.0.0.1"]);
    server.serve("private.example.test", &["10.0.0.1"]);
    server.silence("silent.example.test");
    // A client may choose an address that Millpond has not kept.
    let many: Vec<_> = (0..20).map(|_| [127, 0, 0, 1].into()).collect();
    let hidden = [&many[..], &[[10, 0, 0, 1].into()]].concat();
    for (name, list) in [("many", many), ("hidden", hidden)] {
        let name = format!("{name}.example.test");
        server.script(&name, A, vec![DnsReply::Addresses(list, 300)]);
    }
    let gateway = resolving(&server, &origin)
        .text("gateway.miss", "redirect")
        .text("fetch.connect_timeout", "1s")
        .start();
    for (name, status) in [
        ("known", 302),
        ("mixed", 200),
        ("many", 200),
        ("hidden", 200),
        ("private", 403),
        ("silent", 504),
    ] {
        let answer = gateway.get(&url(name, &origin, PATH)).wget_agent().send();
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
}

#[test]
fn addresses_are_never_looked_up() {
    let (server, origin) = (NameServer::start(), Origin::start());
    let body = archive(5, 5000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = resolving(&server, &origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    // The hosts file has this name.
    gateway.assert_serves(&origin.named_url(PATH), &body);
    assert_eq!(server.total(), 0);
}

#[test]
fn real_name_server_and_system_resolver_answer() {
    let origin = Origin::start();
    let body = archive(6, 5000);
    origin.serve(PATH, Reply::file(&body));
    let named = Named::start(&["A 127.0.0.1", "TXT other"]);
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let gateway = builder
        .clone()
        .set("dial.nameservers", &format!("[\"{}\"]", named.address()))
        .start();
    let url = format!("http://{DNS_NAME}:{}{PATH}", origin.port());
    gateway.assert_serves(&url, &body);
    let missing = format!("http://missing.example.org:{}{PATH}", origin.port());
    let answer = gateway.get(&missing).send();
    answer.assert_problem(504);
    assert!(
        answer.text().contains("has no address"),
        "{}",
        answer.text()
    );
    let gateway = builder.text("dial.resolver", "system").start();
    gateway.assert_serves(&origin.named_url(PATH), &body);
}

#[test]
fn invalid_name_servers_are_rejected() {
    for (resolver, servers, part) in [
        ("builtin", "[\"ns.example.org\"]", "dial.nameservers"),
        ("builtin", "[\"192.0.2.1:0x\"]", "dial.nameservers"),
        ("builtin", "[\"\"]", "dial.nameservers"),
        ("system", "[\"192.0.2.1\"]", "dial.nameservers"),
        ("other", "[]", "dial.resolver"),
    ] {
        let run = Gateway::builder()
            .text("dial.resolver", resolver)
            .set("dial.nameservers", servers)
            .run_to_end();
        assert_eq!(run.code, Some(2), "{servers}");
        assert!(run.stderr.contains(part), "{servers}: {}", run.stderr);
    }
}
