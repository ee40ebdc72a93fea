//! The version of the folder's layout, and migration from the first one.

use std::fs::{self, File};
use std::path::Path;

use crate::harness::{Gateway, Origin, files_under, millpond, sha256};

const FIRST: &str = "https://sources.example.org/x-1.0.tar.gz";
const SECOND: &str = "https://sources.example.org/y-2.0.tar.gz";

/// Copies the folder that a process of version 0.1.0 left when it was killed.
fn old_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cache-0.1.0");
    for file in files_under(&fixture) {
        let copy = folder
            .path()
            .join(file.strip_prefix(&fixture).expect("it lies in the fixture"));
        fs::create_dir_all(copy.parent().expect("it lies in a folder"))
            .expect("folders can be made");
        fs::copy(file, copy).expect("files can be copied");
    }
    folder
}

fn scrub(folder: &Path) -> (Option<i32>, String) {
    let set = format!("cache.dir={}", folder.display());
    let run = millpond(folder, &["scrub", "--dry-run", "--set", &set]);
    (run.code, run.stderr)
}

#[test]
fn folder_of_first_release_is_migrated_at_start() {
    let folder = old_folder();
    let lost = sha256(b"lost");
    let origin = Origin::start();
    let builder = Gateway::builder()
        .origin(&origin)
        .cache_in(folder.path().to_owned());
    let gateway = builder.set("policy.ports", "[443]").start();
    for url in [FIRST, SECOND] {
        let answer = gateway.get(url).send();
        answer.assert_status(200);
        answer.assert_cache(&["hit"]);
    }
    let root = folder.path();
    assert_eq!(
        fs::read_to_string(root.join("layout")).expect("there is a version"),
        "2\n"
    );
    assert!(
        root.join("missing").join(&lost).is_file(),
        "the list of missing objects moved"
    );
    assert!(!root.join("quarantine/lost").exists());
    assert_eq!(
        files_under(&root.join("quarantine")).len(),
        1,
        "quarantined files stay"
    );
    let is_lease =
        |file: &std::path::PathBuf| file.file_name().is_some_and(|name| name.len() == 64);
    assert!(
        !files_under(&root.join("locks")).iter().any(is_lease),
        "leases of dead processes are removed"
    );
    assert!(!root.join("staging/.door").exists());
}

#[test]
fn old_layout_in_use_is_refused() {
    let folder = old_folder();
    let slot = folder.path().join("staging/00000000000000aa");
    fs::create_dir(&slot).expect("it can be made");
    let lock = File::create(slot.join(".lock")).expect("it can be made");
    lock.lock().expect("the file system knows locks");
    let (code, error) = scrub(folder.path());
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("older layout") && error.contains("00000000000000aa"),
        "{error}"
    );
    assert!(
        !folder.path().join("layout").exists(),
        "nothing was migrated"
    );
    drop(lock);
    let (code, error) = scrub(folder.path());
    assert_ne!(code, Some(2), "{error}");
    assert_eq!(
        fs::read_to_string(folder.path().join("layout")).expect("there is a version"),
        "2\n"
    );
}

#[test]
fn newer_layout_is_refused() {
    for content in ["3\n", "x\n", ""] {
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::write(folder.path().join("layout"), content).expect("it can be written");
        let (code, error) = scrub(folder.path());
        assert_eq!(code, Some(2), "{content:?}: {error}");
        assert!(
            error.contains("cache.dir") && error.contains("layout"),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(folder.path().join("layout")).expect("it is there"),
            content
        );
    }
}

#[test]
fn version_is_not_written_through_link() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (cache, kept) = (folder.path().join("cache"), folder.path().join("kept"));
    fs::create_dir_all(cache.join("staging")).expect("folders can be made");
    fs::write(&kept, "kept").expect("it can be written");
    std::os::unix::fs::symlink(&kept, cache.join("staging/.layout")).expect("a link can be made");
    let (code, error) = scrub(&cache);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("cache.dir"), "{error}");
    assert_eq!(fs::read_to_string(&kept).expect("it is there"), "kept");
    assert!(!cache.join("layout").exists());
}
