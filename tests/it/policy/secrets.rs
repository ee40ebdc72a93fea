//! Credentials that a client sends by mistake: they appear neither in the log nor in a response.

use crate::harness::{Gateway, Origin, Waiting};

/// Sends the requests, stops the gateway, and asserts that `secret` is neither in the log
/// nor in the responses.
#[track_caller]
fn assert_kept_secret(secret: &str, requests: impl Fn(&Gateway) -> Vec<String>) {
    let origin = Origin::start();
    let mut gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("log.level", "trace")
        .start();
    let answers = requests(&gateway);
    gateway.signal("TERM");
    let (_, log) = gateway.await_exit();
    for answer in &answers {
        assert!(!answer.contains(secret), "{answer}");
    }
    assert!(log.text().contains("\"request\""), "requests are logged");
    let line = log
        .text()
        .lines()
        .find(|line| line.contains(secret))
        .map(str::to_owned);
    assert_eq!(line, None);
    assert_eq!(origin.connections(), 0);
}

/// Sends a request line with minimal headers, and returns the head and the body
/// of the error response.
#[track_caller]
fn refused(gateway: &Gateway, is_proxy: bool, line: &str) -> String {
    let address = if is_proxy {
        gateway.proxy_addr()
    } else {
        gateway.addr()
    };
    let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = Waiting::send(address, request.as_bytes(), false)
        .head()
        .finish();
    let refusals: &[u16] = if is_proxy {
        &[400, 403, 414]
    } else {
        &[403, 404, 414]
    };
    assert!(
        refusals.contains(&answer.status),
        "{line}: {}",
        answer.status
    );
    format!("{:?} {}", answer.head, answer.text())
}

#[test]
fn tunnel_password_is_refused_and_hidden() {
    let origin = Origin::start();
    let address = origin.address();
    assert_kept_secret("hunter2", |gateway| {
        [
            format!("CONNECT bob:hunter2@{address}"),
            format!("CONNECT hunter2@{address}"),
            format!("CONNECT bob:hunter2@{}", address.ip()),
        ]
        .iter()
        .map(|line| refused(gateway, true, line))
        .collect()
    });
    assert_eq!(origin.connections(), 0, "no tunnel is opened");
}

#[test]
fn long_password_is_hidden() {
    let long = "a".repeat(360);
    assert_kept_secret("aaaa", |gateway| {
        ["https://user:", "http:/user:", "ftp://", "user:"]
            .iter()
            .map(|start| {
                refused(
                    gateway,
                    false,
                    &format!("GET /{start}{long}@host.example/x%00"),
                )
            })
            .chain([refused(
                gateway,
                true,
                &format!("GET http://user:{long}@host.example/x"),
            )])
            .collect()
    });
}

#[test]
fn password_with_question_mark_is_hidden() {
    assert_kept_secret("hunter", |gateway| {
        [
            "https://user:hunter?2@host.example/x",
            "https://user:hunter?2@host.example",
            "http:/user:hunter/2@host.example/x",
        ]
        .iter()
        .map(|target| refused(gateway, false, &format!("GET /{target}")))
        .collect()
    });
}

#[test]
fn password_after_prefix_is_hidden() {
    let digest = "a".repeat(64);
    assert_kept_secret("hunter2", |gateway| {
        [
            format!("/sha256:{digest}/https://user:hunter2@host.example/x"),
            "/download/https://user:hunter2@host.example/x".to_owned(),
            format!(
                "/download/md5:{}/http:/user:hunter2@host.example/x",
                &digest[..32]
            ),
        ]
        .iter()
        .map(|path| refused(gateway, false, &format!("GET {path}")))
        .collect()
    });
}

#[test]
fn password_before_encoded_at_sign_is_hidden() {
    assert_kept_secret("hunter2", |gateway| {
        [
            "/https://user:hunter2%40host.example/x",
            "/http:/user:hunter2%40host.example/x?y",
        ]
        .iter()
        .map(|path| refused(gateway, false, &format!("GET {path}")))
        .collect()
    });
}
