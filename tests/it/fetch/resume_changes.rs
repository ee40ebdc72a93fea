//! Property: whatever an origin changes between two attempts, no response and no object mixes two
//! versions of a file.

use crate::harness::{
    Answer, Body, DATE, DAY_AFTER, Ended, Gateway, Origin, Reply, Stop, all_at_once, archive,
    assert_same, sha256,
};

const CASES: usize = 40;
const SIZE: usize = 300_000;
const VERSIONS: usize = 3;
const MODIFIED: [&str; VERSIONS] = [
    DATE,
    "Mon, 01 Jan 2024 06:00:00 GMT",
    "Mon, 01 Jan 2024 12:00:00 GMT",
];

/// Pseudo-random numbers that are the same for each seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits fit") % bound
    }
}

/// Returns versions of equal length that differ in a few bytes.
fn versions(random: &mut Random) -> Vec<Body> {
    let mut body = archive(7, SIZE).to_vec();
    let mut versions = Vec::new();
    for _ in 0..VERSIONS {
        versions.push(Body::from(&body[..]));
        for _ in 0..=random.below(2) {
            body[600 + random.below(SIZE - 600)] ^= 1;
        }
    }
    versions
}

/// Returns the response with validators, ranges, framing and a cut that the numbers choose.
fn reply(random: &mut Random, body: &Body, version: usize, validators: usize) -> Reply {
    let mut reply = Reply::ok(body).header("Date", DAY_AFTER);
    let states_date = random.below(3) > 0;
    if matches!(validators, 1 | 2) && states_date {
        reply = reply.header("Last-Modified", MODIFIED[version]);
    }
    reply = match validators {
        0 => reply.header("ETag", &format!("\"{version}\"")),
        2 => reply.header("ETag", &format!("W/\"{version}\"")),
        _ => reply,
    };
    reply = match random.below(4) {
        0 => reply.ranges_ignored(),
        1 => reply.ranges(),
        _ => reply.ranges_without_condition(),
    };
    if random.below(5) == 0 {
        reply = reply.chunked();
    }
    match random.below(6) {
        0 => Reply::status(403),
        1 | 2 => reply,
        _ => reply.cut_at(1000 + random.below(SIZE - 1000)),
    }
}

/// Asserts that the response is one of the versions, or a truncated prefix of one.
#[track_caller]
fn assert_one_version(answer: &Answer, versions: &[Body]) {
    if answer.status != 200 {
        return answer.assert_problem(answer.status);
    }
    let version = versions
        .iter()
        .find(|body| body.starts_with(&answer.body))
        .expect("the response begins like a version");
    if answer.ended == Ended::Whole {
        assert_same(&answer.body, version);
    }
}

#[test]
fn unconfirmed_resumption_is_named_as_cause() {
    let origin = Origin::start();
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.set("fetch.attempts", "2").start();
    let (body, stated) = (archive(1, SIZE), archive(2, SIZE));
    for (number, refusal) in [
        Reply::status(503),
        Reply::status(403),
        Reply::file(&body).stop_before_head(Stop::Cut),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/x-{number}.0.tar.gz");
        let file = Reply::file(&body);
        origin.script(&path, vec![file.clone().cut_at(SIZE / 2), file, refusal]);
        let url = origin.url(&path);
        let request = gateway.get(&url);
        let answer = request.header("X-Expected-Sha256", &sha256(&stated)).send();
        assert!(answer.status >= 400 || answer.ended == Ended::Cut);
        let fetch = gateway.await_fetch(&url);
        assert_eq!(fetch["outcome"], "failed", "{path}");
        assert_eq!(
            fetch["cause"],
            "the body was resumed and lacks the digest that a client states, and no second \
             response confirmed it",
            "{path}"
        );
    }
    gateway.assert_nothing_stored();
}

#[test]
fn changes_between_attempts_never_mix() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .set("fetch.attempts", "6")
        .set("fetch.breaker_failures", "0")
        .set("fetch.per_host", "64")
        .text("fetch.backoff", "1ms")
        .start();
    let mut all = Vec::new();
    for case in 0..CASES {
        let mut random = Random(0x5eed_0000_0000_0001 + (case as u64) * 0x9e37_79b9);
        let versions = versions(&mut random);
        let validators = random.below(4);
        let mut version = 0;
        let mut replies = Vec::new();
        for _ in 0..8 {
            replies.push(reply(&mut random, &versions[version], version, validators));
            version = (version + random.below(2)).min(VERSIONS - 1);
        }
        origin.script(&format!("/x-{case}.0.tar.gz"), replies);
        all.push(versions);
    }
    all_at_once(CASES, |case| {
        let url = origin.url(&format!("/x-{case}.0.tar.gz"));
        assert_one_version(&gateway.get(&url).send(), &all[case]);
        gateway.await_fetch(&url);
    });
    for object in gateway.objects() {
        let is_version = all
            .iter()
            .flatten()
            .any(|body| gateway.object_path(body) == object);
        assert!(is_version, "an object equals none of the versions");
    }
}
