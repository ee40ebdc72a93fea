//! Handshakes of intercepted hosts that fail: each ends soon, and the log names the likely cause.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, RootCertStore};

use crate::harness::{Authority, Reply, Tool, Waiting, archive};
use crate::intercept::harness::{Intercepting, Secure};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[track_caller]
fn assert_failed(stage: &Intercepting, status: u16, text: &str) {
    let event = stage.failed_connect();
    assert_eq!(event["status"], status, "{event}");
    assert_eq!(event["intercepted"], true, "{event}");
    let error = event["error"].as_str().unwrap_or_default();
    assert!(error.contains(text), "{text}: {event}");
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn refusing_clients_are_one_warning() {
    let stage = Intercepting::start();
    stage.origin.serve(PATH, Reply::file(&archive(1, 2000)));
    let other = Authority::new();
    let (proxy, url, ca) = (stage.proxy(), stage.url(PATH), other.file());
    let ca = ca.to_str().expect("the path is text");
    for _ in 0..2 {
        let curl = Tool::curl(stage.folder.path());
        let run = curl.args(&["--proxy", &proxy, "--cacert", ca, &url]).run();
        assert_eq!(run.code, Some(60), "{}", run.stderr);
    }
    let wget = Tool::wget(stage.folder.path()).args(&["--ca-certificate", ca]);
    let wget = wget
        .args(&["-e", &format!("https_proxy={proxy}"), &url])
        .run();
    assert_eq!(wget.code, Some(5), "{}", wget.stderr);
    let log = stage.gateway.log();
    let connects = log.wait_for_many("the handshakes", 3, |event| event["endpoint"] == "tunnel");
    for event in &connects[..2] {
        assert_eq!(event["status"], 499, "{event}");
        let error = event["error"].as_str().unwrap_or_default();
        assert!(
            error.contains("alert UnknownCA") && error.contains("intercept.ca_dir"),
            "{event}"
        );
    }
    let is_warning = |event: &serde_json::Value| {
        let message = event["message"].as_str().unwrap_or_default();
        event["level"] == "WARN" && message.contains("probably does not trust")
    };
    let warning = log.wait_for("the warning", is_warning);
    assert_eq!(warning["client"], "127.0.0.1", "{warning}");
    assert_eq!(warning["host"], "localhost", "{warning}");
    let warnings = log
        .events()
        .iter()
        .filter(|event| is_warning(event))
        .count();
    assert_eq!(warnings, 1);
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn leaving_without_request_is_warning() {
    let stage = Intercepting::start();
    let mut secure = stage.secure("localhost");
    while secure.0.conn.is_handshaking() {
        secure
            .0
            .conn
            .complete_io(&mut secure.0.sock)
            .expect("the handshake goes on");
    }
    drop(secure);
    let log = stage.gateway.log();
    let warning = log.wait_for("the warning", |event| event["level"] == "WARN");
    let cause = warning["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("without a request"), "{warning}");
}

#[test]
fn other_protocol_gets_an_alert() {
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH\r\n",
    ] {
        let stage = Intercepting::start();
        let mut socket = stage.connect();
        socket.write_all(bytes).expect("the connection is open");
        let mut received = Vec::new();
        // A reset may follow the alert.
        drop(socket.read_to_end(&mut received));
        assert_eq!(received.first(), Some(&0x15), "an alert: {received:x?}");
        assert_failed(&stage, 400, "did not begin with a TLS handshake");
    }
}

#[test]
fn endless_hello_is_bounded() {
    let stage = Intercepting::start();
    let mut socket = stage.connect();
    // A ClientHello of 60,000 bytes, in records of 1,000.
    let mut record = vec![0x16, 3, 1, 0x03, 0xe8, 1, 0, 0xea, 0x60];
    record.resize(5 + 1000, 0);
    let mut later = vec![0x16, 3, 1, 0x03, 0xe8];
    later.resize(5 + 1000, 0);
    socket.write_all(&record).expect("the connection is open");
    for _ in 0..58 {
        // The gateway closes before the end.
        drop(socket.write_all(&later));
    }
    assert_failed(&stage, 400, "is too long");
}

#[test]
fn slow_clients_are_ended() {
    let stage = Intercepting::start();
    let error = "did not complete the TLS handshake within 10 seconds";
    // No byte, a part of the ClientHello, and a ClientHello whose answer has no answer.
    let silent = stage.connect();
    let mut partial = stage.connect();
    partial
        .write_all(b"\x16\x03\x01")
        .expect("the connection is open");
    let mut halfway = stage.secure("localhost");
    let written = halfway.0.conn.write_tls(&mut halfway.0.sock);
    written.expect("the connection is open");
    // A whole handshake, and no request.
    let mut idle = stage.secure("localhost");
    while idle.0.conn.is_handshaking() {
        let done = idle.0.conn.complete_io(&mut idle.0.sock);
        done.expect("the handshake goes on");
    }
    let started = Instant::now();
    for mut socket in [silent, partial, halfway.0.sock, idle.0.sock] {
        drop(socket.read_to_end(&mut Vec::new()));
    }
    assert!(started.elapsed() < Duration::from_secs(15));
    let log = stage.gateway.log();
    let is_slow = |event: &serde_json::Value| {
        let text = event["error"].as_str().unwrap_or_default();
        text.contains(error) && event["status"] == 499
    };
    log.wait_for_many("the handshakes", 3, is_slow);
    log.wait_for("the idle client", |event| {
        let cause = event["cause"].as_str().unwrap_or_default();
        cause.contains("without a request")
    });
    assert_eq!(stage.origin.connections(), 0);
}

#[test]
fn closing_client_is_named() {
    let stage = Intercepting::start();
    drop(stage.connect());
    assert_failed(
        &stage,
        499,
        "closed the connection during the TLS handshake",
    );
}

#[test]
fn client_without_http1_gets_an_alert() {
    let stage = Intercepting::start();
    let mut config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut secure = Secure::new(stage.connect(), config, "localhost");
    let failed = secure.0.conn.complete_io(&mut secure.0.sock);
    let error = failed.expect_err("there is no common protocol").to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    assert_failed(&stage, 400, "does not offer http/1.1");
}

#[test]
fn unfinished_handshakes_share_a_bound() {
    let stage = Intercepting::start_with(|builder| builder.hard_descriptors(120));
    // The client alone gets a part of the pool. The rest is rejected at once.
    let authority = stage.origin_authority();
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    let proxy = stage.gateway.proxy_addr();
    let mut open = Vec::new();
    let refused = (0..100).find_map(|_| {
        let answer = Waiting::send(proxy, head.as_bytes(), false).head();
        if answer.head.status == 200 {
            open.push(answer);
            return None;
        }
        Some(answer.head.status)
    });
    assert_eq!(refused, Some(503), "after {} handshakes", open.len());
}
