//! Downloaders through an intercepted https host. The second download of each comes from the store,
//! while the origin is stopped.

use std::path::Path;

use super::mirror::Release;
use super::stage::{Machine, Route, Stage};
use crate::harness::{Tool, archive, assert_same};

const PATH: &str = "/pub/x-1.0.tar.gz";
const FILE: &str = "x-1.0.tar.gz";

/// Runs a downloader twice, the second time with the origin stopped.
#[track_caller]
fn download_twice(download: impl Fn(&Machine, &str) -> Tool) {
    let stage = Stage::new(Route::Intercepted);
    let body = archive(1, 2 << 20);
    stage.site.put(PATH, &body, Release::First);
    let run = || {
        let machine = stage.machine();
        download(&machine, &machine.url(PATH))
            .run()
            .assert_success();
        assert_same(&machine.take(".", FILE), &body);
    };
    run();
    stage.gateway.await_stored(&stage.target(PATH));
    stage.site.mirror.stop();
    run();
    assert_eq!(stage.site.mirror.origin().count(PATH), 1);
}

#[test]
fn wget_downloads_through_interception() {
    download_twice(|machine, url| {
        let ca = machine.ca_file().expect("the route is intercepted");
        let proxy = machine.https_proxy().expect("the route is intercepted");
        Tool::wget(machine.folder())
            .args(&[
                "-e",
                &format!("https_proxy={proxy}"),
                "--ca-certificate",
                ca,
            ])
            .arg(url)
    });
}

#[test]
fn curl_downloads_through_interception() {
    // SSL_CERT_FILE and https_proxy say it all.
    download_twice(|machine, url| machine.tool("curl", "curl").args(&["-sSfO", url]));
}

#[test]
fn aria2c_downloads_through_interception() {
    download_twice(|machine, url| {
        let ca = machine.ca_file().expect("the route is intercepted");
        let ca = format!("--ca-certificate={ca}");
        let tool = machine.tool("aria2c", "aria2");
        tool.args(&["--no-conf", "-x4", "-s4", "-k1M", &ca, url])
    });
}

#[test]
fn requests_downloads_through_interception() {
    let script = "import requests, sys\n\
        answer = requests.get(sys.argv[1], timeout=20)\n\
        answer.raise_for_status()\n\
        open(sys.argv[2], 'wb').write(answer.content)\n";
    download_twice(|machine, url| {
        let tool = machine.tool("/usr/bin/python3", "python3-requests");
        tool.args(&["-c", script, url, FILE])
    });
}

/// Makes a bare repository with one commit, as a web server without git serves it.
fn make_repository(folder: &Path) {
    let git = |arguments: &[&str]| {
        Tool::new("git", "git", folder)
            .args(&["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments)
            .run()
            .assert_success();
    };
    git(&["init", "-q", "-b", "main", "work"]);
    std::fs::write(folder.join("work/file"), "content\n").expect("the folder is writable");
    git(&["-C", "work", "add", "file"]);
    git(&["-C", "work", "commit", "-q", "-m", "first"]);
    git(&["clone", "-q", "--bare", "work", "bare.git"]);
    git(&["-C", "bare.git", "update-server-info"]);
}

#[test]
fn git_clones_through_interception() {
    let stage = Stage::new(Route::Intercepted);
    let made = tempfile::tempdir().expect("a folder can be made");
    make_repository(made.path());
    let bare = made.path().join("bare.git");
    stage
        .site
        .mirror
        .put_folder("/bare.git", &bare, Release::First);
    // git asks a server of its own protocol first. Another one ignores the query.
    let refs = std::fs::read(bare.join("info/refs")).expect("git wrote it");
    let asked = "/bare.git/info/refs?service=git-upload-pack";
    stage.site.put(asked, &refs, Release::First);
    let clone = || {
        let machine = stage.machine();
        let url = machine.url("/bare.git");
        let git = machine
            .tool("git", "git")
            .args(&["clone", "-q", &url, "copy"]);
        git.run().assert_success();
        let file = std::fs::read(machine.folder().join("copy/file"));
        assert_eq!(file.expect("git wrote the file"), b"content\n");
    };
    clone();
    for (path, _) in stage.site.mirror.fetched() {
        stage.await_stored(&path);
    }
    stage.site.mirror.stop();
    clone();
}
