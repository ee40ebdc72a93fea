//! Backup and restore of the cache folder as its documentation describes them.

use std::fs;
use std::path::Path;

use crate::harness::{Body, Gateway, Origin, Reply, Tool, archive, encoded, eventually, sha256};

const COUNT: u64 = 4;

fn path(number: u64) -> String {
    format!("/pub/x-{number}.0.tar.gz")
}

/// Returns the commands of the documentation that copy a folder.
fn documented_copy(from: &Path, to: &Path) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations/backup.md");
    let page = fs::read_to_string(page).expect("the documentation can be read");
    let section = page.split("## With your own tools").nth(1);
    let commands = section
        .and_then(|section| section.split("```").nth(1))
        .expect("the section has commands");
    let name = |path: &Path| path.to_str().expect("the path is text").to_owned();
    let commands = commands
        .replace("/var/lib/millpond/cache", &name(from))
        .replace("/backup/millpond", &name(to));
    assert!(
        commands.contains(&name(from)) && commands.contains(&name(to)),
        "{commands}"
    );
    commands
}

struct Original {
    origin: Origin,
    gateway: Gateway,
    bodies: Vec<Body>,
    /// Pinned for the first target, in place of what its origin sends.
    pinned: Body,
}

impl Original {
    fn new() -> Self {
        let origin = Origin::start();
        let bodies: Vec<_> = (0..COUNT).map(|number| archive(number, 50_000)).collect();
        for (number, body) in (0..).zip(&bodies) {
            origin.serve(&path(number), Reply::file(body));
        }
        let gateway = Gateway::relaying(&origin);
        for (number, body) in (0..).zip(&bodies) {
            gateway.assert_serves(&origin.url(&path(number)), body);
            gateway.await_stored(&origin.url(&path(number)));
        }
        let pinned = archive(99, 30_000);
        let url = format!("/api/v1/objects?url={}", encoded(&origin.url(&path(0))));
        let import = gateway.operate("PUT", &url).body(&pinned);
        import.send().assert_status(201);
        Self {
            origin,
            gateway,
            bodies,
            pinned,
        }
    }

    /// Copies the folder while the gateway runs, and starts another gateway on the copy.
    fn restored(&self, folder: &Path, change: impl FnOnce(&Path)) -> Gateway {
        let copy = folder.join("copy");
        fs::create_dir(&copy).expect("a folder can be made");
        let commands = documented_copy(self.gateway.cache(), &copy);
        let run = Tool::new("sh", "dash", folder)
            .args(&["-e", "-c", &commands])
            .run();
        run.assert_success();
        change(&copy);
        let name = copy.to_str().expect("the path is text");
        let builder = Gateway::builder()
            .origin(&self.origin)
            .relay()
            .one_attempt();
        builder.text("cache.dir", name).start()
    }
}

#[test]
fn copied_folder_serves_without_origin() {
    let original = Original::new();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let restored = original.restored(folder.path(), |_| ());
    let asked = original.origin.total();
    restored.assert_serves(&original.origin.url(&path(0)), &original.pinned);
    for (number, body) in (0..).zip(&original.bodies).skip(1) {
        restored.assert_serves(&original.origin.url(&path(number)), body);
    }
    assert_eq!(original.origin.total(), asked);
    let about = format!(
        "/api/v1/targets?url={}",
        encoded(&original.origin.url(&path(0)))
    );
    let shown = restored.request("GET", &about).send().json();
    let pinned = shown["records"].as_array().expect("`records` is an array");
    let pinned = pinned.iter().find(|record| record["pinned"].is_string());
    let pinned = pinned.expect("one record is pinned");
    assert_eq!(pinned["sha256"], sha256(&original.pinned));
}

#[test]
fn records_alone_still_refuse_other_bytes() {
    let original = Original::new();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let restored = original.restored(folder.path(), |copy| {
        fs::remove_dir_all(copy.join("objects")).expect("the objects were copied");
        let digests = copy.join("digests");
        if digests.exists() {
            fs::remove_dir_all(digests).expect("the digests were copied");
        }
    });
    let url = |number| original.origin.url(&path(number));
    original
        .origin
        .serve(&path(2), Reply::file(&archive(77, 50_000)));
    restored.assert_serves(&url(1), &original.bodies[1]);
    restored.get(&url(2)).send().assert_broken();
    eventually("the change is an incident", || {
        let incidents = restored.operate("GET", "/api/v1/incidents").send().text();
        incidents.contains("content_changed").then_some(())
    });
}
