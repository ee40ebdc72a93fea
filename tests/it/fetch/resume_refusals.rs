//! Origins that cannot or will not send the rest of a body. The fetch starts again from the first
//! byte.

use crate::fetch::resume_dates::retrying;
use crate::harness::{Body, Gateway, Origin, Reply, all_at_once, archive};

const SIZE: usize = 300_000;
const CUT: usize = 200_000;

/// Fetches a target whose first transfer was cut, and asserts the ranges that were requested.
#[track_caller]
fn assert_ranges(gateway: &Gateway, origin: &Origin, path: &str, ranges: &[Option<&str>]) {
    let url = origin.url(path);
    gateway.assert_serves(&url, &archive(1, SIZE));
    gateway.await_stored(&url);
    let requests = origin.requests(path);
    let requested: Vec<_> = requests.iter().map(|asked| asked.header("range")).collect();
    assert_eq!(requested, ranges, "{path}");
}

#[test]
fn refused_range_restarts_body() {
    let origin = Origin::start();
    let file = Reply::file(&archive(1, SIZE));
    let other = archive(2, SIZE);
    let refusals = [
        Reply::status(400),
        Reply::status(403),
        Reply::status(404),
        Reply::status(405),
        Reply::status(410),
        Reply::status(412),
        Reply::status(416),
        Reply::status(500),
        Reply::status(204),
        Reply::status(206).header("Content-Type", "multipart/byteranges; boundary=x"),
        Reply::redirect(302, "ftp://[::1"),
        Reply::status(206).header("Content-Range", "bytes 0-9/300000"),
        Reply::status(206).header("Content-Range", "bytes 200000-250000/300000"),
        Reply::status(206).header("Content-Range", "lines 200000-299999/300000"),
        Reply::ok(&other).wrong_content_range("bytes 200000-299999/300000"),
        file.clone().header("Content-Encoding", "br"),
        Reply::ok(&other).transfer_encoding(&["gzip, chunked"]),
    ];
    let gateway = retrying(&origin).start();
    let paths: Vec<_> = (0..refusals.len())
        .map(|n| format!("/x-{n}.0.tar.gz"))
        .collect();
    for (path, refusal) in paths.iter().zip(refusals) {
        origin.script(path, vec![file.clone().cut_at(CUT), refusal, file.clone()]);
    }
    all_at_once(paths.len(), |number| {
        let ranges = [None, Some("bytes=200000-"), None];
        assert_ranges(&gateway, &origin, &paths[number], &ranges);
    });
}

#[test]
fn whole_response_to_range_needs_no_attempt() {
    let origin = Origin::start();
    let file = Reply::file(&archive(1, SIZE));
    let gateway = retrying(&origin).start();
    let whole = file.clone().ranges_ignored();
    let paths = [
        "/length-1.0.tar.gz",
        "/from-chunks-1.0.tar.gz",
        "/chunks-1.0.tar.gz",
    ];
    let [length, from_chunks, chunks] = paths;
    origin.script(length, vec![file.clone().cut_at(CUT), whole.clone()]);
    let first = file.clone().chunked().cut_at(CUT);
    origin.script(from_chunks, vec![first, whole.clone()]);
    origin.script(chunks, vec![file.cut_at(CUT), whole.chunked()]);
    for path in paths {
        assert_ranges(&gateway, &origin, path, &[None, Some("bytes=200000-")]);
    }
}

#[test]
fn every_form_of_content_range_is_read() {
    let origin = Origin::start();
    let body = archive(1, SIZE);
    let rest: Body = body[CUT..].into();
    let gateway = retrying(&origin).start();
    let forms = [
        "bytes 200000-299999/300000",
        "bytes 200000-299999/*",
        "Bytes 200000-299999/300000",
        "BYTES 200000-299999/*",
        "bytes  200000-299999/300000",
    ];
    for (number, form) in forms.iter().enumerate() {
        let path = format!("/x-{number}.0.tar.gz");
        let tagged = |body: &Body| Reply::ok(body).header("ETag", "\"one\"");
        let part = tagged(&rest).wrong_content_range(form);
        origin.script(&path, vec![tagged(&body).cut_at(CUT), part]);
        assert_ranges(&gateway, &origin, &path, &[None, Some("bytes=200000-")]);
    }
}

#[test]
fn refusals_stay_within_attempts() {
    let origin = Origin::start();
    let file = Reply::file(&archive(1, SIZE));
    let path = "/x-1.0.tar.gz";
    let refused = Reply::status(403);
    origin.script(path, vec![file.cut_at(CUT), refused.clone(), refused]);
    let gateway = retrying(&origin).start();
    gateway.get(&origin.url(path)).send().assert_broken();
    assert_eq!(
        origin.count(path),
        3,
        "a refusal of the whole body is final"
    );
    gateway.assert_nothing_stored();
}
