//! Entries of the folder: files, names of tools, links, pipes, and files without permission.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};

use serde_json::json;

use super::depot::{Depot, of_file, tarball};
use crate::harness::{Tool, files_under, gzip, is_root, millpond, sha256};

/// User of the cache folder in the tests that root runs.
const OTHER_USER: u32 = 10_001;

#[test]
fn files_are_found_by_name_and_digest() {
    let depot = Depot::new();
    let one = depot.source("x-1.0.tar.gz", 1);
    let two = depot.source("sub/y+z-2.0.tar.gz", 2);
    let before = fs::metadata(depot.path("sources/x-1.0.tar.gz")).expect("the file exists");
    let run = depot.adopt(&[]);
    run.assert_success();
    assert!(
        run.stdout.contains("x-1.0.tar.gz  by name and digest"),
        "{run:?}"
    );
    assert!(run.stdout.contains("\n2 files\ncopied"), "{run:?}");
    depot.assert_found("x-1.0.tar.gz", &one);
    depot.assert_found("y+z-2.0.tar.gz", &two);
    let after = fs::metadata(depot.path("sources/x-1.0.tar.gz")).expect("the file exists");
    assert_eq!(
        (before.mode(), before.mtime(), before.ino()),
        (after.mode(), after.mtime(), after.ino())
    );
    let object = fs::metadata(depot.gateway.object_path(&one)).expect("the object exists");
    assert_ne!(object.ino(), after.ino());
    assert_eq!(object.mode() & 0o7777, 0o440);
    assert!(depot.gateway.staged().is_empty());
}

#[test]
fn second_run_stores_nothing() {
    let depot = Depot::new();
    depot.source("x-1.0.tar.gz", 1);
    depot.adopt(&[]).assert_success();
    let (objects, records) = (depot.gateway.objects(), depot.gateway.records());
    let inode = fs::metadata(&objects[0]).expect("the object exists").ino();
    let (code, documents) = depot.adopt_json(&[]);
    assert_eq!(code, Some(0));
    assert_eq!(of_file(&documents, "x-1.0.tar.gz")["outcome"], "present");
    assert_eq!(depot.gateway.objects(), objects);
    assert_eq!(depot.gateway.records(), records);
    assert_eq!(
        fs::metadata(&objects[0]).expect("the object exists").ino(),
        inode
    );
}

#[test]
fn second_name_of_bytes_is_recorded() {
    let depot = Depot::new();
    let body = depot.source("a-1.0.tar.gz", 1);
    depot.source("b-1.0.tar.gz", 1);
    let (code, documents) = depot.adopt_json(&["--jobs", "4"]);
    assert_eq!(code, Some(0));
    let mut outcomes = ["a-1.0.tar.gz", "b-1.0.tar.gz"].map(|name| {
        let outcome = &of_file(&documents, name)["outcome"];
        outcome.as_str().expect("it is text").to_owned()
    });
    outcomes.sort();
    assert_eq!(outcomes, ["copied", "recorded"]);
    assert_eq!(depot.gateway.objects().len(), 1);
    depot.assert_found("a-1.0.tar.gz", &body);
    depot.assert_found("b-1.0.tar.gz", &body);
}

#[test]
fn entries_that_are_no_sources_are_named() {
    let depot = Depot::new();
    let body = depot.source("x-1.0.tar.gz", 1);
    for name in [
        "y-1.0.tar.gz.part",
        "z.tar.gz._checksum_failure_.ab",
        ".hidden.tar.gz",
        "lock",
        "partial/p-1.0.tar.gz",
        "w-1.0.tar.gz.aria2",
        "w-1.0.tar.gz",
        "git/HEAD",
        "git/objects/x",
        "git/refs/x",
    ] {
        depot.source(name, 9);
    }
    depot.write("sources/empty.tar.gz", "");
    depot.write("secret", "outside");
    symlink(depot.path("secret"), depot.path("sources/link.tar.gz")).expect("a link can be made");
    symlink(depot.folder.path(), depot.path("sources/up")).expect("a link can be made");
    Tool::new("mkfifo", "coreutils", &depot.path("sources"))
        .args(&["pipe.tar.gz"])
        .run()
        .assert_success();
    let (code, documents) = depot.adopt_json(&[]);
    assert_eq!(code, Some(0), "{documents:#?}");
    for (name, reason) in [
        ("y-1.0.tar.gz.part", "the name of an unfinished download"),
        (
            "z.tar.gz._checksum_failure_.ab",
            "the name of an unfinished download",
        ),
        (".hidden.tar.gz", "a hidden name"),
        ("lock", "a file of a tool"),
        ("partial", "the name of an unfinished download"),
        ("w-1.0.tar.gz", "the name of an unfinished download"),
        ("git", "a repository of a version control system"),
        ("empty.tar.gz", "an empty file"),
        ("link.tar.gz", "a symbolic link"),
        ("up", "a symbolic link"),
        ("pipe.tar.gz", "neither a file nor a folder"),
    ] {
        let document = of_file(&documents, name);
        assert_eq!(
            (&document["outcome"], &document["reason"]),
            (&json!("skipped"), &json!(reason)),
            "{name}"
        );
    }
    assert_eq!(depot.gateway.objects().len(), 1);
    depot.assert_found("x-1.0.tar.gz", &body);
}

#[test]
fn name_that_is_no_text_has_digest() {
    let depot = Depot::new();
    let body = tarball(1);
    let name = OsStr::from_bytes(b"x-\xff.tar.gz");
    fs::write(depot.path("sources").join(name), &body).expect("the folder is writable");
    let (code, documents) = depot.adopt_json(&[]);
    assert_eq!(code, Some(0), "{documents:#?}");
    let document = of_file(&documents, "x-\u{fffd}.tar.gz");
    assert_eq!(document["outcome"], "copied");
    assert_eq!(document["notes"].as_array().map(Vec::len), Some(1));
    let path = format!("/mirror/nix/sha256/{}", sha256(&body));
    depot
        .gateway
        .request("GET", &path)
        .send()
        .assert_body(200, &body);
}

#[test]
fn file_without_permission_is_one_line() {
    if !is_root() {
        eprintln!("SKIPPED: only root can give a folder to another user");
        return;
    }
    let mut depot = Depot::new();
    depot.gateway.stop();
    let cache = depot.path("cache");
    fs::rename(depot.gateway.cache(), &cache).expect("a folder can be moved");
    for path in files_under(&cache) {
        lchown(&path, Some(OTHER_USER), Some(OTHER_USER)).expect("root can change the owner");
    }
    let chowned = Tool::new("chown", "coreutils", depot.folder.path());
    let owner = OTHER_USER.to_string();
    chowned
        .args(&["-R", &owner, "cache"])
        .run()
        .assert_success();
    let set_mode = |name: &str, mode| {
        fs::set_permissions(depot.path(name), fs::Permissions::from_mode(mode))
            .expect("the owner can change the mode");
    };
    set_mode("", 0o755);
    depot.source("good-1.0.tar.gz", 1);
    depot.source("bad-1.0.tar.gz", 2);
    depot.source("closed/c-1.0.tar.gz", 3);
    set_mode("sources/bad-1.0.tar.gz", 0o600);
    set_mode("sources/closed", 0o700);
    let setting = format!("cache.dir={}", cache.display());
    let run = millpond(
        depot.folder.path(),
        &["adopt", "sources", "--set", &setting],
    );
    assert_eq!(run.code, Some(1), "{run:?}");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{run:?}");
    assert!(
        lines[0].starts_with("millpond: bad-1.0.tar.gz: Permission denied"),
        "{run:?}"
    );
    assert!(
        lines[1].starts_with("millpond: closed: Permission denied"),
        "{run:?}"
    );
    assert!(
        run.stdout.contains("copied       good-1.0.tar.gz"),
        "{run:?}"
    );
    let object = &files_under(&cache.join("objects"))[0];
    assert_eq!(fs::metadata(object).expect("it exists").uid(), OTHER_USER);
    set_mode("sources", 0o700);
    let run = millpond(
        depot.folder.path(),
        &["adopt", "sources", "--set", &setting],
    );
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("sources: Permission denied"), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1);
}

#[test]
fn cache_folder_is_not_adopted() {
    let depot = Depot::new();
    let body = depot.source("x-1.0.tar.gz", 1);
    depot.adopt(&[]).assert_success();
    let file = depot.gateway.file();
    let file = file.to_str().expect("the path is text");
    let objects = depot.gateway.cache().join("objects");
    let objects = objects.to_str().expect("the path is text");
    let run = millpond(depot.folder.path(), &["adopt", objects, "--config", file]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.stderr.contains("inside the cache folder"), "{run:?}");
    let above = depot.gateway.cache().parent().expect("it lies in a folder");
    fs::write(above.join("y-1.0.tar.gz"), gzip(b"y")).expect("the folder is writable");
    let above = above.to_str().expect("the path is text");
    let run = millpond(depot.folder.path(), &["adopt", above, "--config", file]);
    assert!(
        run.stdout.contains("cache  (the cache folder itself)"),
        "{run:?}"
    );
    assert!(
        run.stdout.contains("y-1.0.tar.gz  by name and digest"),
        "{run:?}"
    );
    depot.assert_found("x-1.0.tar.gz", &body);
}

#[test]
fn dry_run_stores_nothing() {
    let depot = Depot::new();
    depot.source("x-1.0.tar.gz", 1);
    let (code, documents) = depot.adopt_json(&["--dry-run"]);
    assert_eq!(code, Some(0));
    assert_eq!(
        of_file(&documents, "x-1.0.tar.gz")["outcome"],
        "would store"
    );
    depot.gateway.assert_nothing_stored();
    let summary = &documents[documents.len() - 1]["summary"];
    assert_eq!(summary[0]["files"], 1);
}
