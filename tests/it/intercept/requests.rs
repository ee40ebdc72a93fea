//! Intercepted hosts: the requests inside a CONNECT take the same path as those of any https
//! target.

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Authority, Reply, Tool, Waiting, archive, assert_same, listen, sha256};
use crate::intercept::harness::Intercepting;

const PATH: &str = "/pub/x-1.0.tar.gz";

/// User `ann` with the password `secret`, as htpasswd writes it.
const USER: &str = "ann:$2y$05$sTI52Im6OaVu2XfyksPV9OawIGWpXOZkDkedxX9//VH0FtBqWbikm\n";

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[track_caller]
fn assert_status(response: &[u8], status: u16, text: &str) {
    let response = String::from_utf8_lossy(response);
    let line = format!("HTTP/1.1 {status} ");
    assert!(response.starts_with(&line), "{status}: {response}");
    assert!(response.contains(text), "{text}: {response}");
}

#[test]
fn requests_inside_are_stored_and_served() {
    let stage = Intercepting::start();
    let body = archive(1, 3 << 20);
    stage.origin.serve(PATH, Reply::file(&body));
    let url = stage.url(PATH);
    let fetch = |file: &str| {
        let run = stage.curl().args(&["-f", "-o", file, &url]).run();
        run.assert_success();
        let file = stage.folder.path().join(file);
        assert_same(&std::fs::read(file).expect("curl wrote it"), &body);
    };
    fetch("first");
    stage.gateway.await_stored(&url);
    stage.origin.shut_down();
    fetch("second");
    let args = ["-r", "10-19", "-D", "-", "-o", "part", &url];
    let ranged = stage.curl().args(&args).run();
    assert!(
        ranged.stdout.contains("206 Partial Content"),
        "{}",
        ranged.stdout
    );
    assert!(ranged.stdout.contains("; hit"), "{}", ranged.stdout);
    // Every port means the same target.
    let hit = stage.gateway.assert_serves(&url, &body);
    hit.assert_cache(&["hit"]);
    assert_eq!(stage.origin.count(PATH), 1);
    let event = stage.inner_request(PATH);
    assert_eq!(event["endpoint"], "proxy", "{event}");
    assert_eq!(event["intercepted"], true, "{event}");
    assert_eq!(event["uri"], url, "{event}");
    let connect = stage.gateway.log().wait_for("the CONNECT", |event| {
        event["endpoint"] == "tunnel" && event["status"] == 200
    });
    assert_eq!(connect["intercepted"], true, "{connect}");
    assert_eq!(connect["sent_bytes"], 0, "{connect}");
}

#[test]
fn connection_inside_carries_several_requests() {
    let stage = Intercepting::start();
    let body = archive(2, 200_000);
    stage.origin.serve(PATH, Reply::file(&body));
    let urls = [
        stage.url(PATH),
        stage.url(PATH),
        stage.url("/absent-1.0.tar.gz"),
    ];
    let run = stage
        .curl()
        .args(&[
            "-w",
            "%{http_code} %{num_connects} ",
            "-o",
            "a",
            "-o",
            "b",
            "-o",
            "c",
        ])
        .args(&urls.each_ref().map(String::as_str))
        .run();
    run.assert_success();
    assert_eq!(run.stdout, "200 1 200 0 404 0 ");
    assert_eq!(stage.origin.count(PATH), 1);
    // A client may send the ClientHello together with the CONNECT, and close its half early.
    let response = stage
        .secure("localhost")
        .ask(&get(PATH, &stage.origin_authority()));
    assert!(response.ends_with(&body));
    assert_status(&response, 200, "; hit");
}

#[test]
fn names_of_one_request_must_agree() {
    let stage = Intercepting::start();
    stage.origin.serve(PATH, Reply::file(&archive(4, 2000)));
    let authority = stage.origin_authority();
    let other = format!("localhost:{}", stage.origin.port() ^ 1);
    for (head, status) in [
        (get(PATH, "other.example.org"), 421),
        (get(PATH, "localhost"), 421),
        (get(PATH, &other), 421),
        (get(&format!("https://{other}{PATH}"), &other), 421),
        (get(&format!("http://{authority}{PATH}"), &authority), 421),
        (get("ftp://localhost/x", &authority), 421),
        (
            format!("TRACE {PATH} HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
            405,
        ),
        (
            format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
            400,
        ),
        ("GET /x HTTP/1.1\r\n\r\n".to_owned(), 400),
        (get("/x.mp3", &authority), 403),
    ] {
        let response = stage.secure("localhost").ask(&head);
        assert_status(&response, status, "");
    }
    // A client that names another listed host gets a certificate that it accepts.
    for host in [&authority[..], "other.example.org"] {
        let response = stage.secure("other.example.org").ask(&get(PATH, host));
        assert_status(&response, 421, "differs from the authority");
    }
    let route = format!("third.example.org:{0}:localhost:{0}", stage.origin.port());
    let url = format!("https://third.example.org:{}{PATH}", stage.origin.port());
    let run = stage
        .curl()
        .args(&["-k", "-i", "--connect-to", &route, &url])
        .run();
    assert!(run.stdout.contains("HTTP/1.1 421 "), "{}", run.stdout);
    assert_eq!(stage.origin.total(), 0);
    let absolute = get(&format!("https://{authority}{PATH}"), &authority);
    assert_status(&stage.secure("localhost").ask(&absolute), 200, "");
}

#[test]
fn unlisted_hosts_stay_tunnels() {
    let stage = Intercepting::start();
    stage.origin.serve(PATH, Reply::file(&archive(5, 2000)));
    let ca = stage.authority.file();
    let run = Tool::curl(stage.folder.path())
        .args(&["-f", "--proxy", &stage.proxy(), "-o", "file"])
        .args(&[
            "--cacert",
            ca.to_str().expect("it is text"),
            &stage.origin.url(PATH),
        ])
        .run();
    run.assert_success();
    stage.gateway.assert_nothing_stored();
    let event = stage
        .gateway
        .log()
        .wait_for("the tunnel", |event| event["endpoint"] == "tunnel");
    assert!(event.get("intercepted").is_none(), "{event}");
}

#[test]
fn other_port_of_listed_host_is_tunnel() {
    let listener = listen("127.0.0.1");
    let address = listener.local_addr().expect("a listener has an address");
    let stage = Intercepting::start_with(|builder| {
        let ports = format!("[{}]", address.port());
        builder
            .set("policy.ports", "[443]")
            .set("policy.connect_ports", &ports)
    });
    let head = format!(
        "CONNECT localhost:{} HTTP/1.1\r\n\r\nSSH-2.0-x\r\n",
        address.port()
    );
    let accepted = Waiting::send(stage.gateway.proxy_addr(), head.as_bytes(), false).head();
    assert_eq!(accepted.head.status, 200);
    let (mut server, _) = listener.accept().expect("the gateway has connected");
    drop(accepted);
    let mut received = String::new();
    server
        .read_to_string(&mut received)
        .expect("the client ends cleanly");
    assert_eq!(received, "SSH-2.0-x\r\n");
}

#[test]
fn interception_needs_no_tunnel_port() {
    let stage = Intercepting::start_with(|builder| builder.set("policy.connect_ports", "[]"));
    let body = archive(6, 20_000);
    stage.origin.serve(PATH, Reply::file(&body));
    let response = stage
        .secure("localhost")
        .ask(&get(PATH, &stage.origin_authority()));
    assert!(response.ends_with(&body));
    let denying =
        Intercepting::start_with(|builder| builder.set("policy.deny_hosts", "[\"localhost\"]"));
    let authority = denying.origin_authority();
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    let refused = Waiting::send(denying.gateway.proxy_addr(), head.as_bytes(), false).head();
    refused.finish().assert_problem(403);
}

#[test]
fn bad_certificate_of_origin_is_error_inside() {
    let other = Authority::new();
    let stage = Intercepting::start_with(|builder| builder.authority(&other));
    stage.origin.serve(PATH, Reply::file(&archive(7, 2000)));
    let head = get(PATH, &stage.origin_authority());
    let response = stage.secure("localhost").ask(&head);
    assert_status(&response, 502, "TLS with the origin failed");
    assert_eq!(stage.origin.total(), 0);
    stage.gateway.assert_nothing_stored();
}

#[test]
fn credentials_inside_are_passed_and_unstored() {
    let stage = Intercepting::start();
    stage.origin.serve(PATH, Reply::file(&archive(8, 2000)));
    for field in [
        "Authorization: Bearer x",
        "Cookie: session=1",
        "X-Api-Key: k",
    ] {
        let run = stage
            .curl()
            .args(&["-f", "-o", "f", "-H", field, &stage.url(PATH)])
            .run();
        run.assert_success();
    }
    assert_eq!(stage.origin.count(PATH), 3);
    let asked = &stage.origin.requests(PATH)[0];
    assert_eq!(asked.header("authorization"), Some("Bearer x"));
    stage.gateway.assert_nothing_stored();
    // A client that waits for 100 gets it through the TLS.
    stage
        .origin
        .serve("/upload", Reply::ok(&b"taken".to_vec().into()));
    let run = stage
        .curl()
        .args(&[
            "-f",
            "-H",
            "Expect: 100-continue",
            "--expect100-timeout",
            "20",
        ])
        .args(&["--data-binary", "some bytes", &stage.url("/upload")])
        .run();
    run.assert_success();
    assert_eq!(run.stdout, "taken");
    assert_eq!(stage.origin.request("/upload").body, b"some bytes");
}

#[test]
fn login_belongs_to_the_connect() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let users = folder.path().join("users");
    fs::write(&users, USER).expect("the folder is writable");
    fs::set_permissions(&users, Permissions::from_mode(0o600)).expect("the mode can be set");
    let stage = Intercepting::start_with(|builder| {
        let users = users.to_str().expect("the path is text");
        builder.text("gateway.download_users_file", users)
    });
    stage.origin.serve(PATH, Reply::file(&archive(11, 2000)));
    let ask = |user: &[&str]| {
        let args = ["-o", "f", "-w", "%{http_connect} %{http_code}"];
        let curl = stage.curl().args(&args).args(user);
        curl.arg(&stage.url(PATH)).run().stdout
    };
    assert_eq!(ask(&[]), "407 000");
    assert_eq!(ask(&["--proxy-user", "ann:wrong"]), "407 000");
    assert_eq!(ask(&["--proxy-user", "ann:secret"]), "200 200");
    let asked = stage.origin.request(PATH);
    assert_eq!(asked.header("proxy-authorization"), None);
    assert_eq!(asked.header("authorization"), None);
}

#[test]
fn client_digest_is_checked_inside() {
    let stage = Intercepting::start();
    let body = archive(9, 50_000);
    stage.origin.serve(PATH, Reply::file(&body));
    for (digest, code) in [(sha256(&body), "200"), (sha256(b"other"), "409")] {
        let field = format!("X-Expected-Sha256: {digest}");
        let args = ["-o", "file", "-w", "%{http_code}", "-H", &field];
        let run = stage.curl().args(&args).arg(&stage.url(PATH)).run();
        assert_eq!(run.stdout, code, "{}", run.stderr);
    }
}

#[test]
fn early_hello_belongs_to_the_handshake() {
    let stage = Intercepting::start();
    let body = archive(10, 20_000);
    stage.origin.serve(PATH, Reply::file(&body));
    let mut secure = stage.secure("localhost");
    // The ClientHello goes out with the head of another CONNECT.
    let mut hello = Vec::new();
    secure
        .0
        .conn
        .write_tls(&mut hello)
        .expect("memory takes all");
    let authority = stage.origin_authority();
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    let bytes = [head.as_bytes(), &hello].concat();
    let accepted = Waiting::send(stage.gateway.proxy_addr(), &bytes, false).head();
    assert_eq!(accepted.head.status, 200);
    let (socket, early) = accepted.into_socket();
    let mut unread = &early[..];
    while !unread.is_empty() {
        secure
            .0
            .conn
            .read_tls(&mut unread)
            .expect("memory can be read");
        secure
            .0
            .conn
            .process_new_packets()
            .expect("the handshake goes on");
    }
    let old = std::mem::replace(&mut secure.0.sock, socket);
    old.shutdown(Shutdown::Both)
        .expect("the connection is open");
    assert!(secure.ask(&get(PATH, &authority)).ends_with(&body));
}
