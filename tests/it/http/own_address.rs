//! Requests for the gateway itself through its own proxy port: served like those of the gateway
//! port, without a loop.

use std::net::SocketAddr;

use crate::harness::{
    Answer, Builder, Gateway, Nginx, Origin, Request, Scene, Tool, Waiting, archive, assert_same,
};

const PATH: &str = "/pub/x-1.0.tar.gz";
const PUBLIC: &str = "sources.example.test";

fn ask(proxy: SocketAddr, method: &str, target: &str) -> Answer {
    Request::new(proxy, method, target).wget_agent().send()
}

#[test]
fn own_address_through_proxy_is_served() {
    // By default a miss of wget at the gateway port is a redirect.
    let (origin, gateway, body, url) = Scene::of(PATH, archive(1, 60_000))
        .gateway(|builder| {
            builder
                .one_attempt()
                .text("gateway.public_url", &format!("http://{PUBLIC}"))
        })
        .start();
    let port = gateway.addr().port();
    for own in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("LOCALHOST:{port}"),
        PUBLIC.to_owned(),
        format!("{PUBLIC}:80"),
        "Sources.Example.TEST".to_owned(),
    ] {
        let proxy = gateway.proxy_addr();
        let file = ask(proxy, "GET", &format!("http://{own}/{url}"));
        file.assert_body(200, &body);
        assert_eq!(
            file.header("content-disposition"),
            Some("attachment; filename=\"x-1.0.tar.gz\""),
            "{own}"
        );
        gateway.await_stored(&url);
        ask(proxy, "HEAD", &format!("http://{own}/{url}")).assert_cache(&["hit"]);
        ask(proxy, "GET", &format!("http://{own}/healthz")).assert_body(200, b"alive\n");
        ask(proxy, "GET", &format!("http://{own}/nothing")).assert_problem(404);
        ask(proxy, "POST", &format!("http://{own}/{url}")).assert_problem(405);
        let api = ask(proxy, "GET", &format!("http://{own}/api/v1/objects"));
        api.assert_problem(401);
    }
    assert_eq!(origin.count(PATH), 1);
    assert_eq!(
        origin.request(PATH).header("via"),
        Some("1.1 mill-test"),
        "the request has passed through the gateway once"
    );
}

#[test]
fn real_clients_reach_gateway_through_its_proxy() {
    let (origin, gateway, body, _) = Scene::of(PATH, archive(2, 60_000))
        .gateway(Builder::one_attempt)
        .start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let proxy = format!("http://{}", gateway.proxy_addr());
    let url = gateway.rewritten(&origin.url(PATH));
    let wget = Tool::wget(folder.path()).env("http_proxy", &proxy);
    wget.args(&["-O", "wget", &url]).run().assert_success();
    // `--proxytunnel` asks for a CONNECT.
    let curl = Tool::curl(folder.path());
    curl.args(&["-f", "-p", "-x", &proxy, "-o", "curl", &url])
        .run()
        .assert_success();
    for name in ["wget", "curl"] {
        let file = std::fs::read(folder.path().join(name)).expect("the client wrote the file");
        assert_same(&file, &body);
    }
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn other_address_is_no_own_one() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let port = gateway.addr().port();
    for other in [
        format!("127.0.0.2:{port}"),
        format!("127.0.0.1.:{port}"),
        "127.0.0.1:1".to_owned(),
        PUBLIC.to_owned(),
    ] {
        let answer = ask(
            gateway.proxy_addr(),
            "GET",
            &format!("http://{other}/healthz"),
        );
        assert!(answer.status >= 400, "{other}: {}", answer.status);
    }
}

#[test]
fn gateway_port_of_other_address_is_not_reachable() {
    let gateway = Gateway::builder()
        .text("gateway.listen", "127.0.0.2:0")
        .start();
    let port = gateway.addr().port();
    for own in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        let url = format!("http://{own}/healthz");
        let answer = ask(gateway.proxy_addr(), "GET", &url);
        assert!(answer.status >= 400, "{own}: {}", answer.status);
    }
}

#[test]
fn own_public_name_works_through_nginx() {
    let (origin, gateway, body, url) = Scene::of(PATH, archive(3, 60_000))
        .gateway(|builder| {
            builder
                .one_attempt()
                .behind_nginx()
                .text("gateway.public_url", &format!("http://{PUBLIC}"))
        })
        .start();
    let nginx = Nginx::before(&gateway);
    for _ in 0..2 {
        for proxy in [nginx.proxy_addr(), nginx.addr()] {
            let answer = Request::new(proxy, "GET", &format!("http://{PUBLIC}/{url}")).send();
            answer.assert_body(200, &body);
            gateway.await_stored(&url);
        }
    }
    let connect = format!("CONNECT {PUBLIC}:80 HTTP/1.1\r\n\r\n");
    let accepted = Waiting::send(nginx.proxy_addr(), connect.as_bytes(), false).head();
    assert_eq!(accepted.head.status, 200);
    let (socket, _) = accepted.into_socket();
    let inside = format!("GET /{url} HTTP/1.1\r\nHost: {PUBLIC}\r\n\r\n");
    let (_, found) = Waiting::send_on(socket, inside.as_bytes(), false)
        .head()
        .finish_open();
    assert_same(&found, &body);
    assert_eq!(origin.count(PATH), 1);
}
