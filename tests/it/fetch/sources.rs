//! Alternate sources of a target: mirrors and archives, their order, and wrong content.

mod rules;

use std::fs;

use serde_json::Value;

use crate::harness::{
    Body, Builder, Ended, Gate, Gateway, Origin, Reply, Stop, archive, assert_same, eventually,
    sha256,
};
use crate::notify::incidents::incidents;

const PATH: &str = "/pub/x/x-1.0.tar.gz";
const ELSEWHERE: &str = "/mirror/x/x-1.0.tar.gz";

/// An origin, a mirror and an archive without content.
struct World {
    origin: Origin,
    mirror: Origin,
    archive: Origin,
}

impl World {
    fn new() -> Self {
        Self {
            origin: Origin::start(),
            mirror: Origin::start_at("127.0.0.2"),
            archive: Origin::start_at("127.0.0.3"),
        }
    }

    /// Returns a gateway that knows all three sources and asks each once.
    fn gateway(&self) -> Builder {
        let builder = Gateway::builder()
            .origin(&self.origin)
            .origin(&self.mirror)
            .origin(&self.archive)
            .one_attempt();
        builder.rule(&format!(
            "host = \"127.0.0.1\"\npath_prefix = \"/pub/\"\nmirrors = [{:?}]\narchives = [{:?}]",
            self.mirror.url("/mirror/{path}"),
            self.archive.url("/mirror/{path}")
        ))
    }

    /// Returns the same gateway with a required SHA-256 for the target.
    fn stating(&self, sha256: &str) -> Builder {
        let builder = self.gateway();
        let pins = builder.folder().join("pins");
        fs::write(&pins, format!("{sha256}  {}\n", self.url())).expect("the folder can be written");
        builder.text(
            "policy.checksums_file",
            pins.to_str().expect("the path is text"),
        )
    }

    fn url(&self) -> String {
        self.origin.url(PATH)
    }

    /// Returns the number of requests at each source.
    fn asked(&self) -> [usize; 3] {
        [
            self.origin.total(),
            self.mirror.total(),
            self.archive.total(),
        ]
    }
}

fn source_of(gateway: &Gateway, url: &str) -> Value {
    let record = fs::read(&gateway.records_of(url)[0]).expect("the record can be read");
    let record: Value = serde_json::from_slice(&record).expect("a record is JSON");
    record["source"].clone()
}

#[test]
fn mirror_replaces_failed_origin() {
    let body = archive(1, 200_000);
    let coded: Body = b"\x1b\x8f\x00\xf8\x8d\xd4\x00".repeat(200).into();
    for reply in [
        Reply::status(404),
        Reply::status(410),
        Reply::status(403),
        Reply::status(503),
        Reply::html(),
        Reply::status(200).stop_before_head(Stop::Cut),
        Reply::file(&coded).header("Content-Encoding", "br"),
        Reply::redirect(302, "http://127.0.0.1/behind/no/port/that/is/allowed"),
    ] {
        let world = World::new();
        world.origin.serve(PATH, reply);
        world.mirror.serve(ELSEWHERE, Reply::file(&body));
        let gateway = world.gateway().start();
        gateway
            .assert_serves(&world.url(), &body)
            .assert_cache(&["fwd=uri-miss", "stored"]);
        gateway.await_stored(&world.url());
        assert_eq!(world.asked(), [1, 1, 0]);
        assert_eq!(
            source_of(&gateway, &world.url()),
            world.mirror.url(""),
            "the record names the source"
        );
        gateway
            .assert_serves(&world.url(), &body)
            .assert_cache(&["hit"]);
    }
}

#[test]
fn origin_is_asked_first_and_archive_last() {
    let world = World::new();
    let body = archive(2, 5000);
    let gateway = world.gateway().start();
    for (name, has, asked) in [
        ("a", [true, true, true], [1, 0, 0]),
        ("b", [false, true, true], [2, 1, 0]),
        ("c", [false, false, true], [3, 2, 1]),
    ] {
        let paths = [
            format!("/pub/{name}-1.0.gz"),
            format!("/mirror/{name}-1.0.gz"),
            format!("/mirror/{name}-1.0.gz"),
        ];
        let sources = [&world.origin, &world.mirror, &world.archive];
        for ((source, path), _) in sources.iter().zip(&paths).zip(has).filter(|(_, has)| *has) {
            source.serve(path, Reply::file(&body));
        }
        gateway.assert_serves(&world.origin.url(&paths[0]), &body);
        assert_eq!(world.asked(), asked, "{name}");
    }
}

#[test]
fn origin_error_is_reported_if_all_fail() {
    for (origin, mirror, status) in [(404, 503, 404), (410, 404, 410), (503, 404, 502)] {
        let world = World::new();
        world.origin.serve(PATH, Reply::status(origin));
        world.mirror.serve(ELSEWHERE, Reply::status(mirror));
        let gateway = world.gateway().start();
        gateway.get(&world.url()).send().assert_problem(status);
        assert_eq!(world.asked(), [1, 1, 1]);
        gateway.assert_nothing_stored();
    }
}

#[test]
fn wrong_checksum_of_source_selects_next() {
    for size in [400, 300_000] {
        let world = World::new();
        let (right, wrong) = (archive(3, size), archive(4, size));
        world.origin.serve(PATH, Reply::file(&wrong));
        world.mirror.serve(ELSEWHERE, Reply::file(&wrong).chunked());
        world.archive.serve(ELSEWHERE, Reply::file(&right));
        let gateway = world.stating(&sha256(&right)).start();
        gateway.get(&world.url()).send().assert_body(200, &right);
        gateway.await_stored(&world.url());
        assert_eq!(world.asked(), [1, 1, 1]);
        assert_eq!(gateway.objects(), [gateway.object_path(&right)]);
    }
}

#[test]
fn client_digest_does_not_select_source() {
    let world = World::new();
    let (of_origin, of_mirror) = (archive(6, 5000), archive(7, 5000));
    world.origin.serve(PATH, Reply::file(&of_origin));
    world.mirror.serve(ELSEWHERE, Reply::file(&of_mirror));
    let gateway = world.gateway().start();
    let path = format!("/sha256:{}/{}", sha256(&of_mirror), world.url());
    gateway.request("GET", &path).send().assert_problem(409);
    gateway
        .get(&world.url())
        .send()
        .assert_body(200, &of_origin);
}

#[test]
fn wrong_checksum_of_all_sources_gives_409() {
    let world = World::new();
    let wrong = archive(5, 300_000);
    world.origin.serve(PATH, Reply::file(&wrong));
    for source in [&world.mirror, &world.archive] {
        source.serve(ELSEWHERE, Reply::file(&wrong));
    }
    let gateway = world.stating(&sha256(b"other")).start();
    gateway.get(&world.url()).send().assert_problem(409);
    assert_eq!(world.asked(), [1, 1, 1]);
    gateway.assert_nothing_stored();
}

#[test]
fn mirror_completes_body_with_same_bytes() {
    let world = World::new();
    let body = archive(6, 300_000);
    world.origin.script(
        PATH,
        vec![Reply::file(&body).cut_at(200_000), Reply::status(404)],
    );
    world.mirror.serve(ELSEWHERE, Reply::file(&body));
    let gateway = world.gateway().set("fetch.attempts", "2").start();
    gateway.assert_serves(&world.url(), &body);
    gateway.await_stored(&world.url());
    assert_eq!(world.asked(), [2, 1, 0]);
    assert!(
        world.origin.requests(PATH)[1].header("range").is_some(),
        "the origin gets a range request"
    );
    let asked = world.mirror.request(ELSEWHERE);
    assert_eq!(
        (asked.header("range"), asked.header("if-range")),
        (None, None),
        "the origin's validator is not sent to the mirror"
    );
    assert_eq!(source_of(&gateway, &world.url()), world.mirror.url(""));
}

#[test]
fn mirror_with_other_bytes_does_not_complete_body() {
    let world = World::new();
    let (body, other) = (archive(7, 300_000), archive(8, 300_000));
    world.origin.serve(PATH, Reply::file(&body).cut_at(200_000));
    world.mirror.serve(ELSEWHERE, Reply::file(&other));
    world
        .archive
        .serve(ELSEWHERE, Reply::file(&archive(7, 299_999)));
    let gateway = world.gateway().start();
    let answer = gateway.get(&world.url()).send();
    // A client that has no response head when the fetch fails gets an error response.
    if answer.status == 200 {
        assert_eq!(answer.ended, Ended::Cut);
        assert_same(&answer.body, &body[..answer.body.len()]);
    } else {
        answer.assert_problem(504);
    }
    gateway.await_fetch(&world.url());
    assert_eq!(world.asked(), [1, 1, 1]);
    gateway.assert_nothing_stored();
}

#[test]
fn takeover_does_not_reuse_etag_of_mirror() {
    let world = World::new();
    let (body, gate) = (archive(17, 300_000), Gate::new());
    world.origin.serve(PATH, Reply::status(404));
    world.mirror.script(
        ELSEWHERE,
        vec![
            Reply::file(&body).gate_at(100_000, &gate),
            Reply::file(&body),
        ],
    );
    let mut first = world.gateway().start();
    let second = first.sibling().start();
    let lost = first.get(&world.url()).start();
    gate.await_reached(1);
    let mut follower = second.get(&world.url()).open();
    assert_same(&follower.read(100_000), &body[..100_000]);
    first.kill9();
    drop(lost);
    follower.finish().assert_body(200, &body[100_000..]);
    second.await_stored(&world.url());
    let asked = [
        world.origin.requests(PATH),
        world.mirror.requests(ELSEWHERE),
    ];
    for asked in asked.iter().flatten() {
        assert_eq!(
            (asked.header("range"), asked.header("if-range")),
            (None, None),
            "an ETag is valid at its own server only"
        );
    }
    assert_eq!(world.asked(), [2, 2, 0]);
    first.restart();
}

#[test]
fn busy_origin_is_retried_after_other_sources() {
    let world = World::new();
    let body = archive(9, 5000);
    world
        .origin
        .script(PATH, vec![Reply::status(503), Reply::file(&body)]);
    let gateway = world.gateway().set("fetch.attempts", "3").start();
    gateway.assert_serves(&world.url(), &body);
    assert_eq!(
        world.asked(),
        [2, 1, 1],
        "a source without the target is asked once"
    );
}

#[test]
fn open_circuit_does_not_delay_fetch() {
    let world = World::new();
    let body = archive(10, 5000);
    world.mirror.serve(ELSEWHERE, Reply::file(&body));
    let gateway = world.gateway().start();
    // Silence on three paths opens the circuit of the origin.
    for number in 0..3 {
        let path = format!("/elsewhere-{number}.0.tar.gz");
        let silence = Reply::status(200).stop_before_head(Stop::Cut);
        world.origin.serve(&path, silence);
        let request = gateway.get(&world.origin.url(&path));
        request
            .header("User-Agent", "curl/8")
            .send()
            .assert_problem(504);
    }
    gateway.assert_serves(&world.url(), &body);
    assert_eq!(world.asked(), [3, 1, 0]);
}

#[test]
fn alternate_sources_disable_redirect() {
    let world = World::new();
    let body = archive(11, 5000);
    world.origin.serve(PATH, Reply::file(&body));
    let gateway = world.gateway().text("gateway.miss", "redirect").start();
    gateway
        .get(&world.url())
        .wget_agent()
        .send()
        .assert_body(200, &body);
    gateway
        .get(&world.origin.url("/other/x-1.0.tar.gz"))
        .wget_agent()
        .send()
        .assert_status(302);
}

#[test]
fn wrong_source_is_incident_and_missing_is_none() {
    let world = World::new();
    let body = archive(12, 5000);
    world.origin.serve(PATH, Reply::status(404));
    world.mirror.serve(ELSEWHERE, Reply::html());
    world.archive.serve(ELSEWHERE, Reply::file(&body));
    let gateway = world.gateway().start();
    gateway.assert_serves(&world.url(), &body);
    let listed = eventually("the incident is listed", || {
        Some(incidents(&gateway)).filter(|listed| !listed.is_empty())
    });
    let listed: Vec<_> = listed
        .iter()
        .map(|incident| (&incident["cause"], &incident["host"]))
        .collect();
    assert_eq!(
        listed,
        [(&Value::from("wrong_file_type"), &Value::from("127.0.0.2"))]
    );
}

#[test]
fn denied_source_is_not_asked() {
    let world = World::new();
    let body = archive(13, 5000);
    world.mirror.serve(ELSEWHERE, Reply::file(&body));
    world.archive.serve(ELSEWHERE, Reply::file(&body));
    let gateway = world
        .gateway()
        .set("policy.deny_hosts", "[\"127.0.0.2\"]")
        .start();
    gateway.assert_serves(&world.url(), &body);
    assert_eq!(world.asked(), [1, 0, 1]);
}
