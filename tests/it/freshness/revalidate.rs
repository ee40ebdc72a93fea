//! Class `revalidate`: stored responses are reused as RFC 9111 allows, and served stale while the
//! origin is away.

use crate::harness::{Body, Gate, Gateway, Kept, Origin, Reply, Stop, archive, assert_same};

const INDEX: &str = "/dists/stable/Release";

fn text(content: &str) -> Body {
    content.as_bytes().to_vec().into()
}

/// Returns a response as a mirror sends it: with validators, and without a lifetime.
fn index(content: &str) -> Reply {
    Reply::file(&text(content)).conditional()
}

/// Returns a response that is fresh for a minute.
fn fresh(content: &str) -> Reply {
    index(content).header("Cache-Control", "max-age=60")
}

#[test]
fn index_is_validated_each_time() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url(INDEX);
    let send = |port| match port {
        "gateway" => gateway.get(&url).send(),
        _ => gateway.proxied("GET", &url).send(),
    };
    origin.serve(INDEX, index("first"));
    for port in ["gateway", "proxy"] {
        send(port).assert_body(200, b"first");
    }
    assert_eq!(origin.count(INDEX), 2);
    for port in ["gateway", "proxy"] {
        let answer = send(port);
        answer.assert_body(200, b"first");
        answer.assert_cache(&["fwd=stale", "fwd-status=304"]);
        let age: u64 = answer.wants("age").parse().expect("Age is a number");
        assert!(
            age < 30,
            "the age of a validated response begins anew: {age}"
        );
    }
    let asked = origin.requests(INDEX);
    assert!(asked[3].header("if-none-match").is_some());
    assert!(asked[3].header("if-modified-since").is_some());
    origin.serve(INDEX, index("second"));
    for port in ["gateway", "proxy"] {
        send(port).assert_body(200, b"second");
    }
    origin.stop();
    for port in ["gateway", "proxy"] {
        let answer = send(port);
        answer.assert_body(200, b"second");
        answer.assert_cache(&["hit", "detail=stale", "class=revalidate"]);
    }
}

#[test]
fn request_after_an_answer_is_validated_again() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    // Each request arrives as soon as possible after the answer to the one before.
    let mut connection = Kept::connect(gateway.addr()).expect("the gateway listens");
    for number in 0..30 {
        let path = format!("{INDEX}/{number}");
        origin.serve(&path, index("same"));
        for times in 1..6 {
            let answer = connection.ask(&format!("/{}", origin.url(&path)));
            assert_eq!(answer.expect("the gateway answers"), (200, true));
            assert_eq!(origin.count(&path), times);
        }
    }
}

#[test]
fn fresh_response_is_served_without_the_origin() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url(INDEX);
    origin.serve(
        INDEX,
        fresh("first").header("X-Extra", "1").header("Age", "7"),
    );
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    origin.serve(INDEX, fresh("second"));
    let answer = gateway.proxied("GET", &url).send();
    answer.assert_body(200, b"first");
    answer.assert_cache(&["hit"]);
    assert_eq!(
        answer.wants("x-extra"),
        "1",
        "all end-to-end fields are kept"
    );
    let age: u64 = answer.wants("age").parse().expect("Age is a number");
    assert!((7..30).contains(&age), "{age}");
    let head = gateway.proxied("HEAD", &url).send();
    head.assert_cache(&["hit"]);
    assert_eq!(head.wants("content-length"), "5");
    let part = gateway.proxied("GET", &url).range("bytes=1-2").send();
    part.assert_body(206, b"ir");
    assert_eq!(part.wants("content-range"), "bytes 1-2/5");
    let etag = answer.wants("etag").to_owned();
    let not_modified = gateway
        .proxied("GET", &url)
        .header("If-None-Match", &etag)
        .send();
    not_modified.assert_status(304);
    assert_eq!(origin.count(INDEX), 1);
    // A client that wants a validated response gets one.
    let forced = gateway
        .proxied("GET", &url)
        .header("Cache-Control", "max-age=0")
        .send();
    forced.assert_body(200, b"second");
    assert_eq!(origin.count(INDEX), 2);
}

#[test]
fn unshareable_responses_pass_unstored_to_each_client() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for (number, (name, value)) in [
        ("Cache-Control", "no-store"),
        ("Cache-Control", "private, max-age=60"),
        ("Set-Cookie", "a=b"),
        ("Vary", "*"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}/page");
        origin.serve(&path, index("page").header(name, value));
        for _ in 0..2 {
            let answer = gateway.proxied("GET", &origin.url(&path)).send();
            answer.assert_body(200, b"page");
            answer.assert_cache(&["fwd=bypass"]);
        }
        assert_eq!(origin.count(&path), 2, "{name}: {value}");
    }
    let gate = Gate::new();
    origin.serve(
        "/cookie",
        index("page")
            .header("Set-Cookie", "a=b")
            .gate_before_head(&gate),
    );
    let waiting: Vec<_> = (0..5)
        .map(|_| gateway.proxied("GET", &origin.url("/cookie")).start())
        .collect();
    gate.await_reached(1);
    gate.open();
    for waiting in waiting {
        waiting.head().finish().assert_body(200, b"page");
    }
    assert_eq!(
        origin.count("/cookie"),
        5,
        "each client has its own response"
    );
    assert!(gateway.objects().is_empty());
}

#[test]
fn requests_for_a_stale_index_share_one_validation() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url(INDEX);
    origin.serve(INDEX, index("first"));
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    let gate = Gate::new();
    origin.serve(INDEX, fresh("second").gate_before_head(&gate));
    let waiting: Vec<_> = (0..20)
        .map(|_| gateway.proxied("GET", &url).start())
        .collect();
    gate.await_reached(1);
    gate.open();
    for waiting in waiting {
        waiting.head().finish().assert_body(200, b"second");
    }
    assert_eq!(origin.count(INDEX), 2, "one validation for all");
}

#[test]
fn stored_index_answers_for_every_kind_of_absence() {
    let origin = Origin::start();
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.text("fetch.idle_timeout", "1s").start();
    let url = origin.url(INDEX);
    let page = Reply::html();
    for reply in [
        Reply::status(500),
        Reply::status(503),
        Reply::status(429),
        page,
        index("second").stop_before_head(Stop::Cut),
        index("second").stop_before_head(Stop::Stall),
    ] {
        origin.serve(INDEX, index("first").header("Content-Type", "text/plain"));
        gateway
            .proxied("GET", &url)
            .send()
            .assert_body(200, b"first");
        origin.serve(INDEX, reply);
        let answer = gateway.proxied("GET", &url).send();
        answer.assert_body(200, b"first");
        answer.assert_cache(&["hit", "detail=stale"]);
        let answer = gateway.get(&url).send();
        answer.assert_body(200, b"first");
        answer.assert_cache(&["hit", "detail=stale"]);
    }
    origin.serve(INDEX, Reply::status(404));
    gateway.proxied("GET", &url).send().assert_status(404);
    gateway.get(&url).send().assert_status(404);
}

#[test]
fn origin_can_forbid_stale_responses() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for (number, directives) in ["must-revalidate, max-age=0", "no-cache", "s-maxage=0"]
        .into_iter()
        .enumerate()
    {
        let path = format!("/{number}/Release");
        origin.serve(&path, index("first").header("Cache-Control", directives));
        let url = origin.url(&path);
        gateway
            .proxied("GET", &url)
            .send()
            .assert_body(200, b"first");
        origin.serve(&path, Reply::status(503));
        gateway.proxied("GET", &url).send().assert_status(503);
        gateway.get(&url).send().assert_status(502);
    }
}

#[test]
fn variants_are_selected_by_vary() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let url = origin.url("/simple/x/");
    let get = |accept: &str| gateway.proxied("GET", &url).header("Accept", accept).send();
    origin.serve("/simple/x/", fresh("html").header("Vary", "Accept"));
    get("text/html").assert_body(200, b"html");
    origin.serve("/simple/x/", fresh("json").header("Vary", "Accept"));
    get("application/json").assert_body(200, b"json");
    for _ in 0..2 {
        get("text/html").assert_body(200, b"html");
        get("application/json").assert_body(200, b"json");
    }
    assert_eq!(origin.count("/simple/x/"), 2);
}

#[test]
fn unsafe_method_removes_what_is_stored() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let (page, other) = (origin.url("/a/page"), origin.url("/a/other"));
    origin.serve("/a/page", fresh("first"));
    origin.serve("/a/other", fresh("first"));
    for url in [&page, &other] {
        gateway
            .proxied("GET", url)
            .send()
            .assert_body(200, b"first");
    }
    origin.serve("/a/page", fresh("second").header("Location", "other"));
    origin.serve("/a/other", fresh("second"));
    gateway
        .proxied("POST", &page)
        .body(b"x")
        .send()
        .assert_status(200);
    for url in [&page, &other] {
        gateway
            .proxied("GET", url)
            .send()
            .assert_body(200, b"second");
    }
}

#[test]
fn stored_index_survives_a_restart() {
    let origin = Origin::start();
    let mut gateway = Gateway::relaying(&origin);
    let url = origin.url(INDEX);
    origin.serve(INDEX, index("first"));
    gateway
        .proxied("GET", &url)
        .send()
        .assert_body(200, b"first");
    gateway.restart();
    origin.stop();
    let answer = gateway.proxied("GET", &url).send();
    answer.assert_body(200, b"first");
    answer.assert_cache(&["detail=stale"]);
}

#[test]
fn immutable_target_that_becomes_revalidate_keeps_its_bytes() {
    let origin = Origin::start();
    let mut gateway = Gateway::relaying(&origin);
    let path = "/x-1.0.tar.gz";
    let (url, body) = (origin.url(path), archive(1, 50_000));
    origin.serve(path, Reply::file(&body).conditional());
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.restart_with(|builder| builder.rule("path_prefix = \"/\"\nclass = \"revalidate\""));
    let answer = gateway.get(&url).send();
    answer.assert_body(200, &body);
    answer.assert_cache(&["fwd=stale", "fwd-status=304"]);
    let asked = origin.requests(path);
    assert!(
        asked[1].header("if-none-match").is_some(),
        "the bytes were not sent again"
    );
    assert_same(&gateway.get(&url).send().body, &body);
}
