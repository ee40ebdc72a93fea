//! What is said to an ftp server, and when: logins, connections, parts, redirects.

use crate::harness::{Act, Body, FtpServer, Gateway, Origin, Reply, all_at_once, archive, passive, say};

const PATH: &str = "/x-1.0.tar.gz";
const NAME: &str = "x-1.0.tar.gz";

fn stage() -> (FtpServer, Body) {
    let server = FtpServer::start();
    let body = archive(1, 1 << 20);
    server.serve(NAME, &body);
    (server, body)
}

fn gateway(server: &FtpServer) -> Gateway {
    Gateway::builder().port(server.port()).relay().one_attempt().start()
}

#[test]
fn a_login_is_used_for_whoever_has_brought_it_and_nobody_else() {
    let (server, body) = stage();
    let gateway = gateway(&server);
    let url = format!("ftp://us%40er:se%3Acret@127.0.0.1:{}{PATH}", server.port());
    for _ in 0..2 {
        gateway.proxied("GET", &url).send().assert_body(200, &body);
        gateway.get(&url).send().assert_body(200, &body);
    }
    assert_eq!(server.asked().iter().filter(|line| *line == "PASS se:cret").count(), 4);
    assert_eq!(server.asked().iter().filter(|line| *line == "USER us@er").count(), 4);
    gateway.assert_nothing_stored();
    gateway.get(&server.url(PATH)).send().assert_body(200, &body);
    assert!(server.asked().contains(&"USER anonymous".to_owned()), "the login of others is not used");
    assert!(!gateway.log().text().contains("cret"));
}

#[test]
fn a_login_that_is_refused_is_final() {
    let (server, _) = stage();
    server.on("PASS", say("530 no"));
    let gateway = Gateway::builder().port(server.port()).relay().start();
    gateway.get(&server.url(PATH)).send().assert_problem(502);
    gateway.get(&server.url(PATH)).send().assert_problem(502);
    assert_eq!(server.count("PASS"), 1, "it is not tried again, and remembered");
}

#[test]
fn a_connection_is_used_again_unless_the_server_has_closed_it() {
    let (server, body) = stage();
    server.serve("notes.txt", &body);
    let gateway = gateway(&server);
    let ask = || gateway.proxied("HEAD", &server.url("/notes.txt")).send().assert_status(200);
    ask();
    ask();
    assert_eq!(server.connections(), 1);
    server.close_connections();
    ask();
    assert_eq!(server.connections(), 2);
    // 421 is how some of them say goodbye.
    server.script("SIZE", vec![say("421 too late"), Act::Usual]);
    ask();
    assert_eq!(server.connections(), 3);
}

#[test]
fn no_more_connections_are_opened_than_a_server_may_have() {
    let (server, body) = stage();
    server.serve("notes.txt", &body);
    let gateway = Gateway::builder().port(server.port()).relay().set("fetch.per_host", "1").start();
    let answers = all_at_once(6, |_| gateway.proxied("GET", &server.url("/notes.txt")).send());
    for answer in answers {
        answer.assert_body(200, &body);
    }
    assert_eq!(server.count("RETR"), 6);
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_server_without_epsv_is_asked_for_pasv_and_followed_to_no_other_address() {
    let (server, body) = stage();
    server.on("EPSV", say("500 what?"));
    // What it says is 127.0.0.2, where nobody listens.
    gateway(&server).get(&server.url(PATH)).send().assert_body(200, &body);
    assert_eq!((server.count("EPSV"), server.count("PASV")), (1, 1));
}

#[test]
fn nobody_is_sent_to_another_host_or_another_service() {
    let (server, _) = stage();
    server.on("EPSV", say("500 what?"));
    let other = Origin::start_at("127.0.0.2");
    let gateway = gateway(&server);
    server.on("PASV", passive([127, 0, 0, 2].into(), other.port()));
    gateway.get(&server.url(PATH)).send().assert_problem(504);
    assert_eq!(other.connections(), 0);
    server.on("PASV", passive([127, 0, 0, 1].into(), 25));
    server.serve("y.zip", &archive(2, 10));
    gateway.get(&server.url("/y.zip")).send().assert_problem(502);
    server.on("PASV", say("227 (1,2,3)"));
    gateway.get(&server.url("/z.zip")).send().assert_problem(502);
}

#[test]
fn tls_that_has_begun_is_not_gone_back_from() {
    let (server, _) = stage();
    server.on("AUTH", say("234 go on"));
    for tls in ["offered", "required"] {
        let gateway = Gateway::builder().port(server.port()).relay().one_attempt().text("fetch.ftp_tls", tls).start();
        gateway.get(&server.url(PATH)).send().assert_problem(502);
    }
    server.on("AUTH", say("502 not here"));
    let required = Gateway::builder().port(server.port()).relay().one_attempt().text("fetch.ftp_tls", "required");
    required.start().get(&server.url(PATH)).send().assert_problem(502);
    assert_eq!(server.count("USER"), 0);
    let never = Gateway::builder().port(server.port()).relay().text("fetch.ftp_tls", "never").start();
    let asked = server.count("AUTH");
    never.get(&server.url(PATH)).send().assert_status(200);
    assert_eq!(server.count("AUTH"), asked);
}

#[test]
fn a_server_without_tls_is_spoken_to_in_the_clear() {
    for reply in ["500 what?", "502 no", "530 log in", "534 no", "431 not now"] {
        let (server, body) = stage();
        server.on("AUTH", say(reply));
        gateway(&server).get(&server.url(PATH)).send().assert_body(200, &body);
        assert_eq!(server.connections(), 1, "{reply}");
    }
}

#[test]
fn names_go_out_byte_for_byte() {
    let server = FtpServer::start();
    let gateway = gateway(&server);
    gateway.get(&server.url("/caf%E9-1.0.tar.gz")).send().assert_problem(404);
    gateway.get(&server.url("/%2Fpub/a%20b-1.0.tar.gz")).send().assert_problem(404);
    let asked = server.asked();
    assert!(asked.contains(&"RETR caf\u{fffd}-1.0.tar.gz".to_owned()), "one byte: {asked:?}");
    assert!(asked.contains(&"RETR /pub/a b-1.0.tar.gz".to_owned()), "{asked:?}");
    let known = ["AUTH", "USER", "PASS", "TYPE", "EPSV", "SIZE", "MDTM", "RETR"];
    assert!(asked.iter().all(|line| known.iter().any(|verb| line.starts_with(verb))), "{asked:?}");
}

#[test]
fn a_redirect_leads_from_http_to_ftp_where_policy_lets_it() {
    let (server, body) = stage();
    let origin = Origin::start();
    origin.serve("/a.tar.gz", Reply::redirect(302, &server.url(PATH)));
    origin.serve("/b.tar.gz", Reply::redirect(302, &format!("ftp://user:pass@127.0.0.1:{}{PATH}", server.port())));
    origin.serve("/c.tar.gz", Reply::redirect(302, &server.url("/")));
    let gateway = Gateway::builder().origin(&origin).port(server.port()).relay().one_attempt().start();
    gateway.assert_serves(&origin.url("/a.tar.gz"), &body);
    gateway.await_stored(&origin.url("/a.tar.gz"));
    let asked = server.asked().len();
    gateway.get(&origin.url("/b.tar.gz")).send().assert_problem(502);
    gateway.get(&origin.url("/c.tar.gz")).send().assert_problem(403);
    assert_eq!(server.asked().len(), asked);
    let strict = Gateway::builder().origin(&origin).relay().one_attempt().start();
    strict.get(&origin.url("/a.tar.gz")).send().assert_problem(403);
    assert_eq!(server.asked().len(), asked);
}

#[test]
fn a_miss_is_never_redirected_to_ftp() {
    let (server, body) = stage();
    let gateway = Gateway::builder().port(server.port()).start();
    gateway.get(&server.url(PATH)).header("User-Agent", "Wget/1.21").send().assert_body(200, &body);
}

#[test]
fn policy_judges_ftp_as_it_judges_http() {
    let (server, _) = stage();
    let url = server.url(PATH);
    let refused = |key: &str, value: &str, word: &str| {
        let gateway = Gateway::builder().port(server.port()).relay().set(key, value).start();
        let answer = gateway.get(&url).send();
        answer.assert_problem(403);
        assert!(answer.text().contains(word), "{}", answer.text());
    };
    refused("policy.ports", "[21]", "policy.ports");
    refused("policy.allow_networks", "[]", "allow_networks");
    refused("policy.deny_hosts", "[\"127.0.0.1\"]", "deny_hosts");
    refused("policy.deny_suffixes", "[\".gz\"]", "deny_suffixes");
    refused("policy.max_object_size", "\"1KiB\"", "max_object_size");
    assert_eq!(server.count("RETR"), 1, "only the size had to be asked for");
    let named = url.replace("127.0.0.1", "localhost");
    let gateway = Gateway::builder().port(server.port()).relay().set("policy.allow_networks", "[]").start();
    gateway.get(&named).send().assert_problem(403);
}
