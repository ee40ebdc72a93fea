//! Commands whose output cannot be written: they end without a panic.

use std::fs::{self, File};
use std::io::pipe;
use std::path::Path;
use std::process::Stdio;

use crate::harness::{Gateway, Origin, Reply, Scene, archive, run_with_outputs};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn full_disk() -> File {
    File::options()
        .write(true)
        .open("/dev/full")
        .expect("the system has it")
}

/// A pipe whose reader has gone.
fn broken_pipe() -> Stdio {
    let (reader, writer) = pipe().expect("a pipe can be made");
    drop(reader);
    writer.into()
}

/// Runs a command with this standard output, and returns its exit code and its standard error.
#[track_caller]
fn run(folder: &Path, args: &[&str], stdout: impl Into<Stdio>) -> (Option<i32>, String) {
    let file = folder.join("stderr");
    let stderr = File::create(&file).expect("the folder can be written");
    let code = run_with_outputs(folder, args, stdout, stderr);
    (code, fs::read_to_string(&file).expect("it is text"))
}

#[test]
fn broken_stdout_ends_commands_quietly() {
    let (origin, gateway, body, _) = Scene::relaying(PATH, archive(1, 300_000));
    let (url, gateway_url, token) = (origin.url(PATH), gateway.url(""), gateway.token());
    let folder = tempfile::tempdir().expect("a folder can be made");
    fs::write(folder.path().join("token"), &token).expect("the folder can be written");
    fs::write(folder.path().join("own"), &*body).expect("the folder can be written");
    let at = ["--gateway", &gateway_url];
    let operator = [at[0], at[1], "--token-file", "token"];
    let import_url = origin.url("/own-1.0.tar.gz");
    for command in [
        [&["ensure", &url][..], &at].concat(),
        [&["get", &url, "-o", "x"][..], &at].concat(),
        [&["stat", &url][..], &at].concat(),
        [&["stat", "--json", &url][..], &at].concat(),
        [&["ls"][..], &operator].concat(),
        [&["ls", "--json"][..], &operator].concat(),
        [&["pin", &url][..], &operator].concat(),
        [&["unpin", &url][..], &operator].concat(),
        [&["import", "own", "--url", &import_url][..], &operator].concat(),
        [&["rm", "--yes", &url][..], &operator].concat(),
        [&["doctor"][..], &at].concat(),
        vec!["check-config"],
        vec!["--help"],
    ] {
        let (code, stderr) = run(folder.path(), &command, broken_pipe());
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{command:?}");
    }
    assert_eq!(
        fs::read(folder.path().join("x")).expect("it was downloaded"),
        &*body
    );
    // Bytes that were not read were not checked either.
    let (code, stderr) = run(
        folder.path(),
        &[&["get", &url, "-o", "-"][..], &at].concat(),
        broken_pipe(),
    );
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
}

#[test]
fn unwritable_stdout_is_an_error() {
    let gateway = Gateway::builder().start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let gateway_url = gateway.url("");
    let at = ["--gateway", &gateway_url];
    fs::write(folder.path().join("token"), gateway.token()).expect("the folder can be written");
    let gateway_file = gateway.file();
    let config = ["--config", gateway_file.to_str().expect("the path is text")];
    for command in [
        [&["doctor"][..], &at].concat(),
        [&["check-config"][..], &config].concat(),
        [&["scrub"][..], &config].concat(),
        [&["scrub", "--json"][..], &config].concat(),
    ] {
        let (code, stderr) = run(folder.path(), &command, full_disk());
        assert_eq!(code, Some(1), "{command:?}: {stderr}");
        assert_eq!(
            stderr, "millpond: standard output: No space left on device (os error 28)\n",
            "{command:?}"
        );
    }
}

#[test]
fn unwritable_stderr_keeps_exit_codes() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let unready = ["doctor", "--gateway", "http://127.0.0.1:1"];
    let wrong = ["check-config", "--set", "gateway.nonsense=1"];
    let refused = [
        "serve",
        "--set",
        "gateway.listen=127.0.0.1:0",
        "--set",
        "proxy.listen=256.0.0.1:1",
    ];
    for (command, expected) in [(&unready[..], 1), (&wrong, 2), (&refused, 1)] {
        assert_eq!(
            run_with_outputs(folder.path(), command, Stdio::null(), full_disk()),
            Some(expected),
            "{command:?}"
        );
        assert_eq!(
            run_with_outputs(folder.path(), command, Stdio::null(), broken_pipe()),
            Some(expected),
            "{command:?}"
        );
    }
}

#[test]
fn listing_ends_where_its_reader_stops() {
    // In place of a gateway, with two pages.
    let gateway = Origin::start();
    let (first, second) = ("/api/v1/objects?", "/api/v1/objects?after=a");
    gateway.serve(
        first,
        Reply::ok(&(*br#"{"objects":[{"url":"x"},{"url":"y"}],"next":"a"}"#).into()),
    );
    gateway.serve(
        second,
        Reply::ok(&(*br#"{"objects":[{"url":"z"}],"next":null}"#).into()),
    );
    let folder = tempfile::tempdir().expect("a folder can be made");
    let gateway_url = gateway.url("");
    let command = ["ls", "--json", "--gateway", &gateway_url];
    assert_eq!(
        run(folder.path(), &command, broken_pipe()),
        (Some(0), String::new())
    );
    assert_eq!((gateway.count(first), gateway.count(second)), (1, 0));
    let listed = File::create(folder.path().join("stdout")).expect("the folder can be written");
    assert_eq!(
        run(folder.path(), &command, listed),
        (Some(0), String::new())
    );
    let listed = fs::read_to_string(folder.path().join("stdout")).expect("it is text");
    assert_eq!(
        listed,
        "{\"url\":\"x\"}\n{\"url\":\"y\"}\n{\"url\":\"z\"}\n"
    );
    assert_eq!((gateway.count(first), gateway.count(second)), (2, 1));
}
