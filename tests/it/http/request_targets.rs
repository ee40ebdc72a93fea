//! Request targets that some clients send, although no RFC allows them.

use crate::harness::{Gateway, Origin, Reply, Waiting, archive};

/// Requests a target with these bytes, as curl does with a URL that is not encoded.
fn request(port: std::net::SocketAddr, origin: &Origin, target: &[u8]) -> Waiting {
    let host = format!(
        " HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
        origin.port()
    );
    Waiting::send(port, &[b"GET ", target, host.as_bytes()].concat(), false)
}

#[test]
fn bytes_beyond_ascii_are_encoded() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let body = archive(1, 3000);
    for (sent, asked) in [
        (&b"/caf\xc3\xa9-1.0.tar.gz"[..], "/caf%C3%A9-1.0.tar.gz"),
        (b"/caf\xe9-1.0.tar.gz", "/caf%E9-1.0.tar.gz"),
        (b"/\xc4\xe3-1.0.tar.gz?q=\xff", "/%C4%E3-1.0.tar.gz?q=%FF"),
        (b"/x-1.0.tar.gz?f#\xc3\xa9", "/x-1.0.tar.gz?f"),
    ] {
        origin.serve(asked, Reply::file(&body));
        let url = [origin.url("").as_bytes(), sent].concat();
        let prefixed = [b"/", &url[..]].concat();
        for (port, target) in [(gateway.addr(), &prefixed), (gateway.proxy_addr(), &url)] {
            let answer = request(port, &origin, target).head().finish();
            answer.assert_body(200, &body);
        }
        assert_eq!(origin.count(asked), 1, "{asked}");
    }
}

/// The page of the root would be stored as the file.
#[test]
fn url_behind_another_parameter_is_404() {
    let gateway = Gateway::builder().start();
    let url = "url=https%3A%2F%2Ffiles.example.test%2Fx-1.0.tar.gz";
    for path in [format!("/?a=b&{url}"), format!("/download?a=b&{url}")] {
        let answer = gateway.request("GET", &path).send();
        answer.assert_problem(404);
        assert!(answer.text().contains("?url="), "{}", answer.text());
    }
    gateway.request("GET", "/?a=b").send().assert_status(200);
}
