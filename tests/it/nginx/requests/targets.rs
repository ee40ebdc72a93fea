//! Targets that nginx must forward unchanged.

use super::behind_nginx;
use crate::harness::{Gateway, Nginx, Origin, Reply, Request, is_request_of};

/// Targets that a proxy might decode, merge or encode.
const ODD_TARGETS: [&str; 26] = [
    "/a//b.bin",
    "//a.bin",
    "/a.bin//",
    "/a%2Fb.bin",
    "/a%2fb.bin",
    "/a+b.bin",
    "/a%20b.bin",
    "/a;b=c.bin",
    "/a:b@c.bin",
    "/~u/!$&'()*,=.bin",
    "/%7Eu/%41.bin",
    "/%E4%BD%A0.bin",
    "/100%25.bin",
    "/%2525.bin",
    "/a%3Fb.bin",
    "/a%23b.bin",
    "/a%09b.bin",
    "/_objects/ab/x.bin",
    "/x.bin?",
    "/x.bin?a?b",
    "/x.bin?a=%20+%2F//&b=;c",
    "/x.bin?a='b'",
    "/x.bin?u=https://example.org//y",
    "/x.bin?a=/../b",
    "/https://example.org/x.bin",
    "/x.bin?&&==",
];

/// Returns the targets of the first `count` requests, as the gateway parsed them.
fn uris(gateway: &Gateway, count: usize) -> Vec<String> {
    let events = gateway
        .log()
        .wait_for_many("the requests", count, |event| event["message"] == "request");
    let mut uris: Vec<_> = events
        .iter()
        .map(|event| event["uri"].as_str().unwrap_or_default().to_owned())
        .collect();
    uris.sort();
    uris
}

#[test]
fn nginx_forwards_targets_byte_for_byte() {
    let origin = Origin::start();
    let direct = behind_nginx(&origin).start();
    let behind = behind_nginx(&origin).start();
    let nginx = Nginx::before(&behind);
    let ask_all = |ask: &dyn Fn(&str) -> Request| {
        let statuses = ODD_TARGETS.map(|target| ask(&origin.url(target)).send().status);
        (statuses, origin.asked())
    };
    let (wanted, once) = ask_all(&|url| direct.get(url));
    assert_eq!(
        once.len(),
        ODD_TARGETS.len(),
        "the origin gets each target: {once:?}"
    );
    let (found, twice) = ask_all(&|url| nginx.get(url));
    assert_eq!(found, wanted);
    assert_eq!(
        twice,
        once.iter()
            .flat_map(|target| [target.clone(), target.clone()])
            .collect::<Vec<_>>()
    );
    assert_eq!(
        uris(&direct, ODD_TARGETS.len()),
        uris(&behind, ODD_TARGETS.len())
    );
}

#[test]
fn nginx_does_not_change_target_parsing() {
    let refusing = || {
        Gateway::builder()
            .relay()
            .behind_nginx()
            .set("policy.allow_hosts", "[\"nobody.example\"]")
            .start()
    };
    let (direct, behind) = (refusing(), refusing());
    let nginx = Nginx::before(&behind);
    let table = include_str!("../../../rewrites.tsv");
    let mut taken = 0;
    for line in table.lines().filter(|line| line.starts_with('/')) {
        let (spelling, verdict) = line.split_once('\t').expect("a line has two fields");
        // A request line that is not valid HTTP names no target.
        if spelling.contains(['\\', ' ']) {
            continue;
        }
        let (through, without) = (
            nginx.request("GET", spelling).send(),
            direct.request("GET", spelling).send(),
        );
        assert_eq!(through.status, without.status, "{spelling}");
        if verdict.starts_with('!') {
            continue;
        }
        assert_eq!(
            (without.status, without.text()),
            (through.status, through.text()),
            "{spelling}"
        );
        taken += 1;
    }
    assert!(taken >= 40, "only {taken} spellings were compared");
    nginx.request("GET", LAST_TARGET).send();
    direct.request("GET", LAST_TARGET).send();
    assert_eq!(parsed_uris(&direct), parsed_uris(&behind));
}

/// Target of the last request, after which all others are in the log.
const LAST_TARGET: &str = "/https://example.org/last-1.0.tar.gz";

/// Returns the targets of the requests up to the last one. A request without a target is logged
/// with its path.
fn parsed_uris(gateway: &Gateway) -> Vec<String> {
    let log = gateway.log();
    log.wait_for("the last request", |event| {
        is_request_of(event, &LAST_TARGET[1..])
    });
    let mut events = log.events();
    events.retain(|event| {
        let uri = event["uri"].as_str().unwrap_or("/");
        event["message"] == "request" && !uri.starts_with('/')
    });
    let mut uris: Vec<_> = events
        .iter()
        .map(|event| event["uri"].as_str().unwrap_or_default().to_owned())
        .collect();
    uris.sort();
    uris
}

#[test]
fn nginx_forwards_long_targets() {
    let origin = Origin::start();
    let gateway = behind_nginx(&origin).start();
    let nginx = Nginx::before(&gateway);
    let target = format!("/x.bin?{}", "a".repeat(8000));
    origin.serve(&target, Reply::ok(&b"long\n".to_vec().into()));
    nginx
        .get(&origin.url(&target))
        .send()
        .assert_body(200, b"long\n");
    assert_eq!(origin.count(&target), 1);
    // The gateway rejects a target that is too long.
    nginx
        .get(&origin.url(&format!("/x.bin?{}", "a".repeat(12_000))))
        .send()
        .assert_problem(414);
}
