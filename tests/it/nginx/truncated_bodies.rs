//! Truncated origin responses through nginx: no client takes an incomplete body for a complete one.

use crate::harness::{
    Ended, Gate, Nginx, Origin, Reply, Request, Stop, Tool, archive, assert_same,
};
use crate::nginx::requests::behind_nginx;

/// Returns the faults of the origin by name.
fn cuts(body: &crate::harness::Body) -> [(&'static str, Reply); 5] {
    [
        ("length", Reply::file(body).cut_at(50_000)),
        ("chunks", Reply::file(body).chunked().cut_at(50_000)),
        ("reset", Reply::file(body).stop_at(50_000, Stop::Reset)),
        ("last-byte", Reply::file(body).cut_at(99_999)),
        ("last-chunk", Reply::file(body).chunked().cut_at(100_000)),
    ]
}

/// A cacheable file and a pass-through one.
const NAMES: [&str; 2] = ["x-1.0.tar.gz", "x.bin"];

/// Returns whether the response has no length: an HTTP/1.0 client then sees only the
/// end of the connection.
fn has_no_length(how: &str, name: &str) -> bool {
    matches!(how, "chunks" | "last-chunk") && name == "x.bin"
}

/// Endpoints: URL prefix, proxy request at the gateway port, and proxy port.
const ENDPOINTS: [&str; 3] = ["gateway", "absolute", "proxy"];

fn at(endpoint: &str, nginx: &Nginx, url: &str) -> Request {
    match endpoint {
        "gateway" => nginx.get(url),
        "absolute" => nginx.request("GET", url),
        _ => nginx.proxied("GET", url),
    }
}

#[test]
fn cut_origin_breaks_transfer_through_nginx() {
    let origin = Origin::start();
    let body = archive(1, 100_000);
    let gateway = behind_nginx(&origin)
        .set("fetch.breaker_failures", "0")
        .start();
    let nginx = Nginx::before(&gateway);
    for (how, reply) in cuts(&body) {
        for name in NAMES {
            for endpoint in ENDPOINTS {
                let path = format!("/{how}/{endpoint}/{name}");
                let request = at(endpoint, &nginx, &origin.url(&path));
                // The gate makes the head reach the client before the origin breaks off.
                let gate = Gate::new();
                origin.serve(&path, reply.clone().gate_at(40_000, &gate));
                let mut answer = request.open();
                assert_eq!(answer.head.status, 200, "{path}");
                assert_same(&answer.read(30_000), &body[..30_000]);
                gate.open();
                let rest = answer.finish();
                assert_eq!(
                    rest.ended,
                    Ended::Cut,
                    "{path}: {} bytes received",
                    rest.body.len()
                );
                let seen = 30_000 + rest.body.len();
                assert_same(&rest.body, &body[30_000..seen]);
            }
        }
    }
    gateway.assert_nothing_stored();
}

#[test]
fn http_1_0_client_detects_cut_origin() {
    let origin = Origin::start();
    let body = archive(2, 100_000);
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    for (how, reply) in cuts(&body) {
        for name in NAMES {
            if has_no_length(how, name) {
                continue;
            }
            for endpoint in ENDPOINTS {
                let path = format!("/{how}/{endpoint}/{name}");
                origin.serve(&path, reply.clone());
                let answer = at(endpoint, &nginx, &origin.url(&path)).http_1_0().send();
                // The request may fail before a head is sent.
                let is_failure = answer.status >= 500 || answer.ended == Ended::Cut;
                assert!(
                    is_failure,
                    "{path}: {:?}, {} bytes received",
                    answer.head,
                    answer.body.len()
                );
            }
        }
    }
}

#[test]
fn body_of_unknown_length_is_complete_for_clients() {
    let origin = Origin::start();
    let body = archive(3, 100_000);
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    for (number, name) in NAMES.into_iter().enumerate() {
        for (how, reply) in [
            ("chunks", Reply::file(&body).chunked()),
            ("close", Reply::ok(&body).until_close()),
        ] {
            let path = format!("/{how}-{number}/{name}");
            origin.serve(&path, reply);
            let url = origin.url(&path);
            let old = nginx.get(&url).http_1_0().send();
            old.assert_status(200);
            assert_same(&old.body, &body);
            nginx.get(&url).send().assert_body(200, &body);
        }
    }
}

#[test]
fn wget_and_curl_detect_cut_transfer() {
    let origin = Origin::start();
    let body = archive(4, 100_000);
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (how, reply) in cuts(&body) {
        for name in NAMES {
            let wget = Tool::wget(folder.path()).args(&["-O", "out"]);
            let curl = Tool::curl(folder.path()).args(&["-f", "-o", "out"]);
            let old = Tool::curl(folder.path()).args(&["-f0", "-o", "out"]);
            let tools = if has_no_length(how, name) {
                vec![wget, curl]
            } else {
                vec![wget, curl, old]
            };
            for (number, tool) in tools.into_iter().enumerate() {
                let path = format!("/{how}/{number}/{name}");
                origin.serve(&path, reply.clone());
                let run = tool.arg(&nginx.rewritten(&origin.url(&path))).run();
                assert!(
                    run.code != Some(0),
                    "{path} was reported as complete\n{}{}",
                    run.stdout,
                    run.stderr
                );
            }
        }
    }
    gateway.assert_nothing_stored();
}

#[test]
fn http_1_0_detects_cut_unsized_pass_through() {
    let origin = Origin::start();
    let body = archive(5, 100_000);
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let mut wrong = Vec::new();
    for (how, reply) in cuts(&body) {
        for endpoint in ENDPOINTS {
            let path = format!("/{how}/{endpoint}/x.bin");
            origin.serve(&path, reply.clone());
            let answer = at(endpoint, &nginx, &origin.url(&path)).http_1_0().send();
            if answer.status < 500 && answer.ended != Ended::Cut {
                wrong.push(format!(
                    "{path}: {} bytes, {:?}",
                    answer.body.len(),
                    answer.ended
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
