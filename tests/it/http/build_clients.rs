//! Build clients at both endpoints: first fetch, repeated fetch, and resumption.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::harness::{Body, Gateway, Origin, Reply, Tool, archive, assert_same, files_under};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Mon, 01 Jan 2024 00:00:00 GMT, in seconds since 1970.
const DATE_SECS: u64 = 1_704_067_200;

struct Stage {
    origin: Origin,
    body: Body,
    gateway: Gateway,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let origin = Origin::start();
        let body = archive(1, 3 << 20);
        origin.serve(PATH, Reply::file(&body));
        let gateway = Gateway::builder().origin(&origin).start();
        let folder = tempfile::tempdir().expect("a folder can be made");
        Self {
            origin,
            body,
            gateway,
            folder,
        }
    }

    /// Returns a stage whose object is already stored.
    fn stored() -> Self {
        let stage = Self::new();
        stage
            .gateway
            .get(&stage.url())
            .range("bytes=0-")
            .send()
            .assert_status(206);
        stage.gateway.await_stored(&stage.url());
        stage
    }

    fn url(&self) -> String {
        self.origin.url(PATH)
    }

    fn rewritten(&self) -> String {
        self.gateway.rewritten(&self.url())
    }

    fn http_proxy(&self) -> String {
        format!("http_proxy=http://{}", self.gateway.proxy_addr())
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self) -> std::path::PathBuf {
        self.path().join("x-1.0.tar.gz")
    }

    #[track_caller]
    fn assert_file(&self) {
        assert_same(
            &fs::read(self.file()).expect("the client wrote the file"),
            &self.body,
        );
        assert_eq!(
            files_under(self.path()),
            [self.file()],
            "the client left no other file"
        );
    }

    fn keep_half(&self) {
        fs::write(self.file(), &self.body[..1 << 20]).expect("the folder can be written");
    }
}

#[test]
fn wget_follows_redirect_then_gets_hit() {
    let stage = Stage::new();
    Tool::wget(stage.path())
        .arg(&stage.rewritten())
        .run()
        .assert_success();
    stage.assert_file();
    stage.gateway.await_stored(&stage.url());
    let asked = stage.origin.count(PATH);
    fs::remove_file(stage.file()).expect("the file exists");
    Tool::wget(stage.path())
        .arg(&stage.rewritten())
        .run()
        .assert_success();
    stage.assert_file();
    assert_eq!(
        stage.origin.count(PATH),
        asked,
        "the second request is a hit"
    );
}

#[test]
fn curl_without_location_gets_file_on_miss() {
    let stage = Stage::new();
    Tool::curl(stage.path())
        .args(&["-f", "-O"])
        .arg(&stage.rewritten())
        .run()
        .assert_success();
    stage.assert_file();
    assert_eq!(stage.origin.count(PATH), 1);
}

#[test]
fn wget_and_curl_share_object_through_proxy() {
    let stage = Stage::new();
    let proxy = stage.http_proxy();
    Tool::wget(stage.path())
        .args(&["-e", &proxy])
        .arg(&stage.url())
        .run()
        .assert_success();
    stage.assert_file();
    stage.gateway.await_stored(&stage.url());
    fs::remove_file(stage.file()).expect("the file exists");
    let proxy = format!("http://{}", stage.gateway.proxy_addr());
    Tool::curl(stage.path())
        .args(&["-f", "-O", "--proxy", &proxy])
        .arg(&stage.url())
        .run()
        .assert_success();
    stage.assert_file();
    fs::remove_file(stage.file()).expect("the file exists");
    Tool::curl(stage.path())
        .args(&["-f", "-O"])
        .env("http_proxy", &proxy)
        .arg(&stage.url())
        .run()
        .assert_success();
    stage.assert_file();
    assert_eq!(stage.origin.count(PATH), 1);
}

#[test]
fn wget_continue_resumes_hit() {
    let stage = Stage::stored();
    stage.keep_half();
    Tool::wget(stage.path())
        .arg("-c")
        .arg(&stage.rewritten())
        .run()
        .assert_success();
    stage.assert_file();
    let part = stage
        .gateway
        .log()
        .wait_for("the partial response", |event| {
            event["status"] == 206 && event["sent_bytes"] == 2 << 20
        });
    assert_eq!(part["completion"], "complete");
    // The file is complete: wget expects 416.
    Tool::wget(stage.path())
        .arg("-c")
        .arg(&stage.rewritten())
        .run()
        .assert_success();
    stage.assert_file();
    stage.keep_half();
    Tool::wget(stage.path())
        .args(&["-c", "-e", &stage.http_proxy()])
        .arg(&stage.url())
        .run()
        .assert_success();
    stage.assert_file();
    assert_eq!(stage.origin.count(PATH), 1);
}

#[test]
fn wget_continue_resumes_miss() {
    let stage = Stage::new();
    stage.keep_half();
    Tool::wget(stage.path())
        .arg("-c")
        .arg(&stage.rewritten())
        .run()
        .assert_success();
    stage.assert_file();
    stage.gateway.await_stored(&stage.url());
    assert_eq!(stage.origin.count(PATH), 1);
}

#[test]
fn wget_timestamping_fetches_newer_file_only() {
    let stage = Stage::stored();
    for args in [
        vec![stage.rewritten()],
        vec!["-e".to_owned(), stage.http_proxy(), stage.url()],
    ] {
        let run = || {
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            Tool::wget(stage.path())
                .arg("-N")
                .args(&args)
                .run()
                .assert_success();
            stage.assert_file();
        };
        run();
        let modified = fs::metadata(stage.file())
            .and_then(|data| data.modified())
            .expect("a file has a date");
        assert_eq!(
            modified,
            UNIX_EPOCH + Duration::from_secs(DATE_SECS),
            "the file has the origin's date"
        );
        let before = not_modified(&stage.gateway);
        run();
        // The second run gets no body.
        let log = stage.gateway.log();
        log.wait_for_many("a 304 response", before + 1, |event| event["status"] == 304);
        // An older file of the same length is replaced.
        fs::write(stage.file(), vec![0; stage.body.len()]).expect("the file can be written");
        let old = UNIX_EPOCH + Duration::from_secs(DATE_SECS - 1000);
        let file = fs::File::options()
            .append(true)
            .open(stage.file())
            .expect("the file exists");
        file.set_modified(old).expect("a date can be set");
        run();
        fs::remove_file(stage.file()).expect("the file exists");
    }
    assert_eq!(stage.origin.count(PATH), 1);
}

#[test]
fn curl_continue_resumes_hit() {
    let stage = Stage::stored();
    let proxy = format!("http://{}", stage.gateway.proxy_addr());
    stage.keep_half();
    Tool::curl(stage.path())
        .args(&["-f", "-C", "-", "-O"])
        .arg(&stage.rewritten())
        .run()
        .assert_success();
    stage.assert_file();
    stage.keep_half();
    Tool::curl(stage.path())
        .args(&["-f", "-C", "-", "-O", "--proxy", &proxy])
        .arg(&stage.url())
        .run()
        .assert_success();
    stage.assert_file();
    assert_eq!(stage.origin.count(PATH), 1);
}

#[test]
fn curl_time_cond_fetches_newer_file_only() {
    let stage = Stage::stored();
    let run = |expected: &str| {
        let args = ["-f", "-R", "-w", "%{http_code}", "-z", "x-1.0.tar.gz", "-O"];
        let run = Tool::curl(stage.path())
            .args(&args)
            .arg(&stage.rewritten())
            .run();
        run.assert_success();
        assert_eq!(run.stdout, expected);
        stage.assert_file();
    };
    Tool::curl(stage.path())
        .args(&["-f", "-R", "-O"])
        .arg(&stage.rewritten())
        .run()
        .assert_success();
    run("304");
    let file = fs::File::options()
        .append(true)
        .open(stage.file())
        .expect("the file exists");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(DATE_SECS - 1000))
        .expect("a date can be set");
    run("200");
    assert_eq!(stage.origin.count(PATH), 1);
}

#[test]
fn aria2c_downloads_hit_in_parts() {
    let stage = Stage::stored();
    let args = ["-x4", "-s4", "-k1M", "-o", "x-1.0.tar.gz"];
    Tool::aria2c(stage.path())
        .args(&args)
        .arg(&stage.rewritten())
        .run()
        .assert_success();
    stage.assert_file();
    assert_eq!(stage.origin.count(PATH), 1);
}

#[test]
fn error_response_makes_every_client_fail() {
    let stage = Stage::new();
    let url = stage
        .gateway
        .rewritten(&stage.origin.url("/no-such-1.0.tar.gz"));
    let url = url.as_str();
    Tool::wget(stage.path()).arg(url).run().assert_failure();
    Tool::curl(stage.path())
        .args(&["-f", "-O", url])
        .run()
        .assert_failure();
    Tool::aria2c(stage.path()).arg(url).run().assert_failure();
    let left: Vec<_> = files_under(stage.path())
        .into_iter()
        .filter(|file| fs::metadata(file).is_ok_and(|f| f.len() > 0))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn not_modified(gateway: &Gateway) -> usize {
    gateway
        .log()
        .events()
        .iter()
        .filter(|event| event["status"] == 304)
        .count()
}
