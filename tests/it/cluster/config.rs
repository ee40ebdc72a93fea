//! The section `[cluster]`: its mistakes, and its secret in a file.

use millpond::cluster::{MARK_FIELD, NODE_PATH, POLL_REQUEST};

use super::stage::{SECRET, free_address, key, node};
use crate::harness::{Gateway, millpond};

#[track_caller]
fn assert_mistakes(section: &str, wanted: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("millpond.toml");
    std::fs::write(&file, format!("[cluster]\n{section}\n")).expect("the folder can be written");
    let file = file.to_str().expect("the path is text");
    let run = millpond(folder.path(), &["check-config", "--config", file]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    for text in wanted {
        assert!(run.stderr.contains(text), "{text} in {}", run.stderr);
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    assert_mistakes(
        "peers = [\"10.0.0.12\"]\nadvertise = \"ftp://10.0.0.11\"\nsecret = \"short\"",
        &["cluster.peers", "cluster.advertise", "cluster.secret"],
    );
}

#[test]
fn each_mistake_names_its_key() {
    for (section, wanted) in [
        ("peers = [\"http://10.0.0.12:8080\"]", "cluster.secret"),
        ("advertise = \"http://10.0.0.11:8080\"", "cluster.secret"),
        ("secret = \"short\"", "at least 16 bytes"),
        ("peers = [\"http://user:pw@10.0.0.12\"]", "cluster.peers"),
        ("peers = [\"http://10.0.0.12/?a\"]", "cluster.peers"),
        ("peer = []", "peer"),
        (
            "advertise = \"http://10.0.0.11\"\nredis_url = \"redis://10.0.0.5\"",
            "cluster.secret",
        ),
        (
            "redis_url = \"redis://10.0.0.5\"",
            "cluster.advertise: must be set",
        ),
        ("redis_url = \"rediss://10.0.0.5\"", "no TLS for Redis"),
        ("redis_url = \"http://10.0.0.5\"", "cluster.redis_url"),
        (
            "redis_url_file = \"/nonexistent/url\"",
            "cluster.redis_url_file",
        ),
        (
            "secret_file = \"/nonexistent/secret\"",
            "cluster.secret_file",
        ),
    ] {
        assert_mistakes(section, &[wanted]);
    }
    let many: Vec<_> = (0..33).map(|at| format!("http://10.0.0.{at}:80")).collect();
    assert_mistakes(
        &format!("secret = {SECRET:?}\npeers = {many:?}"),
        &["at most 32"],
    );
}

#[test]
fn secret_may_be_in_a_file() {
    let builder = node("own", free_address("127.0.0.39"), &[]);
    let file = builder.folder().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).expect("the folder can be written");
    let file = file.to_str().expect("the path is text").to_owned();
    let builder = builder.text("cluster.secret", "");
    let gateway: Gateway = builder.text("cluster.secret_file", &file).start();
    let mark = key(SECRET).mark(POLL_REQUEST, std::time::SystemTime::now());
    let request = gateway.request("GET", NODE_PATH);
    let request = request.header(MARK_FIELD, &mark.value);
    request.send().assert_status(200);
}
