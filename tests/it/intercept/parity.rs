//! An intercepted target, and the same https target in absolute form at the proxy port: one key,
//! one class, one policy, the same responses, log fields and metrics.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::harness::{Reply, archive, is_request_of};
use crate::intercept::harness::Intercepting;

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Fields of a log event that differ from request to request.
const OF_ONE_EVENT: [&str; 3] = ["timestamp", "duration_ms", "intercepted"];

/// Fields of a response that differ from request to request.
const OF_ONE_RESPONSE: [&str; 2] = ["date", "age"];

/// Method, target below the origin, and further fields. Each target is in the log.
const REQUESTS: [(&str, &str, &str); 24] = [
    ("GET", PATH, ""),
    ("GET", PATH, ""),
    ("HEAD", PATH, ""),
    ("GET", PATH, "Range: bytes=10-19\r\n"),
    ("GET", PATH, "Authorization: Bearer x\r\n"),
    ("GET", PATH, "Cookie: session=1\r\n"),
    ("GET", PATH, "X-Expected-Sha256: 00\r\n"),
    ("GET", PATH, "Expect: something\r\n"),
    ("GET", "/dists/sid/Release", ""),
    ("GET", "/dists/sid/Release", ""),
    ("GET", "/cookie-1.0.tar.gz", ""),
    ("GET", "/cookie-1.0.tar.gz", ""),
    ("GET", "/page?id=1", ""),
    ("POST", "/page?id=1", "Content-Length: 0\r\n"),
    ("GET", "/absent-1.0.tar.gz", ""),
    ("GET", "/failing-1.0.tar.gz", ""),
    ("GET", "/music.mp3", ""),
    ("GET", "/down-1.0.tar.gz", ""),
    ("GET", "/private-1.0.tar.gz", ""),
    ("GET", "/moved-1.0.tar.gz", ""),
    (
        "GET",
        "/new-1.0.tar.gz",
        "Cache-Control: only-if-cached\r\n",
    ),
    ("TRACE", PATH, ""),
    ("BREW", PATH, ""),
    ("OPTIONS", PATH, "Max-Forwards: 0\r\n"),
];

fn serve(stage: &Intercepting) {
    let (origin, body) = (&stage.origin, archive(1, 20_000));
    origin.serve(PATH, Reply::file(&body));
    origin.serve(
        "/dists/sid/Release",
        Reply::file(&b"Release\n".to_vec().into()),
    );
    let cookie = Reply::ok(&body).header("Set-Cookie", "session=2");
    origin.serve("/cookie-1.0.tar.gz", cookie.header("ETag", "\"a\""));
    origin.serve("/page?id=1", Reply::html());
    origin.serve("/failing-1.0.tar.gz", Reply::status(500));
    let url = origin.named_url(PATH);
    for (path, location) in [
        ("/down-1.0.tar.gz", url.replace("https:", "http:")),
        (
            "/private-1.0.tar.gz",
            "https://10.0.0.1/x-1.0.tar.gz".to_owned(),
        ),
        ("/moved-1.0.tar.gz", url),
    ] {
        origin.serve(path, Reply::redirect(302, &location));
    }
}

/// Sends a request, and returns the whole response.
fn ask(stage: &Intercepting, is_inside: bool, request: (&str, &str, &str)) -> Vec<u8> {
    let (method, path, fields) = request;
    let host = stage.origin_authority();
    let base = if is_inside {
        String::new()
    } else {
        stage.url("")
    };
    let head = format!(
        "{method} {base}{path} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n"
    );
    if is_inside {
        return stage.secure("localhost").ask(&head);
    }
    let mut socket = TcpStream::connect(stage.gateway.proxy_addr()).expect("it listens");
    socket.write_all(head.as_bytes()).expect("it is open");
    let mut response = Vec::new();
    socket.read_to_end(&mut response).expect("it ends cleanly");
    response
}

/// Returns the response without what differs from request to request, with its lines sorted.
fn shown(stage: &Intercepting, response: &[u8]) -> String {
    let text = String::from_utf8_lossy(response);
    let (head, body) = text.split_once("\r\n\r\n").expect("a response has a head");
    let differs = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        OF_ONE_RESPONSE.contains(&name.to_ascii_lowercase().as_str())
    };
    let mut lines: Vec<_> = head.split("\r\n").filter(|line| !differs(line)).collect();
    lines[1..].sort_unstable();
    let port = format!(":{}", stage.origin.port());
    format!("{}\n\n{body}", lines.join("\n")).replace(&port, ":PORT")
}

/// Returns the log events of the requests, without what differs from request to request.
fn logged(stage: &Intercepting) -> Vec<BTreeMap<String, String>> {
    let is_logged =
        |event: &Value| is_request_of(event, "https://localhost") && event["endpoint"] == "proxy";
    let log = stage.gateway.log();
    let events = log.wait_for_many("the requests", REQUESTS.len(), is_logged);
    let port = format!(":{}", stage.origin.port());
    let shown = |event: &Value| {
        let fields = event.as_object().expect("an event is an object").iter();
        fields
            .filter(|(name, _)| !OF_ONE_EVENT.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.to_string().replace(&port, ":PORT")))
            .collect()
    };
    events.iter().map(shown).collect()
}

/// Returns the counters of requests that are no tunnels, and what they count.
fn counted(stage: &Intercepting) -> Vec<String> {
    let page = stage.gateway.request("GET", "/metrics").send().text();
    let is_counter = |line: &&str| {
        line.starts_with("millpond_requests_total{") && line.contains("endpoint=\"proxy\"")
            || line.starts_with("millpond_response_bytes_total{")
                && !line.contains("source=\"own\"")
    };
    let lines = page.lines().filter(is_counter);
    lines.map(str::to_owned).collect()
}

#[test]
fn intercepted_target_is_like_any_other() {
    let [inside, outside] = [true, false].map(|is_inside| {
        let stage = Intercepting::start();
        serve(&stage);
        (stage, is_inside)
    });
    for request in REQUESTS {
        let [inside, outside] = [&inside, &outside].map(|(stage, is_inside)| {
            let response = ask(stage, *is_inside, request);
            if request == REQUESTS[0] {
                stage.gateway.await_stored(&stage.url(PATH));
            }
            shown(stage, &response)
        });
        assert_eq!(inside, outside, "{request:?}");
    }
    let (inside, outside) = (inside.0, outside.0);
    for (number, (a, b)) in logged(&inside).iter().zip(logged(&outside)).enumerate() {
        assert_eq!(a, &b, "{:?}", REQUESTS[number]);
    }
    assert_eq!(counted(&inside), counted(&outside));
    for event in inside.gateway.log().events() {
        if is_request_of(&event, "localhost") {
            assert_eq!(event["intercepted"], true, "{event}");
        }
    }
    for stage in [&inside, &outside] {
        let asked: Vec<_> = stage.origin.asked();
        assert!(asked.len() > 5, "{asked:?}");
    }
    // Both have one key.
    let hit = ask(&inside, false, REQUESTS[0]);
    assert!(String::from_utf8_lossy(&hit).contains("; hit"));
}
