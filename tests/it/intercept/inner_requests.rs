//! Requests inside an intercepted `CONNECT` that a client should not send, and spellings that it
//! may use.

use std::io::{Read as _, Write as _};

use crate::harness::{Reply, Tool, archive};
use crate::intercept::harness::Intercepting;

const PATH: &str = "/pub/x-1.0.tar.gz";

fn get(path: &str, host: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n")
}

/// Returns the status line and the rest of a response.
fn parts(response: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(response);
    let (status, rest) = text.split_once("\r\n").expect("a response has lines");
    (status.to_owned(), rest.to_owned())
}

#[track_caller]
fn assert_status(response: &[u8], status: u16) {
    let (line, rest) = parts(response);
    let begin = format!("HTTP/1.1 {status} ");
    assert!(line.starts_with(&begin), "{status}: {line} {rest}");
}

#[test]
fn spellings_of_one_name_agree() {
    let stage = Intercepting::start();
    let body = archive(1, 2000);
    stage.origin.serve(PATH, Reply::file(&body));
    let port = stage.origin.port();
    for connect in ["LOCALHOST", "localhost.", "Localhost."] {
        for host in ["localhost", "LocalHost", "localhost."] {
            let socket = stage.connect_to(&format!("{connect}:{port}"));
            let secure = stage.secure_on(socket, "LOCALHOST");
            let response = secure.ask(&get(PATH, &format!("{host}:{port}"), ""));
            assert_status(&response, 200);
            assert!(response.ends_with(&body), "{connect} {host}");
        }
    }
    assert_eq!(stage.origin.count(PATH), 1, "there is one target");
}

/// Runs `openssl s_client` through the proxy, and returns its output.
fn openssl(stage: &Intercepting, options: &str) -> String {
    let (authority, path) = (stage.origin_authority(), PATH);
    let script = format!(
        "printf 'GET {path} HTTP/1.1\\r\\nHost: {authority}\\r\\nConnection: close\\r\\n\\r\\n' |
        openssl s_client -proxy {} -connect {authority} -CAfile {} {options} -ign_eof 2>&1",
        stage.gateway.proxy_addr(),
        stage.ca_file(),
    );
    let run = Tool::new("sh", "openssl", stage.folder.path());
    run.args(&["-c", &script]).run().stdout
}

#[test]
fn server_name_may_end_with_a_dot() {
    let stage = Intercepting::start();
    stage.origin.serve(PATH, Reply::ok(&archive(1, 10)));
    let output = openssl(&stage, "-servername LOCALHOST.");
    assert!(output.contains("HTTP/1.1 200 OK"), "{output}");
    let output = openssl(&stage, "-noservername");
    assert!(output.contains("HTTP/1.1 200 OK"), "{output}");
}

#[test]
fn old_versions_of_tls_are_refused() {
    let stage = Intercepting::start();
    stage.origin.serve(PATH, Reply::ok(&archive(1, 10)));
    let output = openssl(&stage, "-tls1_2");
    assert!(output.contains("HTTP/1.1 200 OK"), "{output}");
    assert!(output.contains("Protocol  : TLSv1.2"), "{output}");
    for version in ["-tls1", "-tls1_1"] {
        let options = format!("{version} -cipher DEFAULT@SECLEVEL=0");
        let output = openssl(&stage, &options);
        assert!(output.contains("alert handshake failure"), "{output}");
    }
    let is_failed = |event: &serde_json::Value| event["error"].is_string();
    let log = stage.gateway.log();
    for event in log.wait_for_many("the handshakes", 2, is_failed) {
        assert_eq!(event["status"], 400, "{event}");
        let error = event["error"].as_str().unwrap_or_default();
        assert!(error.contains("TLS 1.2"), "{event}");
    }
    assert_eq!(stage.origin.count(PATH), 1);
}

#[test]
fn hosts_that_are_no_target_are_misdirected() {
    let stage = Intercepting::start();
    let gateway = stage.gateway.addr();
    for host in [
        "localhost:99999",
        "localhost:0",
        "a..b",
        "%6cocalhost",
        "1.2.3",
    ] {
        let response = stage.secure("localhost").ask(&get(PATH, host, ""));
        assert_status(&response, 421);
    }
    // The gateway's own pages are not inside, whatever the target is.
    let authority = stage.origin_authority();
    for scheme in ["http", "https"] {
        let target = format!("{scheme}://{gateway}/healthz");
        let response = stage.secure("localhost").ask(&get(&target, &authority, ""));
        assert_status(&response, 421);
    }
    assert_eq!(stage.origin.total(), 0);
}

#[test]
fn other_protocols_inside_are_refused() {
    let stage = Intercepting::start();
    stage.origin.serve("/chat", Reply::ok(&archive(1, 10)));
    let authority = stage.origin_authority();
    for (fields, status) in [
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", 501),
        (
            "Connection: keep-alive, upgrade\r\nUpgrade: SPDY/3.1\r\n",
            501,
        ),
        ("Connection: upgrade\r\nUpgrade: h2c, foo\r\n", 501),
        // Offers that a client can do without.
        ("Connection: Upgrade\r\nUpgrade: h2c\r\n", 200),
        ("Connection: Upgrade\r\nUpgrade: TLS/1.3, HTTP/2.0\r\n", 200),
        ("Upgrade: websocket\r\n", 200),
    ] {
        let response = stage
            .secure("localhost")
            .ask(&get("/chat", &authority, fields));
        assert_status(&response, status);
        let (line, rest) = parts(&response);
        if status == 501 {
            assert_eq!(line, "HTTP/1.1 501 Protocol Not Supported", "{fields}");
            assert!(rest.contains("intercept.hosts"), "{rest}");
        }
    }
    for asked in stage.origin.requests("/chat") {
        assert_eq!(asked.header("upgrade"), None);
    }
    assert_eq!(stage.origin.count("/chat"), 3);
}

#[test]
fn http2_without_negotiation_is_refused() {
    let stage = Intercepting::start();
    let response = stage
        .secure("localhost")
        .ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_status(&response, 400);
    let refused = stage.gateway.log().wait_for("the request", |event| {
        event["endpoint"] == "proxy" && event["status"] == 400
    });
    assert_eq!(refused["intercepted"], true, "{refused}");
    assert_eq!(stage.origin.total(), 0);
}

#[test]
fn pipelined_requests_are_served_in_turn() {
    let stage = Intercepting::start();
    let body = archive(1, 2000);
    stage.origin.serve(PATH, Reply::file(&body));
    stage
        .origin
        .serve("/upload", Reply::ok(&b"taken".to_vec().into()));
    let authority = stage.origin_authority();
    let upload = format!(
        "POST /upload HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nGET /\r\n0\r\n\r\n"
    );
    let absent = format!("GET /absent-1.0.gz HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    let last = get(PATH, &authority, "");
    let requests = [&upload[..], &absent, &upload, &last].concat();
    let response = stage.secure("localhost").ask(&requests);
    let text = String::from_utf8_lossy(&response);
    let statuses: Vec<_> = text
        .match_indices("HTTP/1.1 ")
        .map(|(at, line)| &text[at + line.len()..][..3])
        .collect();
    assert_eq!(statuses, ["200", "404", "200", "200"], "{text}");
    assert!(response.ends_with(&body));
    let uploads = stage.origin.requests("/upload");
    assert!(uploads.iter().all(|asked| asked.body == b"GET /"));
    assert_eq!(uploads.len(), 2);
}

#[test]
fn ambiguous_requests_end_the_connection() {
    let stage = Intercepting::start();
    let authority = stage.origin_authority();
    let hidden = get("/hidden", &authority, "");
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length : 4\r\n",
        "Host: other.example.org\r\n",
    ] {
        let head =
            format!("POST /x HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n0\r\n\r\n{hidden}");
        let response = stage.secure("localhost").ask(&head);
        assert_status(&response, 400);
        let count = String::from_utf8_lossy(&response)
            .matches("HTTP/1.1 ")
            .count();
        assert_eq!(count, 1, "{fields}");
    }
    assert_eq!(stage.origin.total(), 0);
}

#[test]
fn broken_body_has_no_end() {
    let stage = Intercepting::start();
    let body = archive(1, 300_000);
    let cut = Reply::ok(&body).chunked().cut_at(100_000);
    stage.origin.serve("/cut?id=1", cut);
    let authority = stage.origin_authority();
    let ask = |version: &str| {
        let mut secure = stage.secure("localhost");
        let head = format!("GET /cut?id=1 HTTP/{version}\r\nHost: {authority}\r\n\r\n");
        secure.0.write_all(head.as_bytes()).expect("it is open");
        let mut response = Vec::new();
        // The connection ends without the end of TLS, if the body has begun.
        let ended = secure.0.read_to_end(&mut response);
        (ended.is_ok(), response)
    };
    let (is_clean, response) = ask("1.1");
    assert_status(&response, 200);
    assert!(!is_clean && !response.ends_with(b"0\r\n\r\n"));
    // The end of the connection would end the body.
    let (_, response) = ask("1.0");
    assert!(response.starts_with(b"HTTP/1.0 504 "));
}
