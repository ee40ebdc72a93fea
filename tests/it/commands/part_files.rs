//! The unfinished file of `get` in a folder that other users may write.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::harness::{Gateway, Origin, Reply, archive, assert_same, millpond};

#[test]
fn part_file_that_others_write_is_replaced() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let folder = tempfile::tempdir().expect("a folder can be created");
    let body = archive(1, 30_000);
    origin.serve("/pub/x-1.tar.gz", Reply::file(&body));
    let url = origin.url("/pub/x-1.tar.gz");
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let path = |name: &str| folder.path().join(name);
    let part = path("x-1.tar.gz.millpond.part");
    for (mode, links, is_kept) in [
        (0o644, 1, true),
        (0o600, 1, true),
        (0o666, 1, false),
        (0o664, 1, false),
        (0o644, 2, false),
        (0o444, 1, false),
    ] {
        fs::write(&part, &body[..10_000]).expect("the folder can be written");
        fs::set_permissions(&part, fs::Permissions::from_mode(mode)).expect("a mode can be set");
        if links == 2 {
            fs::hard_link(&part, path("link")).expect("a link can be made");
        }
        // While it is open, no other file gets its inode number.
        let opened = fs::File::open(&part).expect("the file exists");
        let inode = opened.metadata().expect("the file exists").ino();
        let arguments = ["get", "--gateway", &gateway.url("/"), &url];
        millpond(folder.path(), &arguments).assert_success();
        let file = path("x-1.tar.gz");
        assert_same(&fs::read(&file).expect("the file exists"), &body);
        let is_same = fs::metadata(&file).expect("the file exists").ino() == inode;
        // A superuser can write a file of mode 0444, and resumes it.
        let is_root_only = mode == 0o444;
        assert!(is_same == is_kept || is_root_only, "mode {mode:o}, {links}");
        fs::remove_file(file).expect("the file can be removed");
        if links == 2 {
            assert_same(
                &fs::read(path("link")).expect("the file exists"),
                &body[..10_000],
            );
            fs::remove_file(path("link")).expect("the file can be removed");
        }
    }
}
