//! Observations whose objects were evicted: maintenance removes them, and no others.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::harness::{Body, Builder, Gateway, Origin, Reply, eventually, sha256};

fn text(content: &str) -> Body {
    content.as_bytes().to_vec().into()
}

fn with(origin: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay();
    builder.text("cache.maintenance_interval", "1s")
}

/// Stores a page, and returns the folder of its observations.
fn store(gateway: &Gateway, origin: &Origin, path: &str) -> PathBuf {
    let url = origin.url(path);
    origin.serve(path, Reply::file(&text(path)).conditional());
    let answer = gateway.proxied("GET", &url).send();
    answer.assert_body(200, path.as_bytes());
    let key = sha256(url.as_bytes());
    let folder = gateway.cache().join("observations").join(&key[..2]);
    let folder = folder.join(key);
    assert!(folder.exists(), "{path} is stored");
    folder
}

fn await_removal(folder: &Path) {
    eventually("maintenance removes the observation", || {
        (!folder.exists()).then_some(())
    });
}

#[test]
fn only_observations_of_evicted_objects_are_removed() {
    let origin = Origin::start();
    let gateway = with(&origin).start();
    let kept = store(&gateway, &origin, "/kept");
    let evicted = ["/1/page", "/2/Packages", "/3/index.html"];
    let folders = evicted.map(|path| store(&gateway, &origin, path));
    for path in evicted {
        fs::remove_file(gateway.object_path(path.as_bytes())).expect("the object exists");
    }
    for folder in &folders {
        await_removal(folder);
    }
    assert!(kept.exists(), "the object of this page is stored");
}

#[test]
fn object_published_meanwhile_keeps_its_observation() {
    let origin = Origin::start();
    let gateway = with(&origin).start();
    let (page, other) = ("/page", "/other");
    let folder = store(&gateway, &origin, page);
    let later = store(&gateway, &origin, other);
    let digest = sha256(page.as_bytes());
    let path = gateway.cache().join("locks").join(&digest[..2]);
    let lock = File::create(&path).expect("the folder is writable");
    lock.lock().expect("the file can be locked");
    let object = gateway.object_path(page.as_bytes());
    let aside = gateway.cache().join("aside");
    fs::rename(&object, &aside).expect("the object exists");
    let open = format!("/proc/{}/fd", gateway.pid());
    eventually("maintenance waits for the lock of the object", || {
        let files = fs::read_dir(&open).expect("the process runs").flatten();
        let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
        links.any(|link| link == path).then_some(())
    });
    fs::rename(&aside, &object).expect("the object can be placed");
    drop(lock);
    // The next round removes this one, so the first round has ended.
    fs::remove_file(gateway.object_path(other.as_bytes())).expect("the object exists");
    await_removal(&later);
    assert!(folder.exists(), "the object is stored again");
    let answer = gateway.proxied("GET", &origin.url(page)).send();
    answer.assert_body(200, page.as_bytes());
    let validation = &origin.requests(page)[1];
    assert!(validation.header("if-none-match").is_some());
}
