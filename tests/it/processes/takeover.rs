//! Tests of peer process takeover. If the process that fetches dies, stops or fails, one of its
//! followers continues the fetch.

use std::fs;

use crate::harness::{
    Builder, Gate, Gateway, Origin, Reply, Streaming, archive, assert_same, eventually,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn with(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

/// Kills the process that fetches, once a client of the other process has read `beginning`. Returns
/// that client.
#[track_caller]
fn kill_in_the_middle(
    first: &mut Gateway,
    second: &Gateway,
    url: &str,
    gate: &Gate,
    beginning: &[u8],
) -> Streaming {
    let lost = first.get(url).start();
    gate.await_reached(1);
    let mut follower = second.get(url).open();
    assert_same(&follower.read(beginning.len()), beginning);
    first.kill9();
    drop(lost);
    follower
}

#[test]
fn peer_resumes_fetch_of_killed_process() {
    let body = archive(4, 300_000);
    for file in [Reply::file(&body), Reply::file(&body).chunked()] {
        let origin = Origin::start();
        let gate = Gate::new();
        origin.script(PATH, vec![file.clone().gate_at(100_000, &gate), file]);
        let mut first = with(&origin).start();
        let second = first.sibling().start();
        let url = origin.url(PATH);
        let follower = kill_in_the_middle(&mut first, &second, &url, &gate, &body[..100_000]);
        follower.finish().assert_body(200, &body[100_000..]);
        second.await_stored(&url);
        let requests = origin.requests(PATH);
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[1].header("range"), Some("bytes=100000-"));
        assert!(
            requests[1]
                .header("if-range")
                .is_some_and(|etag| etag.starts_with('"'))
        );
        assert_same(
            &fs::read(second.object_path(&body)).expect("the object can be read"),
            &body,
        );
        // The restart sweeps the staging folder of the dead process.
        first.restart();
    }
}

#[test]
fn origin_sends_the_rest_before_a_near_parent() {
    let (origin, parent) = (Origin::start(), Origin::start_at("127.0.0.2"));
    let (body, gate) = (archive(22, 300_000), Gate::new());
    let file = Reply::file(&body);
    origin.script(PATH, vec![file.clone().gate_at(100_000, &gate), file]);
    let url = origin.url(PATH);
    parent.serve(&format!("/{url}"), Reply::status(504));
    let near = format!(
        "url = {:?}\ntrusted = true\nnear = [\"127.0.0.0/8\"]",
        parent.url("/")
    );
    let mut first = with(&origin).parent(&near).start();
    let second = first.sibling().start();
    let follower = kill_in_the_middle(&mut first, &second, &url, &gate, &body[..100_000]);
    follower.finish().assert_body(200, &body[100_000..]);
    second.await_stored(&url);
    let requests = origin.requests(PATH);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].header("range"), Some("bytes=100000-"));
    assert_eq!(
        parent.total(),
        1,
        "the parent was asked by the first process"
    );
    first.restart();
}

#[test]
fn unresumable_fetch_is_restarted_and_compared() {
    let origin = Origin::start();
    let (body, other) = (archive(5, 300_000), archive(6, 300_000));
    for (path, again) in [("/same-1.0.tar.gz", &body), ("/other-1.0.tar.gz", &other)] {
        let gate = Gate::new();
        origin.script(
            path,
            vec![Reply::ok(&body).gate_at(100_000, &gate), Reply::ok(again)],
        );
        let mut first = with(&origin).start();
        let second = first.sibling().start();
        let url = origin.url(path);
        let follower = kill_in_the_middle(&mut first, &second, &url, &gate, &body[..100_000]);
        let rest = follower.finish();
        if again == &body {
            rest.assert_body(200, &body[100_000..]);
            second.await_stored(&url);
        } else {
            rest.assert_broken();
            assert_eq!(second.await_fetch(&url)["outcome"], "failed");
            assert!(second.records_of(&url).is_empty(), "nothing is stored");
        }
        assert_eq!(origin.count(path), 2);
        first.restart();
    }
}

#[test]
fn process_killed_before_head_costs_one_more_request() {
    let origin = Origin::start();
    let body = archive(7, 100_000);
    let gate = Gate::new();
    origin.script(
        PATH,
        vec![
            Reply::file(&body).gate_before_head(&gate),
            Reply::file(&body),
        ],
    );
    let mut first = with(&origin).start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    let lost = first.get(&url).start();
    gate.await_reached(1);
    let follower = second.get(&url).start();
    second.await_at_lease(&url);
    first.kill9();
    drop(lost);
    follower.head().finish().assert_body(200, &body);
    second.await_stored(&url);
    assert_eq!(origin.count(PATH), 2);
    first.restart();
}

#[test]
fn one_peer_takes_over_for_all_followers() {
    let origin = Origin::start();
    let body = archive(8, 300_000);
    let (early, late) = (Gate::new(), Gate::new());
    let file = Reply::file(&body);
    // The second gate counts from 100 000, where the resumed transfer begins.
    origin.script(
        PATH,
        vec![
            file.clone().gate_at(100_000, &early),
            file.gate_at(50_000, &late),
        ],
    );
    let mut first = with(&origin).start();
    let (second, third) = (first.sibling().start(), first.sibling().start());
    let url = origin.url(PATH);
    let lost = first.get(&url).start();
    early.await_reached(1);
    let mut followers = [&second, &third].map(|gateway| gateway.get(&url).open());
    for follower in &mut followers {
        assert_same(&follower.read(100_000), &body[..100_000]);
    }
    first.kill9();
    drop(lost);
    for follower in &mut followers {
        assert_same(&follower.read(50_000), &body[100_000..150_000]);
    }
    late.open();
    for follower in followers {
        follower.finish().assert_body(200, &body[150_000..]);
    }
    Gateway::assert_one_fetched(&[&second, &third], &url);
    assert_eq!(
        origin.count(PATH),
        2,
        "one request by the killed process, one after the takeover"
    );
    first.restart();
}

#[test]
fn peer_tries_once_after_failed_fetch() {
    let origin = Origin::start();
    let body = archive(21, 100_000);
    let gate = Gate::new();
    let cut = Reply::file(&body).gate_at(0, &gate).cut_at(0);
    origin.serve(PATH, cut);
    let first = with(&origin).set("fetch.attempts", "3").start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    let early = first.get(&url).start();
    gate.await_reached(1);
    let follower = second.get(&url).start();
    second.await_at_lease(&url);
    gate.open();
    early.head().finish().assert_problem(504);
    follower.head().finish().assert_problem(504);
    assert_eq!(first.await_fetch(&url)["attempts"], 3);
    assert_eq!(second.await_fetch(&url)["attempts"], 1);
    assert_eq!(origin.count(PATH), 4);
}

#[test]
fn peer_resumes_transfer_cut_by_the_origin() {
    let origin = Origin::start();
    let body = archive(9, 300_000);
    let gate = Gate::new();
    let cut = Reply::file(&body).gate_at(100_000, &gate).cut_at(100_000);
    origin.script(PATH, vec![cut, Reply::file(&body)]);
    let first = with(&origin).start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    let early = first.get(&url).open();
    gate.await_reached(1);
    let mut follower = second.get(&url).open();
    assert_same(&follower.read(100_000), &body[..100_000]);
    gate.open();
    early.finish().assert_broken();
    follower.finish().assert_body(200, &body[100_000..]);
    second.await_stored(&url);
    assert_eq!(
        origin.requests(PATH)[1].header("range"),
        Some("bytes=100000-")
    );
    assert_eq!(origin.count(PATH), 2);
}

#[test]
fn stopping_process_hands_its_fetch_to_peer() {
    let origin = Origin::start();
    let body = archive(10, 300_000);
    let gate = Gate::new();
    origin.script(
        PATH,
        vec![
            Reply::file(&body).gate_at(100_000, &gate),
            Reply::file(&body),
        ],
    );
    let mut first = with(&origin)
        .text("gateway.shutdown_grace", "100ms")
        .start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    let lost = first.get(&url).open();
    let mut follower = second.get(&url).open();
    assert_same(&follower.read(100_000), &body[..100_000]);
    first.signal("TERM");
    follower.finish().assert_body(200, &body[100_000..]);
    lost.finish().assert_broken();
    first.await_exit();
    second.await_stored(&url);
    assert_eq!(origin.count(PATH), 2);
}

#[test]
fn takeover_resumes_only_with_validator_of_all_bytes() {
    let body = archive(23, 300_000);
    let tagged = |tag: &str| Reply::ok(&body).header("ETag", tag);
    for (offset, validator, range) in [
        (50_000, r#""validator":null"#, None),
        (150_000, r#""validator":"\"two\"""#, Some("bytes=150000-")),
    ] {
        let origin = Origin::start();
        let gate = Gate::new();
        let again = tagged("\"two\"").gate_at(offset, &gate);
        origin.script(
            PATH,
            vec![
                tagged("\"one\"").cut_at(100_000),
                again,
                tagged("\"two\"").ranges(),
            ],
        );
        let mut first = with(&origin).set("fetch.attempts", "2").start();
        let second = first.sibling().start();
        let url = origin.url(PATH);
        let lost = first.get(&url).start();
        gate.await_reached(1);
        let written = offset.max(100_000);
        let mut follower = second.get(&url).open();
        assert_same(&follower.read(written), &body[..written]);
        let has_validator =
            || fs::read_to_string(first.lease_of(&url)).is_ok_and(|text| text.contains(validator));
        eventually("the lease record has the validator", || {
            has_validator().then_some(())
        });
        first.kill9();
        drop(lost);
        follower.finish().assert_body(200, &body[written..]);
        assert_eq!(origin.requests(PATH)[2].header("range"), range);
        first.restart();
    }
}

#[test]
fn takeover_needs_no_extra_space() {
    let origin = Origin::start();
    let body = archive(24, 700_000);
    let gate = Gate::new();
    origin.script(
        PATH,
        vec![
            Reply::file(&body).gate_at(100_000, &gate),
            Reply::file(&body),
        ],
    );
    let mut first = with(&origin).text("cache.max_size", "1MiB").start();
    let second = first.sibling().start();
    let url = origin.url(PATH);
    let follower = kill_in_the_middle(&mut first, &second, &url, &gate, &body[..100_000]);
    follower.finish().assert_body(200, &body[100_000..]);
    second.await_stored(&url);
    eventually("the staging folder of the killed process is swept", || {
        second.staged().is_empty().then_some(())
    });
}

#[test]
fn many_fetches_of_killed_process_are_taken_over() {
    let origin = Origin::start();
    let gate = Gate::new();
    let targets: Vec<_> = (0..16)
        .map(|number| (format!("/x-{number}.tar.gz"), archive(400 + number, 30_000)))
        .collect();
    for (path, body) in &targets {
        origin.script(
            path,
            vec![Reply::file(body).gate_at(15_000, &gate), Reply::file(body)],
        );
    }
    // One client alone gets three quarters, which is 16.
    let mut first = with(&origin).set("fetch.per_host", "22").start();
    let (second, third) = (first.sibling().start(), first.sibling().start());
    let ask = |gateway: &Gateway, path: &str| gateway.get(&origin.url(path)).start();
    let lost: Vec<_> = targets.iter().map(|(path, _)| ask(&first, path)).collect();
    gate.await_reached(16);
    let following: Vec<_> = targets
        .iter()
        .map(|(path, body)| ([ask(&second, path), ask(&third, path)], body))
        .collect();
    for (path, _) in &targets {
        second.await_at_lease(&origin.url(path));
        third.await_at_lease(&origin.url(path));
    }
    first.kill9();
    drop(lost);
    for (followers, body) in following {
        for follower in followers {
            follower.head().finish().assert_body(200, body);
        }
    }
    for (path, _) in &targets {
        Gateway::assert_one_fetched(&[&second, &third], &origin.url(path));
        assert_eq!(
            origin.count(path),
            2,
            "{path}: one request by the killed process, one after the takeover"
        );
    }
    first.restart();
}
