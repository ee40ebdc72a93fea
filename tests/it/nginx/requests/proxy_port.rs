//! Proxy requests through nginx and at the gateway port behind it.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;

use super::{IMMUTABLE, PASS_THROUGH, behind_nginx};
use crate::harness::{
    Nginx, Origin, Reply, Scene, Tool, Waiting, archive, assert_same, is_request_of,
};
use crate::http::tunnel::listener;

#[test]
fn gateway_port_accepts_proxy_requests() {
    let (origin, gateway, body, _) = Scene::of(IMMUTABLE, archive(3, 50_000))
        .gateway(|builder| builder.one_attempt().behind_nginx())
        .start();
    origin.serve("/_objects/x-7.0.tar.gz", Reply::file(&body));
    origin.serve(
        PASS_THROUGH,
        Reply::ok(&b"page\n".to_vec().into()).header("Set-Cookie", "a=b"),
    );
    let nginx = Nginx::before(&gateway);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let proxy = nginx.addr().to_string();
    for path in [IMMUTABLE, "/_objects/x-7.0.tar.gz"] {
        for _ in 0..2 {
            let curl = Tool::curl(folder.path()).args(&[
                "-f",
                "-o",
                "out",
                "-x",
                &proxy,
                &origin.url(path),
            ]);
            curl.run().assert_success();
            assert_same(
                &fs::read(folder.path().join("out")).expect("curl wrote the file"),
                &body,
            );
        }
        gateway.await_stored(&origin.url(path));
        // Hits that nginx sends with sendfile count too.
        let hit = nginx.request("GET", &origin.url(path)).send();
        hit.assert_body(200, &body);
        hit.assert_cache(&["hit"]);
        assert_eq!(origin.count(path), 1, "{path}");
    }
    let passed = nginx.request("GET", &origin.url(PASS_THROUGH)).send();
    assert_eq!(passed.wants("set-cookie"), "a=b", "a proxy is transparent");
    let posted = nginx
        .request("POST", &origin.url("/latest/form"))
        .body(b"a=b")
        .send();
    assert_eq!(
        (posted.status, origin.request("/latest/form").body),
        (404, b"a=b".to_vec())
    );
    gateway.log().wait_for("the endpoint", |event| {
        is_request_of(event, IMMUTABLE) && event["endpoint"] == "proxy"
    });
    // FTP gets the same response as at the proxy port.
    let ftp = "ftp://127.0.0.1:21/pub/x-1.0.tar.gz";
    let (at_gateway, at_proxy) = (
        nginx.request("GET", ftp).send(),
        nginx.proxied("GET", ftp).send(),
    );
    assert_eq!(
        (at_gateway.status, at_gateway.text()),
        (at_proxy.status, at_proxy.text())
    );
}

#[test]
fn nginx_proxy_port_serves_requests_and_tunnels() {
    let origin = Origin::start();
    let body = archive(4, 50_000);
    origin.serve(IMMUTABLE, Reply::file(&body));
    let (listener, address) = listener();
    let gateway = behind_nginx(&origin).port(address.port()).start();
    let nginx = Nginx::before(&gateway);
    for _ in 0..2 {
        nginx
            .proxied("GET", &origin.url(IMMUTABLE))
            .send()
            .assert_body(200, &body);
    }
    assert_eq!(origin.count(IMMUTABLE), 1);

    let head = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\nearly ");
    let answer = Waiting::send(nginx.proxy_addr(), head.as_bytes(), false).head();
    assert_eq!(answer.head.status, 200);
    let (mut client, _) = answer.into_socket();
    client
        .write_all(b"and late")
        .expect("the tunnel accepts data");
    client
        .shutdown(Shutdown::Write)
        .expect("one direction can be closed");
    let (mut server, _) = listener.accept().expect("the gateway connects");
    let mut received = String::new();
    server
        .read_to_string(&mut received)
        .expect("the client ends cleanly");
    assert_eq!(received, "early and late");
    // The other direction stays open.
    server.write_all(&body).expect("the tunnel accepts data");
    drop(server);
    let mut answer = Vec::new();
    client
        .read_to_end(&mut answer)
        .expect("the server ends cleanly");
    assert_same(&answer, &body);
}
