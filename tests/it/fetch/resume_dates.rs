//! Resumes by date: which dates are validators, and how the bytes of one file are recognised.

use crate::harness::{
    Body, Builder, DATE, DAY_AFTER, Gateway, Origin, Reply, all_at_once, archive, assert_same,
};

const SIZE: usize = 400_000;
const CUT: usize = 200_000;
/// 64 KiB before the cut.
const FROM_OVERLAP: &str = "bytes=134464-";

/// Returns a gateway that asks four times, without a pause.
pub fn retrying(origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .set("fetch.attempts", "4")
        .set("fetch.breaker_failures", "0")
        .text("fetch.backoff", "1ms")
}

/// Returns a response that was sent a day after its file was changed.
fn dated(body: &Body) -> Reply {
    Reply::ok(body)
        .header("Date", DAY_AFTER)
        .header("Last-Modified", DATE)
}

/// Returns two files with the same bytes in the overlap of a resume, and others before and after.
fn same_in_overlap() -> (Body, Body) {
    let old = archive(1, SIZE);
    let mut new = old.to_vec();
    for at in [1000, 300_000] {
        new[at] ^= 1;
    }
    (old, new.into())
}

#[test]
fn date_of_old_file_is_validator() {
    let origin = Origin::start();
    let body = archive(1, SIZE);
    let cases = [
        (dated(&body), Some(DATE)),
        (dated(&body).header("ETag", "a-b-c"), Some(DATE)),
        (dated(&body).header("ETag", "W/\"a\""), None),
        (dated(&body).chunked(), Some(DATE)),
    ];
    let gateway = retrying(&origin).start();
    for (number, (reply, if_range)) in cases.into_iter().enumerate() {
        let path = format!("/x-{number}.0.tar.gz");
        let first = reply.clone().cut_at(CUT);
        origin.script(&path, vec![first, reply.ranges_without_condition()]);
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
        let requests = origin.requests(&path);
        assert_eq!(requests.len(), 2, "{path}");
        assert_eq!(requests[1].header("range"), Some(FROM_OVERLAP), "{path}");
        assert_eq!(requests[1].header("if-range"), if_range, "{path}");
    }
}

#[test]
fn uncertain_date_is_no_validator() {
    let origin = Origin::start();
    let body = archive(1, SIZE);
    let reply = |date: Option<&str>, modified: &str| {
        let reply = Reply::ok(&body).header("Last-Modified", modified).ranges();
        date.into_iter()
            .fold(reply, |reply, date| reply.header("Date", date))
    };
    let cases = [
        reply(None, DATE),
        reply(Some("Mon, 01 Jan 2024 00:00:59 GMT"), DATE),
        reply(Some(DATE), DAY_AFTER),
        reply(Some("yesterday"), DATE),
        reply(Some(DAY_AFTER), "a while ago"),
    ];
    let gateway = retrying(&origin).start();
    for (number, reply) in cases.into_iter().enumerate() {
        let path = format!("/x-{number}.0.tar.gz");
        origin.script(&path, vec![reply.clone().cut_at(CUT), reply]);
        gateway.assert_serves(&origin.url(&path), &body);
        let requests = origin.requests(&path);
        assert_eq!(requests[1].header("range"), None, "{path}");
    }
}

#[test]
fn few_bytes_are_requested_again_whole() {
    let origin = Origin::start();
    let body = archive(1, SIZE);
    let path = "/x-1.0.tar.gz";
    let first = dated(&body).cut_at(60_000);
    origin.script(path, vec![first, dated(&body).ranges()]);
    let gateway = retrying(&origin).start();
    gateway.assert_serves(&origin.url(path), &body);
    assert_eq!(origin.requests(path)[1].header("range"), None);
}

#[test]
fn unstated_date_is_requested_again() {
    let origin = Origin::start();
    let (old, new) = same_in_overlap();
    let undated = |body: &Body| Reply::ok(body).ranges_without_condition();
    let changed = dated(&new).header("Last-Modified", DAY_AFTER);
    let other_date = Reply::ok(&new).header("Last-Modified", DAY_AFTER);
    let first = dated(&old).cut_at(CUT);
    // Each row: the replies after the cut, and whether the readers get the whole file.
    let rows = [
        (vec![undated(&old), dated(&old)], true),
        (vec![undated(&old), Reply::status(405), dated(&old)], true),
        (vec![undated(&old), Reply::ok(&old), dated(&old)], true),
        (vec![undated(&new), other_date.clone(), changed], false),
        (vec![undated(&new), Reply::status(404), other_date], false),
    ];
    let gateway = retrying(&origin).start();
    let paths: Vec<_> = (0..rows.len())
        .map(|n| format!("/x-{n}.0.tar.gz"))
        .collect();
    for (path, (replies, _)) in paths.iter().zip(&rows) {
        origin.script(path, [vec![first.clone()], replies.clone()].concat());
    }
    all_at_once(paths.len(), |number| {
        let (path, is_whole) = (&paths[number], rows[number].1);
        let answer = gateway.get(&origin.url(path)).send();
        if is_whole {
            answer.assert_body(200, &old);
            gateway.await_stored(&origin.url(path));
        } else {
            answer.assert_broken();
            assert_same(&answer.body, &old[..answer.body.len()]);
        }
        assert_eq!(origin.requests(path)[2].method, "HEAD", "{path}");
    });
    for object in gateway.objects() {
        assert!(
            [&old, &new]
                .iter()
                .any(|body| gateway.object_path(body) == object)
        );
    }
}

#[test]
fn other_validator_ends_resume_by_date() {
    let origin = Origin::start();
    let (old, new) = same_in_overlap();
    let others = [
        Reply::ok(&new).header("Last-Modified", DAY_AFTER),
        dated(&new).header("ETag", "\"new\""),
        dated(&new).header("ETag", "W/\"new\""),
    ];
    let gateway = retrying(&origin).start();
    for (number, other) in others.into_iter().enumerate() {
        let path = format!("/x-{number}.0.tar.gz");
        let first = dated(&old).header("ETag", "W/\"old\"").cut_at(CUT);
        let rest = other.clone().ranges_without_condition();
        origin.script(&path, vec![first, rest, other]);
        let answer = gateway.get(&origin.url(&path)).send();
        // The first rest has no tag and another date, or another tag and the same date.
        answer.assert_broken();
        assert_same(&answer.body, &old[..answer.body.len()]);
        gateway.await_fetch(&origin.url(&path));
    }
    assert_eq!(gateway.objects(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn other_bytes_in_overlap_end_fetch() {
    let origin = Origin::start();
    let old = archive(1, SIZE);
    let mut new = old.to_vec();
    new[CUT - 1] ^= 1;
    let new: Body = new.into();
    let path = "/x-1.0.tar.gz";
    let rest = dated(&new).ranges_without_condition();
    origin.script(path, vec![dated(&old).cut_at(CUT), rest]);
    let gateway = retrying(&origin).start();
    gateway.get(&origin.url(path)).send().assert_broken();
    gateway.await_fetch(&origin.url(path));
    assert_eq!(gateway.objects(), Vec::<std::path::PathBuf>::new());
}
