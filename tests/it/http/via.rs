//! `Via` names the version in which each message was received (RFC 9110, section 7.6.3).

use crate::harness::{Gateway, Origin, Reply, archive};

#[test]
fn via_names_received_version_both_ways() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let body = archive(1, 3000);
    for (number, (asked, replied, port)) in [
        ("1.0", "1.0", "gateway"),
        ("1.0", "1.1", "gateway"),
        ("1.1", "1.0", "gateway"),
        ("1.1", "1.1", "gateway"),
        ("1.0", "1.0", "proxy"),
        ("1.0", "1.1", "proxy"),
        ("1.1", "1.0", "proxy"),
        ("1.1", "1.1", "proxy"),
    ]
    .into_iter()
    .enumerate()
    {
        // A signed URL is passed through for this client alone.
        let path = format!("/{number}/page?token=a");
        let reply = Reply::ok(&body);
        let reply = if replied == "1.0" {
            reply.http_1_0()
        } else {
            reply
        };
        origin.serve(&path, reply);
        let url = origin.url(&path);
        let request = match port {
            "gateway" => gateway.get(&url),
            _ => gateway.proxied("GET", &url),
        };
        let request = if asked == "1.0" {
            request.http_1_0()
        } else {
            request
        };
        let answer = request.send();
        answer.assert_body(200, &body);
        assert_eq!(answer.wants("via"), format!("{replied} mill-test"));
        let sent = origin.request(&path);
        let sent = sent.header("via").map(str::to_owned);
        assert_eq!(sent, Some(format!("{asked} mill-test")), "{number}");
    }
}

#[test]
fn shared_requests_are_of_http_1_1() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let body = archive(2, 3000);
    for path in ["/x-1.0.gz", "/list.bin"] {
        origin.serve(path, Reply::file(&body).http_1_0());
        let url = origin.url(path);
        let answer = gateway.get(&url).http_1_0().send();
        answer.assert_body(200, &body);
        assert_eq!(origin.request(path).header("via"), Some("1.1 mill-test"));
    }
}
