//! Requests that must not be repeated never use a kept-alive connection, whose failure could mean
//! that the origin has acted on them (RFC 9112, section 9.3.1).

use crate::harness::{Builder, Gateway, Origin, Reply, Request, Stop, archive};

/// Closed in order, and by a reset.
const STOPS: [Stop; 2] = [Stop::Cut, Stop::Reset];

fn builder(origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .set("fetch.breaker_failures", "0")
}

/// Leaves a connection to the origin that has served a request and is kept alive.
#[track_caller]
fn prime(gateway: &Gateway, origin: &Origin) {
    let body = archive(1, 100);
    origin.serve("/primer.bin", Reply::ok(&body));
    gateway.assert_serves(&origin.url("/primer.bin"), &body);
}

#[test]
fn unsafe_request_is_not_sent_twice() {
    for stop in STOPS {
        let origin = Origin::start();
        let gateway = builder(&origin).start();
        for (path, request) in unsafe_requests(&gateway, &origin) {
            let reply = Reply::ok(&archive(4, 100));
            origin.serve(&path, reply.stop_before_head(stop.clone()));
            prime(&gateway, &origin);
            request.send().assert_problem(504);
            assert_eq!(origin.count(&path), 1, "{path}");
        }
    }
}

#[test]
fn unsafe_request_uses_fresh_connection() {
    let body = archive(4, 100);
    for stop in STOPS {
        let origin = Origin::start();
        let gateway = builder(&origin).start();
        for (path, request) in unsafe_requests(&gateway, &origin) {
            origin.serve(&path, Reply::ok(&body).stop_on_reuse(stop.clone()));
            // It would be lost on the kept-alive connection, which the origin closes.
            prime(&gateway, &origin);
            request.send().assert_body(200, &body);
            assert_eq!(origin.request(&path).turn, 0, "{path}");
        }
    }
}

/// Returns requests that must not be repeated, with their paths.
fn unsafe_requests(gateway: &Gateway, origin: &Origin) -> Vec<(String, Request)> {
    let request = |method: &str, path: &str| {
        let path = path.to_owned();
        let request = gateway.proxied(method, &origin.url(&path));
        (path, request)
    };
    let with_body = |(path, request): (String, Request)| (path, request.body(b"once"));
    let (chunked, chunked_request) = request("PUT", "/chunked");
    vec![
        request("POST", "/post"),
        request("PATCH", "/patch"),
        with_body(request("POST", "/body")),
        // The body is streamed from the client and is gone afterwards.
        with_body(request("PUT", "/put")),
        (chunked, chunked_request.chunked_body(b"once")),
    ]
}
