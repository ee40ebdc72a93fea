//! Tests of FTP logins, connections, ranges and redirects.

use crate::harness::{
    Act, Body, FtpServer, Gateway, Origin, Reply, all_at_once, archive, passive, say,
};

const PATH: &str = "/x-1.0.tar.gz";
const NAME: &str = "x-1.0.tar.gz";

fn stage() -> (FtpServer, Body) {
    let server = FtpServer::start();
    let body = archive(1, 1 << 20);
    server.serve(NAME, &body);
    (server, body)
}

fn gateway(server: &FtpServer) -> Gateway {
    Gateway::builder()
        .port(server.port())
        .relay()
        .one_attempt()
        .start()
}

#[test]
fn ftp_login_is_used_only_for_its_request() {
    let (server, body) = stage();
    let gateway = gateway(&server);
    let url = format!("ftp://us%40er:se%3Acret@127.0.0.1:{}{PATH}", server.port());
    for _ in 0..2 {
        gateway.proxied("GET", &url).send().assert_body(200, &body);
        gateway.get(&url).send().assert_body(200, &body);
    }
    assert_eq!(
        server
            .asked()
            .iter()
            .filter(|line| *line == "PASS se:cret")
            .count(),
        4
    );
    assert_eq!(
        server
            .asked()
            .iter()
            .filter(|line| *line == "USER us@er")
            .count(),
        4
    );
    gateway.assert_nothing_stored();
    gateway
        .get(&server.url(PATH))
        .send()
        .assert_body(200, &body);
    assert!(
        server.asked().contains(&"USER anonymous".to_owned()),
        "the login of another request is not used"
    );
    assert!(!gateway.log().text().contains("cret"));
}

#[test]
fn rejected_login_is_not_retried() {
    let (server, _) = stage();
    server.on("PASS", say("530 no"));
    let gateway = Gateway::builder().port(server.port()).relay().start();
    gateway.get(&server.url(PATH)).send().assert_problem(502);
    gateway.get(&server.url(PATH)).send().assert_problem(502);
    assert_eq!(
        server.count("PASS"),
        1,
        "the rejected login is remembered and not retried"
    );
}

#[test]
fn control_connection_is_reused_until_server_closes_it() {
    let (server, body) = stage();
    server.serve("notes.txt", &body);
    let gateway = gateway(&server);
    let ask = || {
        gateway
            .proxied("HEAD", &server.url("/notes.txt"))
            .send()
            .assert_status(200);
    };
    ask();
    ask();
    assert_eq!(server.connections(), 1);
    server.close_connections();
    ask();
    assert_eq!(server.connections(), 2);
    // Some servers close a connection with 421.
    server.script("SIZE", vec![say("421 too late"), Act::Usual]);
    ask();
    assert_eq!(server.connections(), 3);
}

#[test]
fn per_host_limit_bounds_ftp_connections() {
    let (server, body) = stage();
    server.serve("notes.txt", &body);
    let gateway = Gateway::builder()
        .port(server.port())
        .relay()
        .rule("class = \"pass\"")
        .set("fetch.per_host", "1")
        .start();
    let answers = all_at_once(6, |_| {
        gateway.proxied("GET", &server.url("/notes.txt")).send()
    });
    for answer in answers {
        answer.assert_body(200, &body);
    }
    assert_eq!(server.count("RETR"), 6);
    assert_eq!(server.connections(), 1);
}

#[test]
fn pasv_fallback_ignores_the_announced_address() {
    let (server, body) = stage();
    server.on("EPSV", say("500 what?"));
    // PASV names 127.0.0.2, where no server listens.
    gateway(&server)
        .get(&server.url(PATH))
        .send()
        .assert_body(200, &body);
    assert_eq!((server.count("EPSV"), server.count("PASV")), (1, 1));
}

#[test]
fn pasv_cannot_redirect_to_another_host_or_service() {
    let (server, _) = stage();
    server.on("EPSV", say("500 what?"));
    let other = Origin::start_at("127.0.0.2");
    let gateway = gateway(&server);
    server.on("PASV", passive([127, 0, 0, 2].into(), other.port()));
    gateway.get(&server.url(PATH)).send().assert_problem(504);
    assert_eq!(other.connections(), 0);
    server.on("PASV", passive([127, 0, 0, 1].into(), 25));
    server.serve("y-1.0.zip", &archive(2, 10));
    gateway
        .get(&server.url("/y-1.0.zip"))
        .send()
        .assert_problem(502);
    server.on("PASV", say("227 (1,2,3)"));
    gateway
        .get(&server.url("/z-1.0.zip"))
        .send()
        .assert_problem(502);
}

#[test]
fn started_tls_never_falls_back_to_plaintext() {
    let (server, _) = stage();
    server.on("AUTH", say("234 go on"));
    for tls in ["offered", "required"] {
        let gateway = Gateway::builder()
            .port(server.port())
            .relay()
            .one_attempt()
            .text("fetch.ftp_tls", tls)
            .start();
        gateway.get(&server.url(PATH)).send().assert_problem(502);
    }
    server.on("AUTH", say("502 not here"));
    let required = Gateway::builder()
        .port(server.port())
        .relay()
        .one_attempt()
        .text("fetch.ftp_tls", "required");
    required
        .start()
        .get(&server.url(PATH))
        .send()
        .assert_problem(502);
    assert_eq!(server.count("USER"), 0);
    let never = Gateway::builder()
        .port(server.port())
        .relay()
        .text("fetch.ftp_tls", "never")
        .start();
    let asked = server.count("AUTH");
    never.get(&server.url(PATH)).send().assert_status(200);
    assert_eq!(server.count("AUTH"), asked);
}

#[test]
fn server_without_tls_is_used_in_plaintext() {
    for reply in ["500 what?", "502 no", "530 log in", "534 no", "431 not now"] {
        let (server, body) = stage();
        server.on("AUTH", say(reply));
        gateway(&server)
            .get(&server.url(PATH))
            .send()
            .assert_body(200, &body);
        assert_eq!(server.connections(), 1, "{reply}");
    }
}

#[test]
fn file_names_are_sent_byte_for_byte() {
    let server = FtpServer::start();
    let gateway = gateway(&server);
    gateway
        .get(&server.url("/caf%E9-1.0.tar.gz"))
        .send()
        .assert_problem(404);
    gateway
        .get(&server.url("/%2Fpub/a%20b-1.0.tar.gz"))
        .send()
        .assert_problem(404);
    let asked = server.asked();
    assert!(
        asked.contains(&"RETR caf\u{fffd}-1.0.tar.gz".to_owned()),
        "the escape is sent as one byte: {asked:?}"
    );
    assert!(
        asked.contains(&"RETR /pub/a b-1.0.tar.gz".to_owned()),
        "{asked:?}"
    );
    let known = [
        "AUTH", "USER", "PASS", "TYPE", "EPSV", "SIZE", "MDTM", "RETR",
    ];
    assert!(
        asked
            .iter()
            .all(|line| known.iter().any(|verb| line.starts_with(verb))),
        "{asked:?}"
    );
}

#[test]
fn http_redirect_to_ftp_is_checked_by_policy() {
    let (server, body) = stage();
    let origin = Origin::start();
    origin.serve("/a-1.0.tar.gz", Reply::redirect(302, &server.url(PATH)));
    origin.serve(
        "/b-7.0.tar.gz",
        Reply::redirect(
            302,
            &format!("ftp://user:pass@127.0.0.1:{}{PATH}", server.port()),
        ),
    );
    origin.serve("/c-1.0.tar.gz", Reply::redirect(302, &server.url("/")));
    let gateway = Gateway::builder()
        .origin(&origin)
        .port(server.port())
        .relay()
        .one_attempt()
        .start();
    gateway.assert_serves(&origin.url("/a-1.0.tar.gz"), &body);
    gateway.await_stored(&origin.url("/a-1.0.tar.gz"));
    let asked = server.asked().len();
    gateway
        .get(&origin.url("/b-7.0.tar.gz"))
        .send()
        .assert_problem(502);
    gateway
        .get(&origin.url("/c-1.0.tar.gz"))
        .send()
        .assert_problem(403);
    assert_eq!(server.asked().len(), asked);
    let strict = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .start();
    strict
        .get(&origin.url("/a-1.0.tar.gz"))
        .send()
        .assert_problem(403);
    assert_eq!(server.asked().len(), asked);
}

#[test]
fn miss_is_never_redirected_to_ftp() {
    let (server, body) = stage();
    let gateway = Gateway::builder().port(server.port()).start();
    gateway
        .get(&server.url(PATH))
        .header("User-Agent", "Wget/1.21")
        .send()
        .assert_body(200, &body);
}

#[test]
fn policy_applies_to_ftp_as_to_http() {
    let (server, _) = stage();
    let url = server.url(PATH);
    let refused = |key: &str, value: &str, word: &str| {
        let gateway = Gateway::builder()
            .port(server.port())
            .relay()
            .set(key, value)
            .start();
        let answer = gateway.get(&url).send();
        answer.assert_problem(403);
        assert!(answer.text().contains(word), "{}", answer.text());
    };
    refused("policy.ports", "[21]", "policy.ports");
    refused("policy.allow_networks", "[]", "allow_networks");
    refused("policy.deny_hosts", "[\"127.0.0.1\"]", "deny_hosts");
    refused("policy.deny_suffixes", "[\".gz\"]", "deny_suffixes");
    refused("policy.max_object_size", "\"1KiB\"", "max_object_size");
    assert_eq!(
        server.count("RETR"),
        1,
        "only the test of the size limit starts a download"
    );
    let named = url.replace("127.0.0.1", "localhost");
    let gateway = Gateway::builder()
        .port(server.port())
        .relay()
        .set("policy.allow_networks", "[]")
        .start();
    gateway.get(&named).send().assert_problem(403);
}
