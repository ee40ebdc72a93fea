//! Hits that nginx sends from the cache folder: no client can tell them from the gateway's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{
    Answer, Body, DATE, DAY_AFTER, DAY_BEFORE, Gateway, Nginx, Origin, Reply, Request, Tool, archive, assert_same,
    is_request_of, sha256,
};
use crate::nginx::{behind_nginx, shown};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Enough for nginx to be worth it.
const SIZE_BYTES: usize = 100_000;

struct Stored {
    nginx: Nginx,
    gateway: Gateway,
    origin: Origin,
    url: String,
    body: Body,
}

impl Stored {
    fn new() -> Self {
        let body = archive(1, SIZE_BYTES);
        Self::of(Reply::file(&body).header("Content-Type", "application/x-gzip"), body)
    }

    fn of(reply: Reply, body: Body) -> Self {
        let origin = Origin::start();
        origin.serve(PATH, reply);
        let gateway = behind_nginx(&origin).start();
        let nginx = Nginx::before(&gateway);
        let url = origin.url(PATH);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        Self { nginx, gateway, origin, url, body }
    }

    fn etag(&self) -> String {
        format!("\"{}\"", sha256(&self.body))
    }

    /// The same request without nginx, and through it.
    fn both(&self, dress: impl Fn(Request) -> Request) -> [Answer; 2] {
        [dress(self.gateway.get(&self.url)).send(), dress(self.nginx.get(&self.url)).send()]
    }

    /// Asserts that nobody can tell by an answer who has sent it.
    #[track_caller]
    fn assert_same(&self, headers: &[(&str, &str)]) {
        let [direct, through] =
            self.both(|request| headers.iter().fold(request, |request, (name, value)| request.header(name, value)));
        assert_eq!(direct.status, through.status, "{headers:?}\n{:#?}\n{:#?}", direct.head, through.head);
        assert_eq!(direct.ended, through.ended, "{headers:?}");
        assert_same(&direct.body, &through.body);
        assert_eq!(shown(&direct), shown(&through), "{headers:?}");
    }

    /// Waits until nginx has sent `count` objects by itself.
    #[track_caller]
    fn await_sent_by_nginx(&self, count: usize) {
        self.gateway.log().wait_for_many("what nginx sends", count, is_sent_by_nginx);
    }
}

fn is_sent_by_nginx(event: &serde_json::Value) -> bool {
    event["message"] == "request" && event["ended"] == "handed over"
}

#[test]
fn a_hit_is_what_it_is_without_nginx() {
    let stored = Stored::new();
    stored.assert_same(&[]);
    let head = stored.nginx.request("HEAD", &format!("/{}", stored.url)).send();
    let direct = stored.gateway.request("HEAD", &format!("/{}", stored.url)).send();
    assert_eq!((head.status, shown(&head)), (200, shown(&direct)));
    head.assert_body(200, b"");
    let through = stored.nginx.get(&stored.url).send();
    through.assert_cache(&["hit", "detail=disk"]);
    assert_eq!(through.wants("etag"), stored.etag());
    assert_eq!(through.wants("last-modified"), DATE);
    for name in ["x-accel-redirect", "x-accel-buffering"] {
        assert_eq!(through.header(name), None, "{name} is between nginx and the gateway");
    }
    stored.await_sent_by_nginx(2);
    assert_eq!(stored.origin.total(), 1);
}

#[test]
fn a_hit_without_a_date_has_none_of_the_files() {
    let body = archive(2, SIZE_BYTES);
    let stored = Stored::of(Reply::ok(&body), body);
    stored.assert_same(&[]);
    assert_eq!(stored.nginx.get(&stored.url).send().header("last-modified"), None);
    stored.assert_same(&[("If-Modified-Since", DAY_AFTER)]);
    stored.assert_same(&[("If-Modified-Since", "Fri, 31 Dec 2100 00:00:00 GMT")]);
    stored.assert_same(&[("Range", "bytes=0-9"), ("If-Range", DATE)]);
    stored.await_sent_by_nginx(3);
}

#[test]
fn ranges_are_what_they_are_without_nginx() {
    let stored = Stored::new();
    let end = SIZE_BYTES - 1;
    for range in [
        "bytes=0-0",
        "bytes=0-9",
        "bytes=5-",
        "bytes=-5",
        "bytes=99999-",
        "bytes=0-999999999",
        "bytes=-999999999",
        "bytes=100000-",
        "bytes=-0",
        "bytes=0-0,5-9",
        "bytes=0-,0-,0-",
        "bytes=5-2",
        "bytes=abc",
        "bytes=",
        "bytes=-",
        "bytes=1-2-3",
        "bytes 0-9",
        "items=0-9",
        "BYTES=0-9",
        "bytes= 0-9",
        "bytes=0-9 ",
        "bytes=0 - 9",
        "bytes=,0-9",
        "bytes=0-9,",
        "bytes=99999999999999999999-",
        "bytes=0-18446744073709551615",
        "bytes=0-99999999999999999999",
        "bytes=-99999999999999999999",
        "bytes=\t0-5",
        "bytes =0-5",
        &format!("bytes={end}-{end}"),
    ] {
        stored.assert_same(&[("Range", range)]);
    }
    stored.await_sent_by_nginx(5);
    let part = stored.nginx.get(&stored.url).range("bytes=100-199").send();
    part.assert_body(206, &stored.body[100..200]);
    assert_eq!(part.wants("content-range"), format!("bytes 100-199/{SIZE_BYTES}"));
}

#[test]
fn conditions_are_what_they_are_without_nginx() {
    let stored = Stored::new();
    let etag = stored.etag();
    let weak = format!("W/{etag}");
    let values: [(&str, &[&str]); 4] = [
        ("If-None-Match", &[&etag, &weak, "*", "\"other\"", "\"other\", \"another\"", "other"]),
        ("If-Modified-Since", &[DATE, DAY_BEFORE, DAY_AFTER, "yesterday", "Fri, 31 Dec 2100 00:00:00 GMT"]),
        ("If-Match", &[&etag, &weak, "*", "\"other\""]),
        ("If-Unmodified-Since", &[DATE, DAY_BEFORE, DAY_AFTER, "yesterday"]),
    ];
    for (name, values) in values {
        for value in values {
            stored.assert_same(&[(name, value)]);
            stored.assert_same(&[(name, value), ("Range", "bytes=10-19")]);
            // nginx takes no condition twice.
            for second in [("If-Modified-Since", DAY_AFTER), ("If-None-Match", "\"other\"")] {
                if second.0 != name {
                    stored.assert_same(&[(name, value), second]);
                }
            }
        }
    }
    for value in [&etag, &weak, "\"other\"", DATE, DAY_BEFORE, DAY_AFTER, "yesterday", "*"] {
        stored.assert_same(&[("If-Range", value), ("Range", "bytes=10-19")]);
        stored.assert_same(&[("If-Range", value)]);
    }
    stored.await_sent_by_nginx(20);
    assert_eq!(stored.origin.total(), 1);
}

#[test]
fn the_files_own_date_decides_nothing() {
    let stored = Stored::new();
    let object = fs::File::open(stored.gateway.object_path(&stored.body)).expect("the object is there");
    for seconds in [0, 4_102_444_800] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        object.set_modified(time).expect("the owner may set it");
        for date in [DATE, DAY_BEFORE, DAY_AFTER] {
            stored.assert_same(&[("If-Modified-Since", date)]);
            stored.assert_same(&[("Range", "bytes=0-9"), ("If-Range", date)]);
        }
    }
}

#[test]
fn real_clients_resume_from_nginx() {
    let stored = Stored::new();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("x-1.0.tar.gz");
    let url = stored.nginx.rewritten(&stored.url);
    for tool in [Tool::wget(folder.path()).args(&["-c", &url]), Tool::curl(folder.path()).args(&["-fOC", "-", &url])] {
        fs::write(&file, &stored.body[..40_000]).expect("the folder can be written");
        tool.run().assert_success();
        assert_same(&fs::read(&file).expect("the file is there"), &stored.body);
    }
    // Nothing is left to fetch, and -N finds it new enough.
    for option in ["-c", "-N"] {
        Tool::wget(folder.path()).args(&[option, &url]).run().assert_success();
        assert_same(&fs::read(&file).expect("the file is there"), &stored.body);
    }
    assert_eq!(stored.origin.total(), 1);
}

#[test]
fn an_object_that_nginx_cannot_open_comes_from_the_gateway() {
    let stored = Stored::new();
    stored.assert_same(&[]);
    stored.await_sent_by_nginx(1);
    // nginx looks in a folder that is not the cache's: each hit is missing there.
    let other = Nginx::builder(&[&stored.gateway]).change("http.conf", "/objects/;", "/records/;").start();
    for range in ["bytes=0-", "bytes=5-9"] {
        let direct = stored.gateway.get(&stored.url).range(range).send();
        let answer = other.get(&stored.url).range(range).send();
        assert_same(&answer.body, &direct.body);
        assert_eq!((answer.status, shown(&answer)), (206, shown(&direct)));
    }
    other.get(&stored.url).send().assert_body(200, &stored.body);
    other.request("GET", &stored.url).send().assert_body(200, &stored.body);
    assert_eq!(stored.origin.total(), 1, "it was there all the time");
}

#[test]
fn an_object_that_is_gone_is_fetched_again() {
    let stored = Stored::new();
    fs::remove_file(stored.gateway.object_path(&stored.body)).expect("the object is there");
    stored.nginx.get(&stored.url).send().assert_body(200, &stored.body);
    assert_eq!(stored.origin.total(), 2);
}

#[test]
fn a_truncated_object_is_never_served() {
    for length in [SIZE_BYTES as u64 - 1, 20_000, 0] {
        let stored = Stored::new();
        let object = stored.gateway.object_path(&stored.body);
        fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).expect("the owner may");
        fs::File::options().write(true).open(&object).and_then(|file| file.set_len(length)).expect("the owner may");
        stored.nginx.get(&stored.url).send().assert_body(200, &stored.body);
        assert_eq!(stored.origin.total(), 2);
    }
}

#[test]
fn an_object_that_nginx_may_not_read_comes_from_the_gateway() {
    if !crate::harness::is_root() {
        eprintln!("SKIPPED: only root's nginx has workers of another user");
        return;
    }
    let stored = Stored::new();
    // As it is shipped: the workers are www-data, and the test's folder is not theirs.
    let other = Nginx::builder(&[&stored.gateway]).without_root().start();
    let folder = stored.gateway.cache().parent().expect("a cache is in a folder");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("the owner may");
    for _ in 0..2 {
        other.get(&stored.url).send().assert_body(200, &stored.body);
    }
    let log = stored.gateway.log();
    log.wait_for_many("nginx was to try", 2, |event| is_request_of(event, PATH) && event["ended"] == "handed over");
    assert_eq!(stored.origin.total(), 1);
}
