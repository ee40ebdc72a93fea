//! Security of nginx: it cannot bypass the gateway's policy, and its logs contain no secrets.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{
    Authority, DEADLINE, Nginx, Origin, Reply, Tool, archive, assert_same, listen,
};
use crate::nginx::requests::behind_nginx;

#[test]
fn origin_cannot_turn_nginx_into_tunnel() {
    let origin = Origin::start();
    let stored = "/pub/x-1.0.tar.gz";
    let body = archive(1, 100_000);
    origin.serve(stored, Reply::file(&body));
    origin.serve(
        "/latest/x",
        Reply::status(101)
            .header("Upgrade", "x")
            .header("Connection", "Upgrade"),
    );
    let gateway = behind_nginx(&origin).start();
    gateway.assert_serves(&origin.url(stored), &body);
    gateway.await_stored(&origin.url(stored));
    let nginx = Nginx::before(&gateway);
    for target in [
        format!("/{}", origin.url("/latest/x")),
        origin.url("/latest/x"),
    ] {
        let mut socket = TcpStream::connect(nginx.addr()).expect("nginx accepts the connection");
        socket
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout can be set");
        let upgrade = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
        );
        let path = format!("/{}", origin.url(stored));
        let behind = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             X-Forwarded-For: 10.9.8.7\r\n\
             X-Millpond-Request-Line: GET {path} HTTP/1.1\r\n\r\n"
        );
        socket
            .write_all((upgrade + &behind).as_bytes())
            .expect("nginx reads the requests");
        let mut answers = Vec::new();
        socket
            .read_to_end(&mut answers)
            .expect("nginx closes the connection");
        let heads =
            String::from_utf8_lossy(&answers[..answers.len().min(2000)]).to_ascii_lowercase();
        assert!(heads.starts_with("http/1.1 502"), "{target}: {heads}");
        assert!(!heads.contains("x-accel-redirect"), "{target}: {heads}");
    }
    assert!(
        !gateway.log().text().contains("10.9.8.7"),
        "no request bypassed nginx"
    );
}

#[test]
fn nginx_logs_hide_secrets_without_gateway() {
    let origin = Origin::start();
    let mut gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    gateway.stop();
    for target in [
        format!("/{}?X-Amz-Signature=hush", origin.url("/signed-1.0.tar.gz")),
        format!(
            "/ftp://somebody:hush@127.0.0.1:{}/user-1.0.tar.gz",
            origin.port()
        ),
    ] {
        nginx.request("GET", &target).send().assert_problem(503);
    }
    crate::harness::eventually("both requests are logged", || {
        (nginx.accesses().len() == 2).then_some(())
    });
    assert!(
        !nginx.accesses().join("\n").contains("hush"),
        "{:?}",
        nginx.accesses()
    );
    assert!(!nginx.errors().contains("hush"), "{}", nginx.errors());
}

#[test]
fn uncommenting_tls_lines_enables_tls() {
    let origin = Origin::start();
    let path = "/pub/x-1.0.tar.gz";
    let body = archive(2, 100_000);
    origin.serve(path, Reply::file(&body));
    let gateway = behind_nginx(&origin).start();
    gateway.assert_serves(&origin.url(path), &body);
    gateway.await_stored(&origin.url(path));
    let authority = Authority::new();
    let leaf = authority.leaf_file();
    let leaf = leaf.to_str().expect("the path is text");
    let port = listen("127.0.0.1")
        .local_addr()
        .expect("a listener has an address")
        .port();
    let nginx = Nginx::builder(&[&gateway])
        .change(
            "tls.conf",
            "# listen 443 ",
            &format!("listen 127.0.0.1:{port} "),
        )
        .change(
            "tls.conf",
            "# listen [::]:443 ",
            &format!("listen [::1]:{port} "),
        )
        .change("tls.conf", "# ssl_", "ssl_")
        .change("tls.conf", "/etc/nginx/tls/fullchain.pem", leaf)
        .change("tls.conf", "/etc/nginx/tls/privkey.pem", leaf)
        .start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let ca = authority.file();
    let url = format!("https://localhost:{port}/{}", origin.url(path));
    for version in ["--http1.1", "--tlsv1.3"] {
        let curl = Tool::curl(folder.path()).args(&["-f", "-o", "out", version]);
        curl.args(&["--cacert", ca.to_str().expect("the path is text"), &url])
            .run()
            .assert_success();
        assert_same(
            &std::fs::read(folder.path().join("out")).expect("curl wrote the file"),
            &body,
        );
    }
    assert_eq!(origin.count(path), 1);
    nginx.get(&origin.url(path)).send().assert_body(200, &body);
}
