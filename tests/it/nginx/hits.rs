//! Hits that nginx sends from the cache folder: they equal the gateway's own responses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{
    Answer, Body, DATE, DAY_AFTER, DAY_BEFORE, Gateway, Nginx, Origin, Reply, Request, Tool,
    archive, assert_same, is_request_of, sha256,
};
use crate::nginx::requests::{behind_nginx, shown};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Large enough for the gateway to let nginx send the hit.
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
        Self::of(
            Reply::file(&body).header("Content-Type", "application/x-gzip"),
            body,
        )
    }

    fn of(reply: Reply, body: Body) -> Self {
        let origin = Origin::start();
        origin.serve(PATH, reply);
        let gateway = behind_nginx(&origin).start();
        let nginx = Nginx::before(&gateway);
        let url = origin.url(PATH);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        Self {
            nginx,
            gateway,
            origin,
            url,
            body,
        }
    }

    fn etag(&self) -> String {
        format!("\"{}\"", sha256(&self.body))
    }

    /// Sends the same request without nginx and through it.
    fn both(&self, dress: impl Fn(Request) -> Request) -> [Answer; 2] {
        [
            dress(self.gateway.get(&self.url)).send(),
            dress(self.nginx.get(&self.url)).send(),
        ]
    }

    /// Asserts that the responses with and without nginx are equal.
    #[track_caller]
    fn assert_same(&self, headers: &[(&str, &str)]) {
        let [direct, through] = self.both(|request| {
            headers.iter().fold(request, |request, (name, value)| {
                request.header(name, value)
            })
        });
        assert_eq!(
            direct.status, through.status,
            "{headers:?}\n{:#?}\n{:#?}",
            direct.head, through.head
        );
        assert_eq!(direct.ended, through.ended, "{headers:?}");
        assert_same(&direct.body, &through.body);
        assert_eq!(shown(&direct), shown(&through), "{headers:?}");
    }

    /// Waits until nginx has sent `count` objects itself.
    #[track_caller]
    fn await_sent_by_nginx(&self, count: usize) {
        self.gateway
            .log()
            .wait_for_many("hits that nginx sends", count, is_sent_by_nginx);
    }
}

fn is_sent_by_nginx(event: &serde_json::Value) -> bool {
    event["message"] == "request" && event["completion"] == "offloaded"
}

#[test]
fn hit_through_nginx_equals_direct_hit() {
    let stored = Stored::new();
    stored.assert_same(&[]);
    let head = stored
        .nginx
        .request("HEAD", &format!("/{}", stored.url))
        .send();
    let direct = stored
        .gateway
        .request("HEAD", &format!("/{}", stored.url))
        .send();
    assert_eq!((head.status, shown(&head)), (200, shown(&direct)));
    head.assert_body(200, b"");
    let through = stored.nginx.get(&stored.url).send();
    through.assert_cache(&["hit", "detail=disk"]);
    assert_eq!(through.wants("etag"), stored.etag());
    assert_eq!(through.wants("last-modified"), DATE);
    through.wants("age");
    for name in ["x-accel-redirect", "x-accel-buffering"] {
        assert_eq!(
            through.header(name),
            None,
            "{name} is internal to nginx and the gateway"
        );
    }
    stored.await_sent_by_nginx(2);
    assert_eq!(stored.origin.total(), 1);
}

#[test]
fn hit_without_date_gets_no_file_date() {
    let body = archive(2, SIZE_BYTES);
    let stored = Stored::of(Reply::ok(&body), body);
    stored.assert_same(&[]);
    assert_eq!(
        stored.nginx.get(&stored.url).send().header("last-modified"),
        None
    );
    stored.assert_same(&[("If-Modified-Since", DAY_AFTER)]);
    stored.assert_same(&[("If-Modified-Since", "Fri, 31 Dec 2100 00:00:00 GMT")]);
    stored.assert_same(&[("Range", "bytes=0-9"), ("If-Range", DATE)]);
    stored.await_sent_by_nginx(3);
}

#[test]
fn ranges_through_nginx_equal_direct_ranges() {
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
    assert_eq!(
        part.wants("content-range"),
        format!("bytes 100-199/{SIZE_BYTES}")
    );
}

#[test]
fn preconditions_through_nginx_equal_direct_preconditions() {
    let stored = Stored::new();
    let etag = stored.etag();
    let weak = format!("W/{etag}");
    let values: [(&str, &[&str]); 4] = [
        (
            "If-None-Match",
            &[
                &etag,
                &weak,
                "*",
                "\"other\"",
                "\"other\", \"another\"",
                "other",
            ],
        ),
        (
            "If-Modified-Since",
            &[
                DATE,
                DAY_BEFORE,
                DAY_AFTER,
                "yesterday",
                "Fri, 31 Dec 2100 00:00:00 GMT",
            ],
        ),
        ("If-Match", &[&etag, &weak, "*", "\"other\""]),
        (
            "If-Unmodified-Since",
            &[DATE, DAY_BEFORE, DAY_AFTER, "yesterday"],
        ),
    ];
    for (name, values) in values {
        for value in values {
            stored.assert_same(&[(name, value)]);
            stored.assert_same(&[(name, value), ("Range", "bytes=10-19")]);
            // nginx rejects a repeated conditional header.
            for second in [
                ("If-Modified-Since", DAY_AFTER),
                ("If-None-Match", "\"other\""),
            ] {
                if second.0 != name {
                    stored.assert_same(&[(name, value), second]);
                }
            }
        }
    }
    for value in [
        &etag,
        &weak,
        "\"other\"",
        DATE,
        DAY_BEFORE,
        DAY_AFTER,
        "yesterday",
        "*",
    ] {
        stored.assert_same(&[("If-Range", value), ("Range", "bytes=10-19")]);
        stored.assert_same(&[("If-Range", value)]);
    }
    stored.await_sent_by_nginx(20);
    assert_eq!(stored.origin.total(), 1);
}

#[test]
fn file_modification_time_is_ignored() {
    let stored = Stored::new();
    let object =
        fs::File::open(stored.gateway.object_path(&stored.body)).expect("the object exists");
    for seconds in [0, 4_102_444_800] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        object
            .set_modified(time)
            .expect("the owner can set the time");
        for date in [DATE, DAY_BEFORE, DAY_AFTER] {
            stored.assert_same(&[("If-Modified-Since", date)]);
            stored.assert_same(&[("Range", "bytes=0-9"), ("If-Range", date)]);
        }
    }
}

#[test]
fn wget_and_curl_resume_from_nginx() {
    let stored = Stored::new();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("x-1.0.tar.gz");
    let url = stored.nginx.rewritten(&stored.url);
    for tool in [
        Tool::wget(folder.path()).args(&["-c", &url]),
        Tool::curl(folder.path()).args(&["-fOC", "-", &url]),
    ] {
        fs::write(&file, &stored.body[..40_000]).expect("the folder can be written");
        tool.run().assert_success();
        assert_same(&fs::read(&file).expect("the file exists"), &stored.body);
    }
    // The file is complete for `-c`, and recent enough for `-N`.
    for option in ["-c", "-N"] {
        Tool::wget(folder.path())
            .args(&[option, &url])
            .run()
            .assert_success();
        assert_same(&fs::read(&file).expect("the file exists"), &stored.body);
    }
    assert_eq!(stored.origin.total(), 1);
}

#[test]
fn gateway_serves_object_missing_for_nginx() {
    let stored = Stored::new();
    stored.assert_same(&[]);
    stored.await_sent_by_nginx(1);
    // This nginx looks in another folder, so it finds no object.
    let other = Nginx::builder(&[&stored.gateway])
        .change("http.conf", "/objects/;", "/records/;")
        .start();
    for range in ["bytes=0-", "bytes=5-9"] {
        let direct = stored.gateway.get(&stored.url).range(range).send();
        let answer = other.get(&stored.url).range(range).send();
        assert_same(&answer.body, &direct.body);
        assert_eq!((answer.status, shown(&answer)), (206, shown(&direct)));
    }
    other.get(&stored.url).send().assert_body(200, &stored.body);
    other
        .request("GET", &stored.url)
        .send()
        .assert_body(200, &stored.body);
    assert_eq!(stored.origin.total(), 1, "the object stays cached");
}

#[test]
fn deleted_object_is_fetched_again() {
    let stored = Stored::new();
    fs::remove_file(stored.gateway.object_path(&stored.body)).expect("the object exists");
    stored
        .nginx
        .get(&stored.url)
        .send()
        .assert_body(200, &stored.body);
    assert_eq!(stored.origin.total(), 2);
}

#[test]
fn truncated_object_is_never_served() {
    for length in [SIZE_BYTES as u64 - 1, 20_000, 0] {
        let stored = Stored::new();
        let object = stored.gateway.object_path(&stored.body);
        fs::set_permissions(&object, fs::Permissions::from_mode(0o644))
            .expect("the owner can change the mode");
        fs::File::options()
            .write(true)
            .open(&object)
            .and_then(|file| file.set_len(length))
            .expect("the owner can truncate the object");
        stored
            .nginx
            .get(&stored.url)
            .send()
            .assert_body(200, &stored.body);
        assert_eq!(stored.origin.total(), 2);
    }
}

#[test]
fn gateway_serves_object_unreadable_for_nginx() {
    if !crate::harness::is_root() {
        eprintln!("SKIPPED: only nginx started by root runs workers as another user");
        return;
    }
    let stored = Stored::new();
    // As shipped, the workers run as www-data, which cannot read the test's folder.
    let other = Nginx::builder(&[&stored.gateway]).without_root().start();
    let folder = stored
        .gateway
        .cache()
        .parent()
        .expect("a cache is in a folder");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        .expect("the owner can change the mode");
    for _ in 0..2 {
        other.get(&stored.url).send().assert_body(200, &stored.body);
    }
    let log = stored.gateway.log();
    log.wait_for_many("hits that the gateway hands to nginx", 2, |event| {
        is_request_of(event, PATH) && event["completion"] == "offloaded"
    });
    assert_eq!(stored.origin.total(), 1);
}
