//! Imported lists of the catalog: many of them, damaged ones, and their removal.

use std::fmt::Write as _;
use std::fs;

use super::stage::{NAME, Stage};
use crate::harness::{Gateway, Scene, archive, eventually, files_under, sha256};

/// More entries than a look-up returns.
const MANY: usize = 70;

/// Imports lines of `<hex>  <URL>`. Returns the digest of the list.
#[track_caller]
fn import(gateway: &Gateway, list: &str) -> String {
    let request = gateway.operate("PUT", "/api/v1/catalog?format=sums");
    let imported = request.body(list.as_bytes()).send().json();
    let name = imported["list"].as_str();
    name.unwrap_or_else(|| panic!("{imported}")).to_owned()
}

#[test]
fn listed_entries_hide_no_stored_file() {
    let stage = Stage::new();
    let hex = stage.sha256();
    let mut list = String::new();
    for number in 0..MANY {
        writeln!(list, "{hex}  https://other{number}.example.org/{NAME}").expect("it is memory");
    }
    import(&stage.gateway, &list);
    let url = stage.origin.url(&stage.path);
    stage.gateway.assert_serves(&url, &stage.body);
    stage.gateway.await_stored(&url);
    stage.assert_hit(&format!("/mirror/nix/sha256/{hex}"));
}

#[test]
fn name_with_very_many_digests_needs_digest() {
    let stage = Stage::new();
    let hex = stage.sha256();
    let url = stage.origin.url(&stage.path);
    let mut list = String::new();
    for _ in 0..MANY {
        writeln!(list, "{hex}  {url}").expect("it is memory");
    }
    writeln!(
        list,
        "{}  https://other.example.org/{NAME}",
        "ab".repeat(32)
    )
    .expect("it is memory");
    import(&stage.gateway, &list);
    stage
        .get(&format!("/mirror/openwrt/{NAME}"))
        .assert_problem(404);
    stage
        .get(&format!("/mirror/nix/sha256/{hex}"))
        .assert_body(200, &stage.body);
}

#[test]
fn entry_of_many_lists_answers_by_name() {
    let stage = Stage::new();
    let line = format!("{}  {}\n", stage.sha256(), stage.origin.url(&stage.path));
    for number in 0..MANY {
        let other = format!(
            "{}  https://h.example.org/x-{number}.tar.gz\n",
            "ab".repeat(32)
        );
        import(&stage.gateway, &[line.clone(), other].concat());
    }
    stage
        .get(&format!("/mirror/openwrt/{NAME}"))
        .assert_body(200, &stage.body);
}

#[test]
fn removed_list_answers_no_more() {
    let stage = Stage::new();
    let good = format!("{}  {}\n", stage.sha256(), stage.origin.url(&stage.path));
    let bad = format!("{}  https://bad.example.org/{NAME}\n", "ab".repeat(32));
    let good = import(&stage.gateway, &good);
    let bad = import(&stage.gateway, &bad);
    let path = format!("/mirror/openwrt/{NAME}");
    stage.get(&path).assert_problem(404);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = |arguments: &[&str]| stage.gateway.run_command(folder.path(), arguments);
    let listed = run(&["catalog", "lists"]);
    listed.assert_success();
    for list in [&good, &bad] {
        assert!(
            listed.stdout.contains(&format!("{list}  1 files")),
            "{}",
            listed.stdout
        );
    }
    run(&["catalog", "remove", &bad]).assert_success();
    stage.get(&path).assert_body(200, &stage.body);
    assert_eq!(files_under(&stage.gateway.cache().join("catalog")).len(), 1);
    assert_eq!(run(&["catalog", "remove", &bad]).code, Some(3));
    let request = stage.gateway.operate("DELETE", "/api/v1/catalog");
    request.send().assert_problem(400);
    let path = format!("/api/v1/catalog?list={good}");
    stage
        .gateway
        .request("DELETE", &path)
        .send()
        .assert_problem(401);
}

#[test]
fn damaged_list_hides_no_other_list() {
    let path = "/x-1.0.tar.gz";
    let (_origin, mut gateway, body, url) = Scene::relaying(path, archive(9, 4000));
    import(&gateway, &format!("{}  {url}\n", sha256(&body)));
    gateway.stop();
    for ending in ["", "-wal", "-shm"] {
        // The last two exist only while the file is open.
        drop(fs::remove_file(
            gateway.cache().join(format!("catalog.sqlite{ending}")),
        ));
    }
    for name in ["00", "ff"] {
        let file = format!("catalog/{}.jsonl", name.repeat(32));
        fs::write(gateway.cache().join(file), b"\xff\xfe{\n").expect("the folder is writable");
    }
    gateway.restart();
    eventually("the list is read", || {
        let answer = gateway
            .request("GET", "/mirror/openwrt/x-1.0.tar.gz")
            .send();
        (answer.status == 200).then_some(())
    });
    gateway.log().wait_for("the warning", |event| {
        event["message"] == "imported list is damaged"
    });
}
