//! The catalog: imports, searches, and its file.

use std::fs;
use std::path::Path;

use super::stage::{NAME, Stage};
use crate::harness::{Gateway, Origin, Reply, archive, eventually, files_under};

fn remove_catalog(cache: &Path) {
    for ending in ["", "-wal", "-shm"] {
        // The last two exist only while the file is open.
        drop(fs::remove_file(
            cache.join(format!("catalog.sqlite{ending}")),
        ));
    }
}

#[test]
fn lost_catalog_is_filled_from_files() {
    let mut stage = Stage::new();
    stage.import();
    let url = stage.origin.url(&stage.path);
    stage.gateway.assert_serves(&url, &stage.body);
    stage.gateway.await_stored(&url);
    let listed = archive(8, 3000);
    stage
        .origin
        .serve("/listed-1.0.tar.gz", Reply::file(&listed));
    let line = format!(
        "{}  {}\n",
        crate::harness::sha256(&listed),
        stage.origin.url("/listed-1.0.tar.gz")
    );
    let import = stage.gateway.operate("PUT", "/api/v1/catalog");
    import.body(line.as_bytes()).send().assert_status(200);
    for is_killed in [false, true] {
        if is_killed {
            stage.gateway.kill9();
        } else {
            stage.gateway.stop();
        }
        remove_catalog(stage.gateway.cache());
        stage.gateway.restart();
        let log = stage.gateway.log();
        log.wait_for("the scan", |event| {
            event["message"] == "filled catalog from the files" && event["added"] == 1
        });
        stage.assert_hit(&format!("/mirror/openwrt/{NAME}"));
    }
    let path = "/mirror/openwrt/listed-1.0.tar.gz";
    stage.get(path).assert_body(200, &listed);
}

#[test]
fn damaged_catalog_is_replaced() {
    let mut stage = Stage::new();
    let url = stage.origin.url(&stage.path);
    stage.gateway.assert_serves(&url, &stage.body);
    stage.gateway.await_stored(&url);
    stage.gateway.stop();
    remove_catalog(stage.gateway.cache());
    let file = stage.gateway.cache().join("catalog.sqlite");
    fs::write(&file, archive(1, 100_000)).expect("the file can be written");
    stage.gateway.restart();
    eventually("the catalog is filled", || {
        let answer = stage.get(&format!("/mirror/openwrt/{NAME}"));
        (answer.status == 200).then_some(())
    });
}

#[test]
fn removed_target_leaves_catalog() {
    let stage = Stage::new();
    let url = stage.origin.url(&stage.path);
    stage.gateway.assert_serves(&url, &stage.body);
    stage.gateway.await_stored(&url);
    let path = format!("/api/v1/objects?url={url}");
    stage
        .gateway
        .operate("DELETE", &path)
        .send()
        .assert_status(200);
    let path = format!("/mirror/openwrt/{NAME}");
    stage.get(&path).assert_problem(404);
    assert_eq!(stage.origin.total(), 1);
}

#[test]
fn bad_line_imports_nothing() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let hex = "ab".repeat(32);
    let good = format!("{hex}  https://example.org/x-1.0.tar.gz\n");
    for (format, list, wanted) in [
        ("sums", format!("{good}nonsense\n"), "line 2"),
        ("fedora-sources", "SHA512 (x) = ab\n".to_owned(), "line 1"),
        (
            "gentoo-manifest",
            "\nDIST x y SHA512 ab\n".to_owned(),
            "line 2",
        ),
        ("buildroot-hash", format!("sha256 {hex}\n"), "line 1"),
        ("distinfo", "SIZE (x) = y\n".to_owned(), "line 1"),
        ("conandata", "sources:\n  x\n".to_owned(), "line 2"),
        ("nix-fetchurl", "{ }\n".to_owned(), "no file"),
        ("toml", good.clone(), "nix-fetchurl"),
    ] {
        let request = gateway.operate("PUT", &format!("/api/v1/catalog?format={format}"));
        let answer = request.body(list.as_bytes()).send();
        answer.assert_problem(400);
        assert!(
            answer.text().contains(wanted),
            "{format}: {}",
            answer.text()
        );
    }
    let search = gateway.operate("GET", "/api/v1/catalog?name=x-1.0.tar.gz");
    assert_eq!(
        search.send().json()["entries"].as_array().map(Vec::len),
        Some(0)
    );
    assert!(files_under(&gateway.cache().join("catalog")).is_empty());
    let import = gateway.request("PUT", "/api/v1/catalog");
    import.body(good.as_bytes()).send().assert_problem(401);
    gateway
        .request("GET", "/api/v1/catalog?name=x")
        .send()
        .assert_problem(401);
}

#[test]
fn commands_import_and_search() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (hex, sha512) = ("ab".repeat(32), "cd".repeat(64));
    let write = |name: &str, text: String| {
        fs::write(folder.path().join(name), text).expect("a file can be written");
    };
    write(
        "sums.txt",
        format!("{hex}  https://example.org/x-1.0.tar.gz\n"),
    );
    write("sources", format!("SHA512 (y-1.0.tar.gz) = {sha512}\n"));
    write("bad.txt", "nonsense\n".to_owned());
    let run = |arguments: &[&str]| gateway.run_command(folder.path(), arguments);
    run(&["catalog", "import", "sums.txt", "sources"]).assert_success();
    let found = run(&["catalog", "search", "x-1.0.tar.gz"]);
    found.assert_success();
    assert!(
        found.stdout.contains("https://example.org/x-1.0.tar.gz"),
        "{}",
        found.stdout
    );
    let found = run(&["--json", "catalog", "search", &format!("sha512:{sha512}")]);
    assert!(
        found.stdout.contains("\"name\":\"y-1.0.tar.gz\""),
        "{}",
        found.stdout
    );
    let missing = run(&["catalog", "search", "z-1.0.tar.gz"]);
    assert_eq!(missing.code, Some(3));
    let bad = run(&["catalog", "import", "bad.txt"]);
    assert_eq!(bad.code, Some(1));
    assert!(bad.stderr.contains("bad.txt: line 1"), "{}", bad.stderr);
}
