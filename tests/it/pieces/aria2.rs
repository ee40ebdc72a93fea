//! aria2 takes the document of a gateway, and finds wrong pieces with it.

use std::fs;

use super::stage::{LyingNode, PATH, SIZE, metalink_path, origin, store};
use crate::cluster::stage::{await_state, free_address, node};
use crate::harness::{Reply, Tool, archive, assert_same};

/// Small pieces of work, so that aria2 uses several sources of a file of this size.
const MANY_SOURCES: [&str; 2] = ["--split=4", "--min-split-size=1M"];

#[test]
fn aria2_survives_bad_node_and_mirror() {
    let (origin, body) = origin(31);
    let wrong = archive(32, SIZE);
    let liar = LyingNode::start("127.0.0.86", &wrong);
    let own = free_address("127.0.0.87");
    let gateway = node("first", own, &[liar.address]).origin(&origin).start();
    await_state(&gateway, liar.address, "ready");
    store(&gateway, &origin, &body);
    // The origin is bad too by now.
    origin.serve(PATH, Reply::file(&wrong).ranges());
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = gateway.url(&metalink_path(&body));
    let aria2 = Tool::aria2c(folder.path()).args(&MANY_SOURCES);
    let run = aria2.args(&["--max-tries=5", &url]).run();
    run.assert_success();
    assert_same(
        &fs::read(folder.path().join("x-1.0.tar.gz")).expect("it is there"),
        &body,
    );
    assert!(!liar.asked().is_empty(), "the bad node comes first");
}
