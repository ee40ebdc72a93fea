//! Concurrent requests for targets of class `revalidate`: no older response replaces a newer one.

use crate::harness::{Body, Gate, Gateway, Origin, Reply, Waiting, encoded};

fn text(content: &str) -> Body {
    content.as_bytes().to_vec().into()
}

fn index(content: &str) -> Reply {
    Reply::file(&text(content)).conditional()
}

/// Returns a response that is fresh for ten minutes.
fn fresh(content: &str) -> Reply {
    index(content).header("Cache-Control", "max-age=600")
}

/// Begins a request that waits at the gate, and shares no exchange with others.
fn start_alone(gateway: &Gateway, url: &str, gate: &Gate) -> Waiting {
    let request = gateway.proxied("GET", url);
    let waiting = request.header("Accept-Language", "first").start();
    gate.await_reached(1);
    waiting
}

#[test]
fn late_validation_does_not_restore_replaced_response() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let (url, gate) = (origin.url("/page"), Gate::new());
    let get = || gateway.proxied("GET", &url).send();
    origin.script(
        "/page",
        vec![
            index("old"),
            fresh("old").gate_before_head(&gate),
            fresh("new"),
        ],
    );
    get().assert_body(200, b"old");
    let late = start_alone(&gateway, &url, &gate);
    get().assert_body(200, b"new");
    gate.open();
    late.head().finish().assert_body(200, b"old");
    let answer = get();
    answer.assert_body(200, b"new");
    answer.assert_cache(&["hit"]);
    assert_eq!(origin.count("/page"), 3);
}

#[test]
fn late_response_must_be_validated() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for (path, cause) in [
        ("/1/page", "post"),
        ("/2/page", "operator"),
        ("/3/page", "newer response"),
        ("/4/Release.gpg", "changed file"),
    ] {
        let (url, gate) = (origin.url(path), Gate::new());
        let late = fresh("old").gate_before_head(&gate);
        let rest = if cause == "post" {
            vec![late, Reply::ok(&text("done")), fresh("new")]
        } else {
            vec![late, fresh("new")]
        };
        origin.script(path, rest);
        let waiting = start_alone(&gateway, &url, &gate);
        match cause {
            "post" => gateway
                .proxied("POST", &url)
                .body(b"x")
                .send()
                .assert_status(200),
            "operator" => {
                let path = format!("/api/v1/objects?url={}", encoded(&url));
                gateway.operate("DELETE", &path).send().assert_status(404);
            }
            "newer response" => gateway.proxied("GET", &url).send().assert_body(200, b"new"),
            _ => {
                origin.serve("/4/Release", index("new"));
                let file = gateway.proxied("GET", &origin.url("/4/Release")).send();
                file.assert_body(200, b"new");
            }
        }
        gate.open();
        waiting.head().finish().assert_body(200, b"old");
        let answer = gateway.proxied("GET", &url).send();
        answer.assert_body(200, b"new");
    }
}

#[test]
fn unshareable_validation_answers_one_request_only() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let (url, gate) = (origin.url("/page"), Gate::new());
    let cookie = |number: &str| index("first").header("Set-Cookie", number);
    origin.script(
        "/page",
        vec![
            index("first"),
            cookie("n=1").gate_before_head(&gate),
            cookie("n=2"),
            cookie("n=3"),
            index("first"),
        ],
    );
    let get = || gateway.proxied("GET", &url);
    get().send().assert_body(200, b"first");
    let waiting: Vec<_> = (0..3).map(|_| get().start()).collect();
    gate.await_reached(1);
    gate.open();
    let mut cookies: Vec<_> = waiting
        .into_iter()
        .map(|waiting| {
            let answer = waiting.head().finish();
            answer.assert_body(200, b"first");
            answer.header("set-cookie").map(str::to_owned)
        })
        .collect();
    cookies.sort();
    cookies.dedup();
    assert_eq!(cookies.len(), 3, "each client has its own cookie");
    let answer = get().send();
    answer.assert_body(200, b"first");
    assert_eq!(answer.header("set-cookie"), None, "no cookie is stored");
}
