//! Torrent files: which pieces and web seeds they have, and that aria2 downloads with them.

use std::fs;

use sha1::{Digest as _, Sha1};

use super::stage::{PATH, PIECE, SIZE, metalink, metalink_path, object_path, origin, store};
use crate::cluster::stage::{await_state, free_address, node, url_of};
use crate::harness::{
    Body, Gateway, Origin, Reply, Tool, archive, assert_same, eventually, sha256,
};

fn torrent_path(body: &[u8]) -> String {
    object_path(body) + "/torrent"
}

/// Waits until the gateway has the torrent of an object, and returns it.
#[track_caller]
fn await_torrent(gateway: &Gateway, body: &[u8]) -> Vec<u8> {
    eventually("the torrent is there", || {
        let answer = gateway.request("GET", &torrent_path(body)).send();
        (answer.status == 200).then_some(answer.body)
    })
}

/// Returns the torrent that a file has, with these web seeds.
fn expected(name: &str, body: &[u8], seeds: &[String]) -> Vec<u8> {
    let text = |text: &str| format!("{}:{text}", text.len());
    let program = format!("Millpond/{}", env!("CARGO_PKG_VERSION"));
    let comment = format!("SHA-256 of the file: {}", sha256(body));
    let pieces: Vec<u8> = body.chunks(PIECE).flat_map(Sha1::digest).collect();
    let head = format!(
        "d{}{}{}{}4:infod6:lengthi{}e4:name{}12:piece lengthi{PIECE}e6:pieces{}:",
        text("comment"),
        text(&comment),
        text("created by"),
        text(&program),
        body.len(),
        text(name),
        pieces.len()
    );
    let seeds: String = seeds.iter().map(|seed| text(seed)).collect();
    let tail = format!("7:privatei0ee8:url-listl{seeds}ee");
    [head.as_bytes(), &pieces, tail.as_bytes()].concat()
}

fn assert_torrent(found: &[u8], wanted: &[u8]) {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(found == wanted, "{}\n{}", shown(found), shown(wanted));
}

/// Fetches a file of this size, and returns its torrent with the expected one.
fn torrent_of(size: usize, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let (origin, body) = (Origin::start(), archive(seed, size));
    origin.serve(PATH, Reply::file(&body));
    let gateway = Gateway::relaying(&origin);
    gateway.assert_serves(&origin.url(PATH), &body);
    let own = gateway.url(&object_path(&body));
    (
        await_torrent(&gateway, &body),
        expected("x-1.0.tar.gz", &body, &[own]),
    )
}

#[test]
fn torrent_has_pieces_and_one_web_seed() {
    let (found, wanted) = torrent_of(SIZE, 41);
    assert_torrent(&found, &wanted);
}

#[test]
fn whole_pieces_have_no_empty_last_sha1() {
    let (found, wanted) = torrent_of(16 * PIECE, 42);
    let pieces = format!("6:pieces{}:", 16 * 20);
    assert!(
        wanted
            .windows(pieces.len())
            .any(|part| part == pieces.as_bytes())
    );
    assert_torrent(&found, &wanted);
}

#[test]
fn aria2_downloads_from_web_seed() {
    let (origin, body) = origin(43);
    let gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = gateway.url(&torrent_path(&body));
    let aria2 = Tool::aria2c(folder.path()).args(&[
        "--enable-dht=false",
        "--bt-enable-lpd=false",
        "--seed-time=0",
        &url,
    ]);
    aria2.run().assert_success();
    let file = folder.path().join("x-1.0.tar.gz");
    assert_same(&fs::read(file).expect("it is there"), &body);
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn ready_peers_are_web_seeds() {
    let (origin, body) = origin(44);
    let (own, other) = (free_address("127.0.0.201"), free_address("127.0.0.202"));
    let first = node("first", own, &[other]).origin(&origin).start();
    store(&first, &origin, &body);
    let second = node("second", other, &[own]).origin(&origin).start();
    await_state(&first, other, "ready");
    second.assert_serves(&origin.url(PATH), &body);
    second.await_stored(&origin.url(PATH));
    let seeds = [other, own].map(|address| url_of(address) + &object_path(&body));
    let wanted = expected("x-1.0.tar.gz", &body, &seeds);
    // The answers of the peers are remembered for 15 seconds.
    eventually("the peer is listed", || {
        (await_torrent(&first, &body) == wanted).then_some(())
    });
}

#[test]
fn list_without_sha1_is_replaced() {
    let (origin, body) = origin(45);
    let gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    let whole = await_torrent(&gateway, &body);
    let name = sha256(&body);
    let path = gateway.cache().join("pieces").join(&name[..2]).join(&name);
    let list = fs::read(&path).expect("it is stored");
    // As the version before has stored it.
    let mut old = b"pieces1\n".to_vec();
    old.extend(&list[8..16 + 17 * 32]);
    let check = [hex::decode(&name).expect("it is hexadecimal"), old.clone()].concat();
    old.extend(hex::decode(sha256(&check)).expect("it is hexadecimal"));
    fs::write(&path, old).expect("the file can be written");
    let pieces = metalink(&gateway, &body).pieces;
    let digests = pieces.as_ref().map_or(0, |list| list.digests().len());
    assert_eq!(digests, 17, "the old list is valid");
    assert_torrent(&await_torrent(&gateway, &body), &whole);
    assert_eq!(fs::read(&path).expect("it is stored"), list);
}

#[test]
fn torrent_has_entity_tag_and_media_type() {
    let (origin, body) = origin(46);
    let gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    let path = torrent_path(&body);
    let answer = gateway.request("GET", &path).send();
    answer.assert_status(200);
    assert_eq!(answer.wants("content-type"), "application/x-bittorrent");
    let tag = answer.wants("etag").to_owned();
    let head = gateway.request("HEAD", &path).send();
    head.assert_status(200);
    assert_eq!((head.wants("etag"), head.body.len()), (&*tag, 0));
    let again = gateway.request("GET", &path).header("If-None-Match", &tag);
    again.send().assert_status(304);
    let document = gateway.request("GET", &metalink_path(&body)).send();
    assert_ne!(document.wants("etag"), tag);
    gateway.request("DELETE", &path).send().assert_status(405);
    for (name, value) in [("Host", "foreign.example"), ("Authorization", "Bearer x")] {
        let status = |path: &str| {
            let request = gateway.request("GET", path).header(name, value);
            request.send().status
        };
        assert_eq!(status(&path), status(&object_path(&body)), "{name}");
        assert_ne!(status(&path), 200, "{name}");
    }
}

#[test]
fn small_object_has_no_torrent() {
    let (origin, body): (Origin, Body) = (Origin::start(), archive(47, PIECE));
    origin.serve(PATH, Reply::file(&body));
    let gateway = Gateway::relaying(&origin);
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    let answer = gateway.request("GET", &torrent_path(&body)).send();
    answer.assert_status(404);
    assert!(
        answer.text().contains("16 MiB to 64 GiB"),
        "{}",
        answer.text()
    );
    let missing = format!("/api/v1/objects/sha256/{}/torrent", sha256(b"unknown"));
    gateway.request("GET", &missing).send().assert_status(404);
    let invalid = "/api/v1/objects/sha256/12/torrent";
    gateway.request("GET", invalid).send().assert_status(400);
}

#[test]
fn pieces_in_computation_are_awaited_with_retry() {
    let (origin, body) = origin(48);
    let mut gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    gateway.stop();
    let name = sha256(&body);
    let path = gateway.cache().join("pieces").join(&name[..2]).join(&name);
    fs::remove_file(&path).expect("it exists");
    // Nothing can be stored there, so that the pieces stay unknown.
    fs::create_dir(&path).expect("a folder can be made");
    gateway.restart();
    let answer = gateway.request("GET", &torrent_path(&body)).send();
    answer.assert_status(503);
    assert_eq!(answer.wants("retry-after"), "5");
    gateway.stop();
    fs::remove_dir(&path).expect("the folder is empty");
    gateway.restart();
    await_torrent(&gateway, &body);
}
