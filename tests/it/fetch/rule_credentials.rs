//! Tests that a rule's credentials are sent only to the rule's own host, over the rule's own
//! scheme.

use std::fs;

use crate::harness::{Authority, Builder, Gateway, Origin, Reply, archive, files_under};

const PATH: &str = "/private/x-1.0.tar.gz";
const SECRET: &str = "Bearer S3CRET";

fn rule(scheme: &str, fields: &str) -> String {
    format!("scheme = \"{scheme}\"\nhost = \"127.0.0.1\"\npath_prefix = \"/private/\"\n{fields}")
}

fn with_secret(origin: &Origin) -> Builder {
    let fields = format!("authorization = \"{SECRET}\"\nheaders = {{ X-Team = \"mill\" }}");
    Gateway::builder()
        .origin(origin)
        .rule(&rule("http", &fields))
}

#[test]
fn rule_credentials_are_sent_and_file_is_stored() {
    let (origin, body) = (Origin::start(), archive(1, 5000));
    for path in [PATH, "/public/x-1.0.tar.gz"] {
        origin.serve(path, Reply::file(&body));
    }
    let gateway = with_secret(&origin).start();
    let url = origin.url(PATH);
    gateway.assert_serves(&url, &body).assert_cache(&["stored"]);
    gateway.await_stored(&url);
    gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
    let asked = origin.request(PATH);
    assert_eq!(
        (asked.header("authorization"), asked.header("x-team")),
        (Some(SECRET), Some("mill"))
    );
    gateway
        .get(&origin.url("/public/x-1.0.tar.gz"))
        .header("User-Agent", "curl/8")
        .send()
        .assert_body(200, &body);
    assert_eq!(
        origin
            .request("/public/x-1.0.tar.gz")
            .header("authorization"),
        None
    );
}

#[test]
fn miss_needing_rule_credentials_is_not_redirected() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&archive(2, 5000)));
    let gateway = with_secret(&origin).start();
    gateway
        .get(&origin.url(PATH))
        .header("User-Agent", "Wget/1.21")
        .send()
        .assert_status(200);
}

#[test]
fn redirect_to_another_origin_drops_rule_credentials() {
    let authority = Authority::new();
    let (origin, port, host) = (
        Origin::start(),
        Origin::start(),
        Origin::start_at("127.0.0.2"),
    );
    let tls = Origin::start_tls(&authority);
    let body = archive(3, 5000);
    let builder = with_secret(&origin)
        .relay()
        .origin(&port)
        .origin(&host)
        .origin(&tls)
        .authority(&authority);
    let gateway = builder
        .rule("scheme = \"http\"\nhost = \"127.0.0.2\"\nauthorization = \"Bearer 0THER\"")
        .start();
    for (number, other) in [&port, &host, &tls].into_iter().enumerate() {
        let path = format!("/private/{number}.tar.gz");
        origin.serve(&path, Reply::redirect(302, &other.url(PATH)));
        other.serve(PATH, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        assert_eq!(origin.request(&path).header("authorization"), Some(SECRET));
        let asked = other.request(PATH);
        assert_eq!(
            (asked.header("authorization"), asked.header("x-team")),
            (None, None),
            "{path}"
        );
    }
    origin.serve("/private/near-1.0.tar.gz", Reply::redirect(302, PATH));
    origin.serve(PATH, Reply::file(&body));
    gateway.assert_serves(&origin.url("/private/near-1.0.tar.gz"), &body);
    assert_eq!(
        origin.request(PATH).header("authorization"),
        Some(SECRET),
        "a redirect to the same server keeps the credentials"
    );
}

#[test]
fn other_scheme_gets_no_rule_credentials() {
    let (origin, body) = (Origin::start(), archive(4, 5000));
    origin.serve(PATH, Reply::file(&body));
    let fields = format!("authorization = \"{SECRET}\"");
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .rule(&rule("https", &fields))
        .start();
    gateway.assert_serves(&origin.url(PATH), &body);
    assert_eq!(origin.request(PATH).header("authorization"), None);
}

#[test]
fn client_credentials_and_writes_suppress_rule_credentials() {
    let (origin, body) = (Origin::start(), archive(5, 5000));
    origin.serve(PATH, Reply::file(&body));
    let gateway = with_secret(&origin).relay().start();
    for (name, value) in [("Authorization", "Basic own"), ("Cookie", "own=1")] {
        gateway
            .proxied("GET", &origin.url(PATH))
            .header(name, value)
            .send()
            .assert_body(200, &body);
    }
    gateway
        .proxied("PUT", &origin.url(PATH))
        .body(b"x")
        .send()
        .assert_status(200);
    gateway
        .proxied("DELETE", &origin.url(PATH))
        .send()
        .assert_status(200);
    let told: Vec<_> = origin
        .requests(PATH)
        .iter()
        .map(|asked| asked.header("authorization").map(str::to_owned))
        .collect();
    assert_eq!(told, [Some("Basic own".to_owned()), None, None, None]);
    assert!(
        origin
            .requests(PATH)
            .iter()
            .all(|asked| asked.header("x-team").is_none())
    );
}

#[test]
fn rule_credentials_appear_in_no_log_or_record() {
    let (origin, body) = (Origin::start(), archive(6, 5000));
    origin.script(PATH, vec![Reply::status(503), Reply::file(&body)]);
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("log.level", "trace");
    let file = builder.folder().join("token");
    fs::write(&file, format!("{SECRET}\n")).expect("the folder can be written");
    let fields = format!(
        "authorization_file = {:?}\nheaders = {{ X-Team = \"T3AM\" }}",
        file.to_str().unwrap()
    );
    let mut gateway = builder.rule(&rule("http", &fields)).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    assert!(
        origin
            .requests(PATH)
            .iter()
            .all(|asked| asked.header("authorization") == Some(SECRET))
    );
    gateway.await_stored(&origin.url(PATH));
    let log = gateway.log().clone();
    gateway.stop();
    for secret in ["S3CRET", "T3AM"] {
        assert!(!log.text().contains(secret), "{}", log.text());
        for file in files_under(&gateway.cache().join("records")) {
            assert!(
                !fs::read_to_string(&file)
                    .expect("a record is text")
                    .contains(secret),
                "{}",
                file.display()
            );
        }
    }
}

#[test]
fn rules_that_could_leak_credentials_are_rejected() {
    for (body, part) in [
        (
            "host = \"example.org\"\nauthorization = \"S3CRET\"",
            "need a host, and the scheme",
        ),
        (
            "scheme = \"https\"\nheaders = { X-Token = \"S3CRET\" }",
            "need a host, and the scheme",
        ),
        (
            "scheme = \"ftp\"\nhost = \"example.org\"\nauthorization = \"S3CRET\"",
            "need a host, and the scheme",
        ),
        ("scheme = \"gopher\"\nclass = \"immutable\"", "rules.scheme"),
        (
            "scheme = \"https\"\nhost = \"example.org\"\nheaders = { Host = \"S3CRET\" }",
            "rules.headers: host",
        ),
        (
            "scheme = \"https\"\nhost = \"example.org\"\nheaders = { \"a b\" = \"S3CRET\" }",
            "rules.headers",
        ),
        (
            "scheme = \"https\"\nhost = \"example.org\"\nauthorization = \"S3CRET\"\n\
             authorization_file = \"/x\"",
            "rules.authorization_file",
        ),
    ] {
        let run = Gateway::builder().rule(body).run_to_end();
        assert_eq!(run.code, Some(2), "{body}");
        assert!(
            run.stderr.contains(part) && !run.stderr.contains("S3CRET"),
            "{body}: {}",
            run.stderr
        );
    }
}
