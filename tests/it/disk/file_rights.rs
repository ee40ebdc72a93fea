//! Modes and owners of the files in the cache folder.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use crate::harness::{
    Body, Bucket, Disk, Gateway, Origin, Reply, Run, Scene, archive, is_root, millpond, object_key,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// User of the service in the tests that root runs.
const OTHER_USER: u32 = 10_001;

/// User of another service.
const THIRD_USER: u32 = 10_002;

/// Calls `visit` with every file and folder at and below a path.
fn walk(path: &Path, visit: &mut impl FnMut(&Path, &fs::Metadata)) {
    let metadata = fs::symlink_metadata(path).expect("the file exists");
    visit(path, &metadata);
    if metadata.is_dir() {
        for entry in fs::read_dir(path).expect("the folder can be read") {
            walk(&entry.expect("the folder can be read").path(), visit);
        }
    }
}

#[test]
fn modes_do_not_depend_on_umask() {
    for umask in ["000", "077"] {
        let origin = Origin::start();
        let body = archive(1, 9_000);
        origin.serve(PATH, Reply::file(&body));
        let builder = Gateway::builder().origin(&origin).relay();
        let gateway = builder.umask(umask).start();
        gateway.assert_serves(&origin.url(PATH), &body);
        gateway.await_stored(&origin.url(PATH));
        let objects = gateway.cache().join("objects");
        walk(gateway.cache(), &mut |path, metadata| {
            let expected = if metadata.is_dir() {
                0o750
            } else if path.starts_with(&objects) {
                0o440
            } else {
                0o640
            };
            let mode = metadata.permissions().mode() & 0o7777;
            assert_eq!(
                mode,
                expected,
                "{}: {mode:o}, umask {umask}",
                path.display()
            );
        });
    }
}

#[test]
fn command_of_root_takes_on_owner() {
    if !is_root() {
        eprintln!("SKIPPED: only root can give a folder to another user");
        return;
    }
    let (_origin, mut gateway, body, url) = Scene::relaying(PATH, archive(2, 9_000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.stop();
    // The scrub moves this object to quarantine.
    let object = gateway.object_path(&body);
    fs::remove_file(&object).expect("the object exists");
    fs::write(&object, vec![0; 9_000]).expect("an object can be written");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let cache = folder.path().join("cache");
    // Other users cannot pass the folders above the gateway's own.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
        .expect("the owner can change the mode");
    fs::rename(gateway.cache(), &cache).expect("a folder can be moved");
    walk(&cache, &mut |path, _| {
        std::os::unix::fs::lchown(path, Some(OTHER_USER), Some(OTHER_USER))
            .expect("root can change the owner");
    });
    let setting = format!("cache.dir={}", cache.display());
    let run = millpond(folder.path(), &["scrub", "--set", &setting]);
    assert!(
        matches!(run.code, Some(0 | 4)),
        "{}{}",
        run.stdout,
        run.stderr
    );
    assert!(
        cache.join("quarantine").is_dir(),
        "the scrub has moved the object"
    );
    walk(&cache, &mut |path, metadata| {
        let owner = (metadata.uid(), metadata.gid());
        assert_eq!(owner, (OTHER_USER, OTHER_USER), "{}", path.display());
    });
    chown(&cache, Some(0), Some(0)).expect("root can change the owner");
}

/// Returns a folder that every user can reach.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
        .expect("the owner can change the mode");
    folder
}

fn give(path: &Path, user: u32) {
    walk(path, &mut |path, _| {
        lchown(path, Some(user), Some(user)).expect("root can change the owner");
    });
}

/// Makes a cache of [`OTHER_USER`] that holds `body`.
fn cache_of_other_user(folder: &Path, body: &Body) -> PathBuf {
    let (_origin, mut gateway, url) = Scene::replying(PATH, Reply::file(body));
    gateway.assert_serves(&url, body);
    gateway.await_stored(&url);
    gateway.stop();
    let cache = folder.join("from");
    fs::rename(gateway.cache(), &cache).expect("a folder can be moved");
    give(&cache, OTHER_USER);
    cache
}

fn migrate(folder: &Path, from: &Path, to: &Path) -> Run {
    let [from, to] = [from, to].map(|path| path.to_str().expect("the path is text"));
    millpond(folder, &["migrate", from, to])
}

#[test]
fn empty_destination_gets_owner_of_source() {
    if !is_root() {
        eprintln!("SKIPPED: only root can give a folder to another user");
        return;
    }
    let (folder, body) = (open_folder(), archive(3, 9_000));
    let from = cache_of_other_user(folder.path(), &body);
    let to = folder.path().join("to");
    fs::create_dir(&to).expect("a folder can be made");
    migrate(folder.path(), &from, &to).assert_success();
    let mut objects = 0;
    for cache in [&from, &to] {
        walk(cache, &mut |path, metadata| {
            let owner = (metadata.uid(), metadata.gid());
            assert_eq!(owner, (OTHER_USER, OTHER_USER), "{}", path.display());
            objects += usize::from(metadata.is_file() && path.starts_with(cache.join("objects")));
        });
    }
    assert_eq!(objects, 2, "the object was copied");
}

#[test]
fn folders_of_different_users_are_refused() {
    if !is_root() {
        eprintln!("SKIPPED: only root can give a folder to another user");
        return;
    }
    let (folder, body) = (open_folder(), archive(4, 9_000));
    let from = cache_of_other_user(folder.path(), &body);
    let to = folder.path().join("to");
    let kept = folder.path().join("kept");
    fs::write(&kept, "kept").expect("a file can be made");
    for part in ["objects", "staging"] {
        fs::create_dir_all(to.join(part)).expect("a folder can be made");
    }
    symlink(&kept, to.join("staging/.layout")).expect("a link can be made");
    give(&to, THIRD_USER);
    for (from, to) in [(&from, &to), (&to, &from)] {
        let run = migrate(folder.path(), from, to);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains("different owners"), "{}", run.stderr);
    }
    assert_eq!(fs::read_to_string(&kept).expect("it is there"), "kept");
    let mut files = 0;
    walk(&to, &mut |_, _| files += 1);
    assert_eq!(files, 4, "nothing was created");
}

#[test]
fn private_bucket_file_of_root_is_read() {
    if !is_root() {
        eprintln!("SKIPPED: only root can give a folder to another user");
        return;
    }
    let (folder, body) = (open_folder(), archive(5, 9_000));
    let from = cache_of_other_user(folder.path(), &body);
    let bucket = Bucket::start();
    let file = folder.path().join("bucket.toml");
    fs::write(&file, bucket.section("")).expect("a file can be made");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))
        .expect("the owner can change the mode");
    migrate(folder.path(), &from, &file).assert_success();
    assert!(bucket.read(&object_key(&body)).is_some());
    walk(&from, &mut |path, metadata| {
        assert_eq!(metadata.uid(), OTHER_USER, "{}", path.display());
    });
}

#[test]
fn full_disk_of_command_is_named() {
    let disk = Disk::mount();
    let cache = disk.folder();
    fs::create_dir(&cache).expect("the folder can be made");
    disk.set_capacity(0);
    disk.set_inodes(0);
    let setting = format!("cache.dir={}", cache.display());
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = millpond(folder.path(), &["scrub", "--set", &setting]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    for part in [
        "cache.dir",
        "the disk is full",
        "make space and inodes free",
    ] {
        assert!(
            run.stderr.contains(part),
            "{part:?} is missing in {}",
            run.stderr
        );
    }
}
