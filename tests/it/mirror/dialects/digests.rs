//! Dialects that ask for a file by a digest.

use base64::Engine as _;

use super::stage::{NAME, Stage, base32};
use crate::harness::{Ended, Reply, archive, files_under, rot};

#[test]
fn nix_asks_by_hex_base32_and_base64() {
    let stage = Stage::new();
    stage.import();
    stage.assert_row(
        &format!("/mirror/nix/sha256/{}", stage.sha256()),
        &format!("/mirror/nix/sha256/{}", "ab".repeat(32)),
    );
    let integrity = base64::engine::general_purpose::STANDARD
        .encode(hex::decode(stage.sha256()).expect("it is hexadecimal"));
    for path in [
        format!("sha256/{}", base32(&stage.sha256())),
        format!("sha512/{}", stage.sha512()),
        format!("sha512/{}", base32(&stage.sha512())),
        format!("sha1/{}", base32(&stage.sha1())),
        format!("/sha256-{integrity}"),
    ] {
        stage.assert_hit(&format!("/mirror/nix/{path}"));
    }
}

#[test]
fn guix_asks_by_file_and_digest() {
    let stage = Stage::new();
    stage.import();
    let digest = base32(&stage.sha256());
    stage.assert_row(
        &format!("/mirror/guix/file/{NAME}/sha256/{digest}"),
        &format!("/mirror/guix/file/{NAME}/sha256/{}", "0".repeat(52)),
    );
    stage.assert_hit(&format!("/mirror/guix/sha256/{digest}"));
}

#[test]
fn opam_asks_by_each_algorithm() {
    let stage = Stage::new();
    stage.import();
    let path = |name: &str, hex: &str| format!("/mirror/opam/{name}/{}/{hex}", &hex[..2]);
    stage.assert_row(
        &path("sha512", &stage.sha512()),
        &path("md5", &"ab".repeat(16)),
    );
    stage.assert_hit(&path("md5", &stage.md5()));
    stage.assert_hit(&path("sha256", &stage.sha256()));
}

#[test]
fn lookaside_asks_by_name_and_digest() {
    let stage = Stage::new();
    stage.import();
    let fedora = "/mirror/fedora/repo/pkgs/hello";
    let (sha512, md5) = (stage.sha512(), stage.md5());
    stage.assert_row(
        &format!("{fedora}/{NAME}/sha512/{sha512}/{NAME}"),
        &format!("{fedora}/{NAME}/sha512/{}/{NAME}", "ab".repeat(64)),
    );
    stage.assert_hit(&format!("{fedora}/{NAME}/{md5}/{NAME}"));
    let centos = "/mirror/centos/sources/rpms/hello";
    stage.assert_hit(&format!("{centos}/{NAME}/sha512/{sha512}/{NAME}"));
    let sha1 = stage.sha1();
    stage.assert_hit(&format!("/mirror/centos/sources/hello/c7/{sha1}"));
    stage.assert_hit(&format!("/mirror/centos/{}", stage.sha256()));
}

#[test]
fn spack_asks_source_cache_by_digest() {
    let stage = Stage::new();
    stage.import();
    let folder = "/mirror/spack/_source-cache/archive";
    let hex = stage.sha256();
    let unknown = "ab".repeat(32);
    stage.assert_row(
        &format!("{folder}/{}/{hex}.tar.gz", &hex[..2]),
        &format!("{folder}/ab/{unknown}.tar.gz"),
    );
    stage.assert_hit(&format!("{folder}/{}/{hex}", &hex[..2]));
}

#[test]
fn vcpkg_asks_by_sha512() {
    let stage = Stage::new();
    stage.import();
    let path = format!("/mirror/vcpkg/{}", stage.sha512());
    stage.assert_row(&path, &format!("/mirror/vcpkg/{}", "ab".repeat(64)));
    stage.assert_hit(&format!("{path}?sv=2019&sig=x"));
}

#[test]
fn conan_asks_for_file_and_references() {
    let stage = Stage::new();
    stage.import();
    let unknown = format!("/mirror/conan/{}", "ab".repeat(32));
    let path = format!("/mirror/conan/{}", stage.sha256());
    stage.assert_row(&path, &unknown);
    stage.get(&format!("{unknown}.json")).assert_problem(404);
    let references = stage.get(&format!("{path}.json")).json();
    assert_eq!(references["references"], serde_json::json!({}));
    assert!(references["timestamp"].is_u64(), "{references}");
}

#[test]
fn wrong_bytes_are_not_served() {
    let other = archive(99, 300_000);
    let stage = Stage::of(|_| Reply::file(&other));
    stage.import();
    let path = format!("/mirror/conan/{}", stage.sha256());
    let first = stage.get(&path);
    assert!(first.status == 404 || first.ended != Ended::Whole);
    assert!(first.body.len() < other.len(), "the end is withheld");
    stage.get(&path).assert_problem(404);
    // The name alone promises the same bytes.
    stage
        .get(&format!("/mirror/openwrt/{NAME}"))
        .assert_problem(404);
}

#[test]
fn corrupt_object_is_not_served() {
    let mut stage = Stage::new();
    stage.import();
    let path = format!("/mirror/nix/sha256/{}", stage.sha256());
    stage.assert_row(&path, "/mirror/nix/sha256/ab");
    rot(&stage.gateway, &stage.body);
    // The object was hashed when it was stored.
    stage.gateway.restart();
    stage.get(&path).assert_body(200, &stage.body);
    let asked = stage.origin.total();
    assert_eq!(asked, 2, "the corrupt object was fetched again");
}

#[test]
fn stored_file_is_found_by_all_digests() {
    let stage = Stage::new();
    let url = stage.origin.url(&stage.path);
    stage.gateway.assert_serves(&url, &stage.body);
    stage.gateway.await_stored(&url);
    let by_sha256 = format!("/mirror/nix/sha256/{}", stage.sha256());
    stage.assert_hit(&by_sha256);
    // A name and a digest that was not computed yet.
    let sha512 = stage.sha512();
    let by_name = format!("/mirror/fedora/pkgs/hello/{NAME}/sha512/{sha512}/{NAME}");
    stage.assert_hit(&by_name);
    assert_eq!(files_under(&stage.gateway.cache().join("digests")).len(), 1);
    for path in [
        format!("/mirror/vcpkg/{sha512}"),
        format!("/mirror/centos/{}", stage.sha1()),
        format!("/mirror/opam/md5/{}/{}", &stage.md5()[..2], stage.md5()),
    ] {
        stage.assert_hit(&path);
    }
}

#[test]
fn digests_are_computed_in_background() {
    let mut stage = Stage::new();
    let url = stage.origin.url(&stage.path);
    stage.gateway.assert_serves(&url, &stage.body);
    stage.gateway.await_stored(&url);
    let path = format!("/mirror/vcpkg/{}", stage.sha512());
    stage.get(&path).assert_problem(404);
    stage.gateway.restart();
    stage.gateway.log().wait_for("the digests", |event| {
        event["message"] == "computed digests for the catalog"
    });
    stage.assert_hit(&path);
}
