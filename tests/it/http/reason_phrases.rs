//! The reason phrase of HTTP/1.1 names the cause of an error.

use crate::harness::{Gateway, Nginx, Origin, Reply, Scene, Waiting, archive, sha256};

const PATH: &str = "/pub/x-1.0.tar.gz";

#[test]
fn reason_phrase_names_the_cause() {
    let (origin, gateway, body, _) = Scene::relaying(PATH, archive(4, 5000));
    origin.serve("/page-1.0.tar.gz", Reply::html());
    origin.serve("/empty-1.0.tar.gz", Reply::ok(&Vec::new().into()));
    origin.serve("/broken-1.0.tar.gz", Reply::status(503));
    let nginx_gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .behind_nginx()
        .start();
    let nginx = Nginx::before(&nginx_gateway);
    let cases = causes(&origin, &sha256(&body));
    for (path, status, reason) in cases {
        for address in [gateway.addr(), nginx.addr()] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let found = Waiting::send(address, head.as_bytes(), false).head().head;
            assert_eq!(
                (found.status, found.reason.as_str()),
                (status, reason),
                "{path} at {address}"
            );
        }
    }
    let connect = "CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n";
    let refused = Waiting::send(gateway.proxy_addr(), connect.as_bytes(), false);
    let refused = refused.head().head;
    assert_eq!(
        (refused.status, refused.reason.as_str()),
        (403, "Port Not Allowed")
    );
}

/// Returns paths, each with its status and reason phrase. `own` is the digest of the file.
fn causes(origin: &Origin, own: &str) -> Vec<(String, u16, &'static str)> {
    let other = "0".repeat(64);
    vec![
        (
            format!("/sha256:{other}/{}", origin.url(PATH)),
            409,
            "Expected Digest Differs",
        ),
        (format!("/sha256:{own}/{}", origin.url(PATH)), 200, "OK"),
        (
            format!("/{}", origin.url("/none-1.0.tar.gz")),
            404,
            "Not Found At Origin",
        ),
        (
            format!("/{}", origin.url("/broken-1.0.tar.gz")),
            502,
            "Origin Server Error",
        ),
        (
            format!("/{}", origin.url("/page-1.0.tar.gz")),
            502,
            "Wrong File Type From Origin",
        ),
        (
            format!("/{}", origin.url("/empty-1.0.tar.gz")),
            502,
            "Empty File From Origin",
        ),
        (
            format!("/http://10.0.0.1:{}/x", origin.port()),
            403,
            "Private Address Not Allowed",
        ),
        ("/http://127.0.0.1:1/x".to_owned(), 403, "Port Not Allowed"),
        ("/nothing".to_owned(), 404, "No URL In Path"),
        ("/https://user@127.0.0.1/x".to_owned(), 404, "Invalid URL"),
        (
            "/sha256:1/https://127.0.0.1/x".to_owned(),
            404,
            "Invalid Digest In Path",
        ),
    ]
}
