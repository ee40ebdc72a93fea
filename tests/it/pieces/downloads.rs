//! `millpond get --connections`: checked pieces from several sources.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::stage::{LyingNode, PATH, PIECE, SIZE, origin, store};
use crate::cluster::stage::{await_state, free_address, node, url_of};
use crate::harness::{
    Gateway, Origin, Reply, Run, archive, assert_same, eventually, millpond, sha256,
};

const NAME: &str = "x-1.0.tar.gz";

/// Rate of a node that other sources answer in time for. A whole file takes a second.
const RATE: &str = "16MiB";

fn get(folder: &Path, gateway: &Gateway, connections: &str, url: &str) -> Run {
    let at = gateway.url("");
    let arguments = [
        "get",
        "--json",
        "--gateway",
        &at,
        "--connections",
        connections,
        url,
    ];
    millpond(folder, &arguments)
}

/// Returns the sources of a download.
#[track_caller]
fn sources(run: &Run) -> Vec<Value> {
    run.assert_success();
    let document = run.documents().pop().expect("a document is printed");
    document["sources"].as_array().cloned().unwrap_or_default()
}

fn bytes_of(source: &Value) -> u64 {
    source["size_bytes"].as_u64().expect("it is a number")
}

#[test]
fn lying_node_is_named_and_costs_its_pieces() {
    let (origin, body) = origin(21);
    let liar = LyingNode::start("127.0.0.85", &archive(22, SIZE));
    let (one, two) = (free_address("127.0.0.83"), free_address("127.0.0.84"));
    // Both take so long that the lying node answers before they have sent all pieces.
    let first = node("first", one, &[liar.address, two])
        .text("limits.bandwidth", RATE)
        .origin(&origin)
        .start();
    let second = node("second", two, &[])
        .text("limits.bandwidth", RATE)
        .origin(&origin)
        .start();
    second.assert_serves(&origin.url(PATH), &body);
    second.await_stored(&origin.url(PATH));
    await_state(&first, liar.address, "ready");
    await_state(&first, two, "ready");
    store(&first, &origin, &body);
    // The node itself may have asked the lying node for pieces.
    let (asked, asked_liar) = (origin.count(PATH), liar.asked().len());
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = get(folder.path(), &first, "3", &origin.url(PATH));
    let sources = sources(&run);
    assert_same(
        &fs::read(folder.path().join(NAME)).expect("it is there"),
        &body,
    );
    let of = |address| {
        let at = url_of(address);
        let found = sources
            .iter()
            .find(|source| source["url"].as_str().unwrap().starts_with(&at));
        found.expect("the node is a source")
    };
    assert_eq!(bytes_of(of(liar.address)), 0);
    assert_eq!(liar.asked().len() - asked_liar, 1);
    assert_eq!(of(liar.address)["dropped"], "piece 0 has wrong bytes");
    let notice = format!("millpond: {}/api/v1/objects/sha256/", url_of(liar.address));
    assert!(run.stderr.contains(&notice), "{}", run.stderr);
    assert!(
        run.stderr
            .contains("piece 0 has wrong bytes; source dropped"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(
        bytes_of(of(one)) > 0 && bytes_of(of(two)) > 0,
        "{sources:?}"
    );
    let total: u64 = sources.iter().map(bytes_of).sum();
    assert_eq!(total, SIZE as u64);
    // The next source has replaced the lying node.
    assert!(origin.count(PATH) <= asked + 17);
}

#[test]
fn origin_is_used_beside_one_node() {
    let (origin, body) = origin(23);
    // The node takes so long that the origin answers before it has sent all pieces.
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.text("limits.bandwidth", RATE).start();
    store(&gateway, &origin, &body);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let sources = sources(&get(folder.path(), &gateway, "2", &origin.url(PATH)));
    assert_same(
        &fs::read(folder.path().join(NAME)).expect("it is there"),
        &body,
    );
    assert_eq!(sources[1]["url"], origin.url(PATH));
    assert!(
        bytes_of(&sources[0]) > 0 && bytes_of(&sources[1]) > 0,
        "{sources:?}"
    );
}

#[test]
fn killed_get_resumes_checked_pieces() {
    let (origin, body) = origin(24);
    let slow = |builder: crate::harness::Builder| builder.text("limits.bandwidth", "8MiB");
    let gateway = slow(Gateway::builder().origin(&origin).relay()).start();
    store(&gateway, &origin, &body);
    // Only the gateway is left, whose rate is bounded.
    origin.serve(PATH, Reply::status(404));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let part = folder.path().join(format!("{NAME}.millpond.part"));
    let mut child = start_get(folder.path(), &gateway, &origin.url(PATH));
    let complete_pieces = || {
        let bytes = fs::read(&part).unwrap_or_default();
        let pieces = bytes.chunks_exact(PIECE).enumerate();
        let complete = pieces.filter(|(at, piece)| **piece == body[at * PIECE..][..PIECE]);
        complete.map(|(at, _)| at).collect::<Vec<_>>()
    };
    eventually("some pieces are there", || {
        (complete_pieces().len() >= 4).then_some(())
    });
    child.kill().expect("the child runs");
    child.wait().expect("the child has ended");
    // The disk has lost a byte since.
    let complete = complete_pieces();
    assert!(
        complete.len() < SIZE / PIECE,
        "the download was too fast to be killed"
    );
    let mut bytes = fs::read(&part).expect("it is there");
    bytes[complete[1] * PIECE + 5] ^= 1;
    fs::write(&part, bytes).expect("it can be written");
    let run = get(folder.path(), &gateway, "2", &origin.url(PATH));
    let sources = sources(&run);
    assert_same(
        &fs::read(folder.path().join(NAME)).expect("it is there"),
        &body,
    );
    let fetched: u64 = sources.iter().map(bytes_of).sum();
    let kept = (complete.len() - 1) * PIECE;
    assert_eq!(fetched, (SIZE - kept) as u64);
    assert!(!part.exists());
}

fn start_get(folder: &Path, gateway: &Gateway, url: &str) -> Child {
    let at = gateway.url("");
    Command::new(env!("CARGO_BIN_EXE_millpond"))
        .args(["get", "--gateway", &at, "--connections", "2", url])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary can be started")
}

#[test]
fn file_without_pieces_comes_over_one_connection() {
    let (origin, body) = (Origin::start(), archive(25, 300_000));
    let gateway = Gateway::relaying(&origin);
    origin.serve(PATH, Reply::file(&body));
    let folder = tempfile::tempdir().expect("a folder can be made");
    // First a miss, then a hit.
    for _ in 0..2 {
        let run = get(folder.path(), &gateway, "4", &origin.url(PATH));
        assert!(
            sources(&run).is_empty() && run.stderr.is_empty(),
            "{}",
            run.stderr
        );
        let file = folder.path().join(NAME);
        assert_same(&fs::read(&file).expect("it is there"), &body);
        fs::remove_file(file).expect("it is there");
        gateway.await_stored(&origin.url(PATH));
    }
    let to_stdout = ["get", "--connections", "2", "-o", "-", &origin.url(PATH)];
    let run = gateway.run_command(folder.path(), &to_stdout);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
}

#[test]
fn wrong_list_never_outweighs_whole_digest() {
    let (origin, body) = origin(26);
    let gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    let name = sha256(&body);
    let path = gateway.cache().join("pieces").join(&name[..2]).join(&name);
    // A list of another file, which is consistent in itself.
    let other = archive(27, SIZE);
    let mut list = b"pieces1\n".to_vec();
    list.extend((SIZE as u64).to_le_bytes());
    for piece in other.chunks(PIECE) {
        list.extend(hex::decode(sha256(piece)).expect("it is hexadecimal"));
    }
    let named = [hex::decode(&name).expect("it is hexadecimal"), list.clone()].concat();
    list.extend(hex::decode(sha256(&named)).expect("it is hexadecimal"));
    fs::write(path, list).expect("it can be written");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = get(folder.path(), &gateway, "2", &origin.url(PATH));
    assert!(sources(&run).is_empty());
    assert!(
        run.stderr.contains("fetching the rest over one connection"),
        "{}",
        run.stderr
    );
    assert_same(
        &fs::read(folder.path().join(NAME)).expect("it is there"),
        &body,
    );
    // Origins that send what the list says do not get it into the file either.
    origin.serve(PATH, Reply::file(&other).ranges());
    fs::remove_file(folder.path().join(NAME)).expect("it is there");
    let run = get(folder.path(), &gateway, "2", &origin.url(PATH));
    run.assert_success();
    assert_same(
        &fs::read(folder.path().join(NAME)).expect("it is there"),
        &body,
    );
}

#[test]
fn sources_that_fail_are_replaced() {
    let (origin, body) = origin(28);
    let builder = Gateway::builder().origin(&origin).relay();
    let gateway = builder.text("limits.bandwidth", RATE).start();
    store(&gateway, &origin, &body);
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (reply, reason) in [
        (Reply::status(404), "404 Not Found"),
        (
            Reply::file(&body).ranges_ignored(),
            "the source sends no parts",
        ),
        (
            Reply::file(&body)
                .ranges()
                .wrong_content_range("bytes 0-1/2"),
            "another part than the requested one",
        ),
        (Reply::file(&body).ranges().cut_at(100), "the response"),
    ] {
        origin.serve(PATH, reply);
        let run = get(folder.path(), &gateway, "2", &origin.url(PATH));
        let sources = sources(&run);
        let file = folder.path().join(NAME);
        assert_same(&fs::read(&file).expect("it is there"), &body);
        fs::remove_file(file).expect("it is there");
        assert_eq!(bytes_of(&sources[0]), SIZE as u64, "{reason}: {sources:?}");
        if let Some(dropped) = sources[1]["dropped"].as_str() {
            assert!(dropped.contains(reason), "{dropped}");
        } else {
            // The rest came before the third failure.
            assert_eq!(reason, "the response");
        }
    }
}
