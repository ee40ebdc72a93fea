//! Methods, ports and hops: registered methods only, no http at ports of ftp, and redirects that
//! count for the host that they lead to.

use crate::harness::{
    Gate, Gateway, Origin, Reply, Request, all_at_once, archive, eventually, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Methods that are not registered, or that no request may use.
const UNKNOWN: [&str; 8] = [
    "FROB", "get", "Get", "PURGE", "PRI", "BREW", "GETX", "M-SEARCH",
];

#[test]
fn unknown_methods_get_501_everywhere() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url(PATH);
    for method in UNKNOWN {
        let at_gateway = |path: &str| gateway.request(method, path);
        for request in [
            at_gateway(&format!("/{url}")),
            at_gateway("/healthz"),
            at_gateway("/api/v1/stats"),
            gateway.proxied(method, &url),
            gateway.proxied(method, "ftp://127.0.0.1/x-1.0.tar.gz"),
        ] {
            let answer = request.send();
            answer.assert_problem(501);
            assert_eq!(answer.head.reason, "Unknown Method");
            assert!(answer.text().contains(method), "{}", answer.text());
        }
    }
    assert_eq!(origin.total(), 0);
}

#[test]
fn registered_methods_pass_through_the_proxy() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for method in [
        "PROPFIND",
        "MKCOL",
        "QUERY",
        "REPORT",
        "PATCH",
        "VERSION-CONTROL",
    ] {
        let path = format!("/{method}");
        origin.serve(&path, Reply::ok(&archive(1, 100)));
        let url = origin.url(&path);
        gateway.proxied(method, &url).send().assert_status(200);
        assert_eq!(origin.request(&path).method, method);
        gateway.get(&url).send();
        gateway
            .request(method, &format!("/{url}"))
            .send()
            .assert_problem(405);
    }
    let trace = gateway.proxied("TRACE", &origin.url("/trace")).send();
    trace.assert_problem(405);
    assert_eq!(origin.count("/trace"), 0);
}

#[test]
fn later_byte_of_handshake_is_not_tls() {
    let gateway = Gateway::builder().start();
    for (target, is_tls) in [("\u{16}", true), ("/x\u{16}", false), ("/\u{16}x", false)] {
        let text = Request::new(
            gateway.addr(),
            if is_tls { "\u{16}\u{3}" } else { "GET" },
            target,
        );
        let answer = text.send();
        answer.assert_problem(400);
        assert_eq!(answer.text().contains("TLS"), is_tls, "{}", answer.text());
    }
}

#[test]
fn no_way_leads_http_to_ftp_ports() {
    let (origin, ftp) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let at_ftp = |path: &str| ftp.url(path);
    ftp.serve(PATH, Reply::file(&archive(2, 2000)));
    let ports = format!("[{}, \"ftp:{}\", 21]", origin.port(), ftp.port());
    let rule = format!("host = \"127.0.0.1\"\nmirrors = [{:?}]", at_ftp("/{path}"));
    let archives = format!("host = \"127.0.0.1\"\narchives = [{:?}]", at_ftp("/{path}"));
    let builder = Gateway::builder()
        .relay()
        .one_attempt()
        .set("policy.ports", &ports);
    let gateway = builder.clone().start();
    origin.serve("/to-1.0.gz", Reply::redirect(302, &at_ftp(PATH)));
    origin.serve("/to-list.bin", Reply::redirect(302, &at_ftp(PATH)));
    origin.serve(
        "/to-21-1.0.gz",
        Reply::redirect(302, "http://127.0.0.2:21/x-1.0.gz"),
    );
    let to_http = format!("ftp://127.0.0.1:{}{PATH}", origin.port());
    origin.serve("/to-http-1.0.gz", Reply::redirect(302, &to_http));
    let mut refused = vec![at_ftp(PATH), to_http];
    refused.push("http://127.0.0.2:21/x-1.0.gz".to_owned());
    refused.push("https://127.0.0.2:21/x-1.0.gz".to_owned());
    for path in [
        "/to-1.0.gz",
        "/to-21-1.0.gz",
        "/to-http-1.0.gz",
        "/to-list.bin",
    ] {
        refused.push(origin.url(path));
    }
    for url in refused {
        let answer = gateway.get(&url).send();
        answer.assert_problem(403);
        assert_eq!(answer.head.reason, "Port Not Allowed", "{url}");
    }
    for method in ["GET", "POST"] {
        let answer = gateway.proxied(method, &at_ftp(PATH)).send();
        answer.assert_problem(403);
    }
    for authority in [ftp.address().to_string(), "127.0.0.2:21".to_owned()] {
        let answer = gateway.proxied("CONNECT", &authority).open();
        assert_eq!(answer.head.status, 403, "{authority}");
    }
    origin.serve(PATH, Reply::status(404));
    for rule in [rule, archives] {
        let gateway = builder.clone().rule(&rule).start();
        gateway.get(&origin.url(PATH)).send().assert_problem(404);
    }
    assert_eq!(ftp.connections(), 0);
}

#[test]
fn configured_urls_keep_off_ftp_ports() {
    let ports = "[80, 443, 21, \"ftp:2121\"]";
    let builder = Gateway::builder().set("policy.ports", ports);
    let with = |key: &str, value: &str| builder.clone().set(key, value);
    for (builder, key) in [
        (
            builder.clone().parent("url = \"http://a.example.org:21\""),
            "parents.url",
        ),
        (
            builder
                .clone()
                .parent("url = \"https://a.example.org:2121\""),
            "parents.url",
        ),
        (
            builder.clone().parent("url = \"http://a.example.org:443\""),
            "parents.url",
        ),
        (
            with("notify.webhook_url", "\"http://a.example.org:21/x\""),
            "notify.webhook_url",
        ),
        (
            with("notify.webhook_url", "\"https://a.example.org:80/x\""),
            "notify.webhook_url",
        ),
        (
            with("fetch.egress_proxy", "\"http://a.example.org:21\""),
            "fetch.egress_proxy",
        ),
        (
            builder
                .clone()
                .rule("egress_proxy = \"http://a.example.org:21\""),
            "egress_proxy",
        ),
        (
            with("policy.connect_ports", "[443, 21]"),
            "policy.connect_ports",
        ),
        (
            with("policy.connect_ports", "[2121]"),
            "policy.connect_ports",
        ),
    ] {
        let run = builder.run_to_end();
        assert_eq!(run.code, Some(2), "{key}");
        assert!(run.stderr.contains(key), "{key}: {}", run.stderr);
    }
}

#[test]
fn parent_over_http_needs_digest_or_trust() {
    let (origin, parent) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(3, 5000);
    origin.serve(PATH, Reply::status(404));
    let held = Reply::ok(&body).header("ETag", &format!("\"{}\"", sha256(&body)));
    parent.serve(&format!("/{}", origin.url(PATH)), held);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let checksums = folder.path().join("checksums");
    let line = format!("{}  {}\n", sha256(&body), origin.url(PATH));
    std::fs::write(&checksums, line).expect("the folder can be written");
    let checksums = checksums.to_str().expect("the path is text");
    let stated = format!("/sha256:{}/{}", sha256(&body), origin.url(PATH));
    let plain = format!("url = {:?}", parent.url("/"));
    let trusted = format!("{plain}\ntrusted = true");
    for (entry, checksums, is_asked) in [
        (&plain, "", false),
        (&plain, checksums, true),
        (&trusted, "", true),
    ] {
        let before = parent.total();
        let builder = Gateway::builder().origin(&origin).relay().one_attempt();
        let builder = builder
            .parent(entry)
            .text("policy.checksums_file", checksums);
        let gateway = builder.start();
        // The digest that a client states lets no bytes of the network be stored.
        let answer = gateway.request("GET", &stated).send();
        assert_eq!(answer.status, if is_asked { 200 } else { 404 }, "{entry}");
        assert_eq!(parent.total() - before, usize::from(is_asked), "{entry}");
    }
}

#[test]
fn redirects_count_for_host_they_lead_to() {
    let body = archive(4, 5000);
    for name in ["x-1.0.gz", "list.gz"] {
        let first = [Origin::start(), Origin::start_at("127.0.0.3")];
        let last = Origin::start_at("127.0.0.2");
        let gate = Gate::new();
        let gateway = Gateway::builder()
            .origin(&first[0])
            .origin(&first[1])
            .origin(&last)
            .relay()
            .one_attempt()
            // One client gets three quarters.
            .set("fetch.per_host", "4")
            .start();
        let mut urls = Vec::new();
        for number in 0..8 {
            let path = format!("/{number}/{name}");
            let from = &first[number % 2];
            from.serve(&path, Reply::redirect(302, &last.url(&path)));
            last.serve(&path, Reply::file(&body).gate_before_head(&gate));
            urls.push(from.url(&path));
        }
        let direct = format!("/direct/{name}");
        first[0].serve(&direct, Reply::file(&body));
        std::thread::scope(|scope| {
            let asking =
                scope.spawn(|| all_at_once(urls.len(), |number| gateway.get(&urls[number]).send()));
            gate.await_reached(3);
            eventually("all are redirected", || {
                (first[0].total() + first[1].total() == urls.len()).then_some(())
            });
            // The first hosts have all their permits back.
            gateway.assert_serves(&first[0].url(&direct), &body);
            gate.open();
            for answer in asking.join().expect("no thread panicked") {
                answer.assert_body(200, &body);
            }
        });
        assert_eq!(last.most_at_once(), 3, "{name}");
    }
}

#[test]
fn mutual_redirects_do_not_block() {
    let body = archive(5, 5000);
    let (one, two) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let gateway = Gateway::builder()
        .origin(&one)
        .origin(&two)
        .relay()
        .one_attempt()
        .set("fetch.per_host", "1")
        .start();
    let mut urls = Vec::new();
    for number in 0..12 {
        let path = format!("/{number}/x-1.0.gz");
        let (from, to) = if number % 2 == 0 {
            (&one, &two)
        } else {
            (&two, &one)
        };
        from.serve(&path, Reply::redirect(302, &to.url(&format!("{path}.b"))));
        to.serve(&format!("{path}.b"), Reply::file(&body));
        urls.push(from.url(&path));
    }
    for answer in all_at_once(urls.len(), |number| gateway.get(&urls[number]).send()) {
        answer.assert_body(200, &body);
    }
    assert_eq!((one.most_at_once(), two.most_at_once()), (1, 1));
}
