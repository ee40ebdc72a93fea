//! Bytes that are not taken, and the link between a file and its object.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::depot::{Depot, of_file, tarball};
use crate::harness::{Reply, archive, sha256};

#[test]
fn open_file_is_refused_until_closed() {
    let depot = Depot::new();
    let good = depot.source("x-1.0.tar.gz", 1);
    let body = tarball(2);
    let path = depot.path("sources/y-1.0.tar.gz");
    let mut writer = fs::File::create(path).expect("the folder is writable");
    writer.write_all(&body).expect("the file can be written");
    let (code, documents) = depot.adopt_json(&[]);
    assert_eq!(code, Some(1), "{documents:#?}");
    let message = &of_file(&documents, "y-1.0.tar.gz")["error"]["message"];
    assert_eq!(message, "a process has it open for writing");
    assert_eq!(of_file(&documents, "x-1.0.tar.gz")["outcome"], "copied");
    assert_eq!(depot.gateway.objects().len(), 1);
    drop(writer);
    depot.adopt(&[]).assert_success();
    depot.assert_found("x-1.0.tar.gz", &good);
    depot.assert_found("y-1.0.tar.gz", &body);
}

#[test]
fn incomplete_and_wrong_files_are_refused() {
    let depot = Depot::new();
    let body = tarball(1);
    depot.write("sources/cut-1.0.tar.gz", &body[..body.len() - 9]);
    depot.write(
        "sources/page-1.0.tar.gz",
        "<!DOCTYPE html><html>not found</html>",
    );
    let (code, documents) = depot.adopt_json(&[]);
    assert_eq!(code, Some(1), "{documents:#?}");
    let cause = |name: &str| of_file(&documents, name)["error"]["message"].to_string();
    assert!(cause("cut-1.0.tar.gz").contains("it is incomplete"));
    assert!(cause("page-1.0.tar.gz").contains("first bytes"));
    depot.gateway.assert_nothing_stored();
    depot.adopt(&["--force"]).assert_success();
    depot.assert_found("cut-1.0.tar.gz", &body[..body.len() - 9]);
}

#[test]
fn full_cache_takes_rest() {
    let depot = Depot::with(|builder| builder.text("cache.max_size", "1MiB"));
    depot.write("sources/big-1.0.tar.gz", archive(1, 3 << 20));
    let body = depot.source("x-1.0.tar.gz", 2);
    let (code, documents) = depot.adopt_json(&["--force"]);
    assert_eq!(code, Some(1), "{documents:#?}");
    let message = of_file(&documents, "big-1.0.tar.gz")["error"]["message"].to_string();
    assert!(
        message.contains("no space is left in the cache"),
        "{message}"
    );
    depot.assert_found("x-1.0.tar.gz", &body);
    assert!(depot.gateway.staged().is_empty());
}

#[test]
fn link_has_mode_of_object() {
    let depot = Depot::new();
    let body = depot.source("x-1.0.tar.gz", 1);
    let shared = depot.source("shared-1.0.tar.gz", 2);
    let set_mode = |name: &str, mode| {
        fs::set_permissions(depot.path(name), Permissions::from_mode(mode))
            .expect("the owner can change the mode");
    };
    set_mode("sources/x-1.0.tar.gz", 0o644);
    // Other users could change the object by this name.
    set_mode("sources/shared-1.0.tar.gz", 0o664);
    let (code, documents) = depot.adopt_json(&["--link"]);
    assert_eq!(code, Some(0), "{documents:#?}");
    if of_file(&documents, "x-1.0.tar.gz")["outcome"] == "cloned" {
        eprintln!("SKIPPED: this file system shares blocks, so nothing is linked");
        return;
    }
    assert_eq!(of_file(&documents, "x-1.0.tar.gz")["outcome"], "linked");
    assert_ne!(
        of_file(&documents, "shared-1.0.tar.gz")["outcome"],
        "linked"
    );
    let metadata = |path| fs::metadata(path).expect("the file exists");
    let file = metadata(depot.path("sources/x-1.0.tar.gz"));
    let object = metadata(depot.gateway.object_path(&body));
    assert_eq!(file.ino(), object.ino());
    assert_eq!(object.nlink(), 2, "its staged name is removed");
    assert_eq!(file.mode() & 0o7777, 0o440);
    let copy = metadata(depot.gateway.object_path(&shared));
    let file = metadata(depot.path("sources/shared-1.0.tar.gz"));
    assert_ne!(file.ino(), copy.ino());
    assert_eq!(file.mode() & 0o7777, 0o664);
    depot.assert_found("x-1.0.tar.gz", &body);
    depot.assert_found("shared-1.0.tar.gz", &shared);
    fs::remove_file(depot.path("sources/x-1.0.tar.gz")).expect("the folder is writable");
    depot.assert_found("x-1.0.tar.gz", &body);
    let (_, documents) = depot.adopt_json(&["--link"]);
    assert_eq!(
        of_file(&documents, "shared-1.0.tar.gz")["outcome"],
        "present"
    );
}

#[test]
fn refused_file_keeps_its_mode() {
    let depot = Depot::new();
    let path = depot.write("sources/x-1.0.tar.gz", tarball(1));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("the mode can be changed");
    let writer = OpenOptions::new().append(true).open(&path);
    let writer = writer.expect("the file can be opened");
    assert_eq!(depot.adopt(&["--link"]).code, Some(1));
    drop(writer);
    let mode = fs::metadata(&path).expect("the file exists").mode();
    assert_eq!(mode & 0o7777, 0o644);
    depot.gateway.assert_nothing_stored();
}

#[test]
fn evicted_object_is_stored_again() {
    let depot = Depot::new();
    let body = depot.source("x-1.0.tar.gz", 1);
    depot.adopt(&["--no-pin"]).assert_success();
    let removal = format!("/api/v1/objects/sha256/{}", sha256(&body));
    let removed = depot.gateway.operate("DELETE", &removal).send();
    removed.assert_status(200);
    assert!(depot.gateway.objects().is_empty());
    let (code, documents) = depot.adopt_json(&[]);
    assert_eq!(code, Some(0), "{documents:#?}");
    assert_eq!(of_file(&documents, "x-1.0.tar.gz")["outcome"], "copied");
    depot.assert_found("x-1.0.tar.gz", &body);
    // It is pinned now.
    let kept = depot.gateway.operate("DELETE", &removal).send();
    kept.assert_status(423);
}

#[test]
fn witnessed_bytes_do_not_take_url() {
    let depot = Depot::new();
    let (first, second) = (tarball(1), tarball(2));
    let url = depot.origin.url("/x-1.0.tar.gz");
    depot.origin.serve("/x-1.0.tar.gz", Reply::file(&first));
    depot.gateway.assert_serves(&url, &first);
    depot.gateway.await_stored(&url);
    depot.origin.serve("/x-1.0.tar.gz", Reply::file(&second));
    let refreshed = depot
        .gateway
        .run_command(depot.folder.path(), &["refresh", &url]);
    assert!(refreshed.stdout.contains(&sha256(&second)), "{refreshed:?}");
    depot.write("sources/x-1.0.tar.gz", &second);
    let (code, documents) = depot.adopt_json(&[]);
    assert_eq!(code, Some(0), "{documents:#?}");
    let urls = &of_file(&documents, "x-1.0.tar.gz")["urls"];
    assert_eq!(urls.as_array().map(Vec::len), Some(1));
    assert!(!urls.to_string().contains(&url), "{urls}");
    depot.gateway.assert_serves(&url, &first);
}
