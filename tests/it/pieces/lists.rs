//! Lists of pieces: computed in the background, kept beside the object, and computed anew if they
//! are lost or damaged.

use std::fs;
use std::path::PathBuf;

use super::stage::{
    PATH, PIECE, SIZE, await_pieces, metalink, metalink_path, object_path, origin, store,
};
use crate::harness::{Gateway, Origin, Reply, archive, eventually, rot, sha256};

fn list_of(gateway: &Gateway, body: &[u8]) -> PathBuf {
    let name = sha256(body);
    gateway.cache().join("pieces").join(&name[..2]).join(name)
}

#[test]
fn published_object_gets_pieces() {
    let (origin, body) = origin(1);
    let gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    let document = metalink(&gateway, &body);
    let list = document.pieces.expect("they are computed");
    let found: Vec<_> = list.digests().iter().map(ToString::to_string).collect();
    let wanted: Vec<_> = body.chunks(PIECE).map(sha256).collect();
    assert_eq!(found, wanted);
    // Frame, and 32 and 20 bytes for each piece.
    let length = fs::metadata(list_of(&gateway, &body))
        .expect("it is stored")
        .len();
    assert_eq!(length, 48 + 17 * 52);
}

#[test]
fn small_object_has_document_without_pieces() {
    let (origin, body) = (Origin::start(), archive(2, 15 * PIECE));
    let gateway = Gateway::relaying(&origin);
    origin.serve("/small-1.tar.gz", Reply::file(&body));
    let url = origin.url("/small-1.tar.gz");
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    // The queue has one order, so that a later object shows that the small one is not in it.
    let large = archive(3, SIZE);
    origin.serve(PATH, Reply::file(&large));
    assert_eq!(metalink(&gateway, &body).pieces, None);
    store(&gateway, &origin, &large);
    let document = metalink(&gateway, &body);
    assert_eq!((document.pieces, document.size_bytes), (None, 15 << 20));
    assert!(!list_of(&gateway, &body).exists());
}

#[test]
fn lost_and_damaged_lists_are_computed_anew() {
    let (origin, body) = origin(4);
    let mut gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    let (path, right) = (list_of(&gateway, &body), metalink(&gateway, &body));
    let whole = fs::read(&path).expect("it is stored");
    fs::remove_file(&path).expect("it exists");
    assert_eq!(metalink(&gateway, &body).pieces, None);
    assert_eq!(await_pieces(&gateway, &body), right);
    for damage in [whole.len() / 2, 9] {
        let mut bytes = whole.clone();
        bytes[damage] ^= 1;
        fs::write(&path, bytes).expect("it can be written");
        assert_eq!(metalink(&gateway, &body).pieces, None);
        assert_eq!(await_pieces(&gateway, &body), right);
    }
    // After a restart, no client asks. The index shows what is missing.
    fs::remove_file(&path).expect("it exists");
    gateway.kill9();
    gateway.restart();
    eventually("the list is stored", || {
        fs::read(&path).ok().filter(|bytes| *bytes == whole)
    });
}

#[test]
fn corrupt_object_gets_no_pieces() {
    let (origin, body) = origin(5);
    let mut gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    gateway.stop();
    fs::remove_file(list_of(&gateway, &body)).expect("it exists");
    rot(&gateway, &body);
    gateway.restart();
    let other = archive(6, SIZE);
    origin.serve("/pub/y-1.0.tar.gz", Reply::file(&other));
    // The other object is computed after the first one, which this request has queued.
    gateway
        .request("GET", &metalink_path(&body))
        .send()
        .assert_status(200);
    let url = origin.url("/pub/y-1.0.tar.gz");
    gateway.assert_serves(&url, &other);
    await_pieces(&gateway, &other);
    assert_eq!(metalink(&gateway, &body).pieces, None);
    assert!(!list_of(&gateway, &body).exists());
}

#[test]
fn removed_object_takes_its_list_along() {
    let (origin, body) = origin(7);
    let gateway = Gateway::relaying(&origin);
    store(&gateway, &origin, &body);
    assert!(list_of(&gateway, &body).exists());
    let removed = gateway.operate("DELETE", &object_path(&body)).send();
    removed.assert_status(200);
    assert!(!list_of(&gateway, &body).exists());
    gateway
        .request("GET", &metalink_path(&body))
        .send()
        .assert_status(404);
}
