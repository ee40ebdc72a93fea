//! Parent caches: they are asked for stored targets only and are never made to fetch.

use crate::harness::{
    Builder, Ended, Gate, Gateway, NAME, Origin, Reply, archive, assert_same, eventually, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Returns a gateway with a parent, which is simulated by an origin.
fn child(origin: &Origin, parent: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder.parent(&format!("url = {:?}\ntrusted = true", parent.url("/")))
}

/// Returns the request target that a parent gets for the target.
fn asked_for(origin: &Origin) -> String {
    format!("/{}", origin.url(PATH))
}

/// Returns the response of a parent that has the bytes.
fn held(body: &crate::harness::Body) -> Reply {
    Reply::ok(body).header("ETag", &format!("\"{}\"", sha256(body)))
}

#[test]
fn parent_serves_target_missing_at_origin() {
    let origin = Origin::start();
    let body = archive(1, 200_000);
    origin.serve(PATH, Reply::file(&body));
    let parent = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("gateway.name", "parent")
        .start();
    parent.assert_serves(&origin.url(PATH), &body);
    parent.await_stored(&origin.url(PATH));
    origin.serve(PATH, Reply::status(410));
    let address = parent.addr();
    // The parent's port is not in `policy.ports`, so clients cannot fetch from it.
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let gateway = builder
        .parent(&format!("url = \"http://{address}\"\ntrusted = true"))
        .start();
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["fwd=uri-miss", "stored"]);
    gateway.await_stored(&origin.url(PATH));
    let record = std::fs::read_to_string(&gateway.records_of(&origin.url(PATH))[0])
        .expect("the record can be read");
    assert!(
        record.contains(&format!("\"source\": \"http://{address}\"")),
        "{record}"
    );
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
    gateway
        .get(&parent.url("/https://example.org/x-7.0.tar.gz"))
        .send()
        .assert_problem(403);
}

#[test]
fn parents_are_asked_last_with_only_if_cached() {
    let (origin, mirror, parent) = (
        Origin::start(),
        Origin::start_at("127.0.0.2"),
        Origin::start_at("127.0.0.3"),
    );
    let body = archive(2, 5000);
    parent.serve(&asked_for(&origin), held(&body));
    let rule = format!(
        "host = \"127.0.0.1\"\nmirrors = [{:?}]",
        mirror.url("/{path}")
    );
    let gateway = child(&origin, &parent).origin(&mirror).rule(&rule).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    assert_eq!((origin.total(), mirror.total(), parent.total()), (1, 1, 1));
    let asked = parent.request(&asked_for(&origin));
    assert_eq!(asked.header("cache-control"), Some("only-if-cached"));
    assert!(
        asked.header("via").is_some_and(|via| via.contains(NAME)),
        "Via lets the parent detect a loop"
    );
    assert_eq!(asked.header("x-expected-sha256"), None);
}

/// Returns a gateway with two parents: one for its own network, and one for another.
fn child_of_two(origin: &Origin, near: &Origin, far: &Origin) -> Gateway {
    let parent = |parent: &Origin, network: &str| {
        let url = parent.url("/");
        format!("url = {url:?}\ntrusted = true\nnear = [{network:?}]")
    };
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    builder
        .parent(&parent(far, "198.51.100.77/32"))
        .parent(&parent(near, "127.0.0.0/8"))
        .start()
}

#[test]
fn near_parent_is_asked_before_origin() {
    let (origin, near, far) = (
        Origin::start(),
        Origin::start_at("127.0.0.2"),
        Origin::start_at("127.0.0.3"),
    );
    let body = archive(7, 5000);
    origin.serve(PATH, Reply::file(&body));
    near.serve(&asked_for(&origin), held(&body));
    far.serve(&asked_for(&origin), held(&body));
    let gateway = child_of_two(&origin, &near, &far);
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    assert_eq!((near.total(), origin.total(), far.total()), (1, 0, 0));
    let asked = near.request(&asked_for(&origin));
    assert_eq!(asked.header("cache-control"), Some("only-if-cached"));
}

#[test]
fn origin_follows_near_parent_without_target() {
    for reply in [Some(Reply::status(504)), None] {
        let (origin, near, far) = (
            Origin::start(),
            Origin::start_at("127.0.0.2"),
            Origin::start_at("127.0.0.3"),
        );
        let body = archive(8, 5000);
        origin.serve(PATH, Reply::file(&body));
        let gateway = child_of_two(&origin, &near, &far);
        let is_away = reply.is_none();
        match reply {
            Some(reply) => near.serve(&asked_for(&origin), reply),
            None => near.shut_down(),
        }
        gateway.assert_serves(&origin.url(PATH), &body);
        let record = gateway.await_stored(&origin.url(PATH));
        assert_eq!(record["source"], origin.url(""), "{record}");
        assert_eq!((origin.total(), far.total()), (1, 0));
        assert_eq!(near.total(), usize::from(!is_away));
        // The error is that of the origin.
        let missing = origin.url("/pub/missing-1.0.tar.gz");
        gateway.get(&missing).send().assert_problem(404);
    }
}

#[test]
fn parent_miss_returns_error_of_origin() {
    let (origin, parent) = (Origin::start(), Origin::start_at("127.0.0.2"));
    parent.serve(&asked_for(&origin), Reply::status(504));
    origin.serve(PATH, Reply::status(404));
    let builder = child(&origin, &parent)
        .set("fetch.attempts", "3")
        .set("fetch.breaker_failures", "1");
    let gateway = builder.start();
    gateway.get(&origin.url(PATH)).send().assert_problem(404);
    assert_eq!((origin.total(), parent.total()), (1, 1));
    // A miss is a valid response: the parent's circuit breaker stays closed.
    let other = "/pub/other-1.0.tar.gz";
    parent.serve(&format!("/{}", origin.url(other)), held(&archive(3, 5000)));
    gateway.assert_serves(&origin.url(other), &archive(3, 5000));
}

#[test]
fn parent_receives_expected_sha256() {
    let (origin, parent) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(4, 50_000);
    parent.serve(&asked_for(&origin), held(&body));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let checksums = folder.path().join("checksums");
    let line = format!("{}  {}\n", sha256(&body), origin.url(PATH));
    std::fs::write(&checksums, line).expect("the folder can be written");
    let checksums = checksums.to_str().expect("the path is text");
    let gateway = child(&origin, &parent)
        .text("policy.checksums_file", checksums)
        .start();
    let path = format!("/sha256:{}/{}", sha256(&body), origin.url(PATH));
    gateway.request("GET", &path).send().assert_body(200, &body);
    assert_eq!(
        parent
            .request(&asked_for(&origin))
            .header("x-expected-sha256"),
        Some(&*sha256(&body))
    );
}

#[test]
fn body_must_match_digest_of_parent() {
    let other = archive(6, 200_000);
    for (number, reply) in [
        Reply::ok(&other).header("ETag", &format!("\"{}\"", sha256(&archive(5, 1000)))),
        Reply::ok(&other).header(
            "Repr-Digest",
            "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (origin, parent) = (Origin::start(), Origin::start_at("127.0.0.2"));
        // The client gets the head before the end of the body is known to be wrong.
        let gate = Gate::new();
        parent.serve(&asked_for(&origin), reply.gate_at(100_000, &gate));
        let gateway = child(&origin, &parent).start();
        let mut answer = gateway.get(&origin.url(PATH)).open();
        assert_same(&answer.read(50_000), &other[..50_000]);
        gate.open();
        let rest = answer.finish();
        assert_eq!(rest.ended, Ended::Cut, "{number}");
        assert_same(&rest.body, &other[50_000..50_000 + rest.body.len()]);
        gateway.await_fetch(&origin.url(PATH));
        gateway.assert_nothing_stored();
    }
}

#[test]
fn mutual_parents_do_not_loop() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::status(404));
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("log.level", "debug");
    let mut first = builder.start();
    let address = first.addr();
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("gateway.name", "second");
    let second = builder
        .parent(&format!("url = \"http://{address}\"\ntrusted = true"))
        .start();
    let parent = format!("url = \"http://{}\"\ntrusted = true", second.addr());
    first.reload(|builder| builder.parent(&parent));
    eventually("the configuration is reloaded", || {
        first.log().text().contains("reloaded").then_some(())
    });
    for gateway in [&first, &second] {
        gateway.get(&origin.url(PATH)).send().assert_problem(404);
        gateway.await_fetch(&origin.url(PATH));
    }
    assert_eq!(
        origin.total(),
        2,
        "each asks the origin for its own clients only"
    );
    let fetches = |gateway: &Gateway| {
        gateway
            .log()
            .events()
            .iter()
            .filter(|event| event["message"] == "fetch")
            .count()
    };
    assert_eq!((fetches(&first), fetches(&second)), (1, 1));
}

#[test]
fn parent_credentials_go_to_parent_only() {
    let (origin, parent) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let body = archive(7, 5000);
    parent.serve(&asked_for(&origin), held(&body));
    let fields =
        "trusted = true\nheaders = { X-Token = \"T0KEN\" }\nauthorization = \"Bearer S3CRET\"";
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let gateway = builder
        .parent(&format!("url = {:?}\n{fields}", parent.url("")))
        .start();
    gateway.assert_serves(&origin.url(PATH), &body);
    let asked = parent.request(&asked_for(&origin));
    assert_eq!(
        (asked.header("x-token"), asked.header("authorization")),
        (Some("T0KEN"), Some("Bearer S3CRET"))
    );
    let asked = origin.request(PATH);
    assert_eq!(
        (asked.header("x-token"), asked.header("authorization")),
        (None, None)
    );
}

#[test]
fn invalid_parent_is_rejected_with_key() {
    for (parent, part) in [
        ("url = \"\"", "parents.url"),
        ("url = \"ftp://example.org\"", "parents.url"),
        ("url = \"https://example.org/?x\"", "parents.url"),
        (
            "url = \"https://example.org\"\nheaders = { Range = \"S3CRET\" }",
            "parents.headers: range",
        ),
        (
            "url = \"https://example.org\"\nauthorization = \"S3CRET\\n\"",
            "parents.headers: authorization",
        ),
        (
            "url = \"https://example.org\"\nauthorization_file = \"/nowhere\"",
            "parents.authorization_file",
        ),
        ("url = \"https://example.org\"\ntoken = \"S3CRET\"", "token"),
        ("url = \"https://example.org\"\nnear = [\"x\"]", "near"),
        (
            "url = \"https://example.org\"\nnear = \"10.0.0.0/8\"",
            "near",
        ),
    ] {
        let run = Gateway::builder().parent(parent).run_to_end();
        assert_eq!(run.code, Some(2), "{parent}");
        assert!(
            run.stderr.contains(part) && !run.stderr.contains("S3CRET"),
            "{parent}: {}",
            run.stderr
        );
    }
}
