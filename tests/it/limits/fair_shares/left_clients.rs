//! Clients that close their connection while Millpond hashes an object for them.

use std::io::Write as _;
use std::net::Shutdown;

use crate::harness::{Gateway, Origin, Reply, archive, connect_from, is_request_of};

#[test]
fn hashing_ends_soon_after_client_closes() {
    let (origin, body) = (Origin::start(), archive(81, 256 << 20));
    origin.serve("/x-1.0.tar.gz", Reply::file(&body));
    let gateway = Gateway::builder().origin(&origin).relay().start();
    let url = origin.url("/x-1.0.tar.gz");
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    // Hashing takes longer than a closed connection waits for it.
    let mut client = connect_from("127.0.0.1", gateway.addr());
    let digest = "0".repeat(128);
    let head = format!("HEAD /{url} HTTP/1.1\r\nHost: x\r\nX-Expected-Sha512: {digest}\r\n\r\n");
    client
        .write_all(head.as_bytes())
        .expect("the gateway reads");
    client.shutdown(Shutdown::Write).expect("the client closes");
    let ended = gateway.log().wait_for("the end of the request", |event| {
        is_request_of(event, &url) && event["method"] == "HEAD"
    });
    assert_eq!(ended["status"], 499, "{ended}");
}
