//! A file system that runs out of inodes: records are compacted, and new files are stored.
//!
//! The test runs in a mount namespace of its own, with a small file system in memory.

use std::fs;
use std::path::Path;

use crate::disk::record_order::assert_refused;
use crate::harness::{
    Body, Builder, Gateway, Origin, Reply, Tool, archive, encoded, eventually, files_under,
};

/// Variable that marks the second run of this program, in the namespace.
const INSIDE: &str = "MILLPOND_TEST_IN_NAMESPACE";

/// Inodes of the file system. The folders of the cache take about half of them.
const INODES: u64 = 2_400;

/// Targets that are stored. Their records would take more inodes than there are.
const COUNT: u64 = 900;

/// Inodes that eviction keeps free: a twentieth.
const KEPT_FREE: u64 = INODES / 20;

/// Runs `test` in a mount namespace, or skips it.
fn in_namespace(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let here = Path::new("/");
    let unshare = |args: &[&str]| Tool::new("unshare", "util-linux", here).args(args);
    let namespace = ["--mount", "--propagation", "private"];
    if unshare(&[&namespace[..], &["true"]].concat()).run().code != Some(0) {
        eprintln!("SKIPPED: creating a mount namespace needs root");
        return;
    }
    let program = std::env::current_exe().expect("the program has a path");
    let program = program.to_str().expect("the path is text");
    let command = [program, "--exact", name, "--nocapture"];
    let run = unshare(&[&namespace[..], &command].concat());
    let run = run.env(INSIDE, "1").run();
    run.assert_success();
    assert!(run.stdout.contains("1 passed"), "{}", run.stdout);
}

fn path(number: u64) -> String {
    format!("/x-{number}.0.tar.gz")
}

fn body(number: u64) -> Body {
    archive(number, 200)
}

/// Mounts a file system with few inodes, and returns a gateway with its cache there.
fn with_few_inodes(origin: &Origin) -> Builder {
    let builder = Gateway::builder().origin(origin).relay().one_attempt();
    let mount = builder.folder().join("small");
    fs::create_dir(&mount).expect("a folder can be made");
    let options = format!("size=64m,nr_inodes={INODES}");
    let args = ["-t", "tmpfs", "-o", &options, "tmpfs"];
    let point = mount.to_str().expect("the path is text");
    let mounted = Tool::new("mount", "mount", Path::new("/"));
    let mounted = mounted.args(&[&args[..], &[point]].concat()).run();
    mounted.assert_success();
    let builder = builder.cache_in(mount.join("cache"));
    builder.text("cache.negative_ttl", "1ms")
}

fn free_inodes(gateway: &Gateway) -> u64 {
    let stats = gateway.request("GET", "/api/v1/stats").send().json();
    stats["disk"]["free_inodes"]
        .as_u64()
        .expect("it is a number")
}

fn serve(gateway: &Gateway, origin: &Origin, number: u64) {
    origin.serve(&path(number), Reply::file(&body(number)));
    gateway.assert_serves(&origin.url(&path(number)), &body(number));
}

#[test]
fn lack_of_inodes_compacts_records() {
    in_namespace("disk::inodes::lack_of_inodes_compacts_records", || {
        let origin = Origin::start();
        let gateway = with_few_inodes(&origin).start();
        for number in 0..COUNT {
            serve(&gateway, &origin, number);
        }
        eventually("inodes are free again", || {
            (free_inodes(&gateway) >= KEPT_FREE).then_some(())
        });
        assert!(!files_under(&gateway.cache().join("compact")).is_empty());
        // Fetching goes on, and what is fetched is stored.
        for number in COUNT..COUNT + 20 {
            serve(&gateway, &origin, number);
            gateway.await_stored(&origin.url(&path(number)));
            let answer = gateway.get(&origin.url(&path(number))).send();
            answer.assert_cache(&["hit"]);
        }
        // The first target is known with its bytes.
        let url = origin.url(&path(0));
        let shown = format!("/api/v1/targets?url={}", encoded(&url));
        gateway.request("GET", &shown).send().assert_status(200);
        assert!(gateway.records_of(&url).is_empty(), "it is compacted");
        origin.serve(&path(0), Reply::file(&archive(10_000, 200)));
        let stored = gateway.get(&url).header("Cache-Control", "only-if-cached");
        if stored.send().status == 504 {
            assert_refused(&gateway, &url);
        } else {
            gateway.assert_serves(&url, &body(0));
        }
    });
}

#[test]
fn foreign_files_do_not_stop_fetching() {
    in_namespace("disk::inodes::foreign_files_do_not_stop_fetching", || {
        let origin = Origin::start();
        let gateway = with_few_inodes(&origin).start();
        for number in 0..200 {
            serve(&gateway, &origin, number);
            gateway.await_stored(&origin.url(&path(number)));
        }
        let foreign = gateway.cache().with_file_name("foreign");
        fs::create_dir(&foreign).expect("a folder can be made");
        // Another program takes nearly all inodes.
        for number in 5..free_inodes(&gateway) {
            fs::write(foreign.join(number.to_string()), b"").expect("a file can be made");
        }
        assert!(free_inodes(&gateway) < 10);
        eventually("new files are stored again", || {
            let number = 1000 + origin.total() as u64;
            serve(&gateway, &origin, number);
            let answer = gateway.get(&origin.url(&path(number))).send();
            let status = answer.head.header("cache-status")?;
            status.contains("hit").then_some(())
        });
        eventually("inodes are free again", || {
            (free_inodes(&gateway) >= KEPT_FREE).then_some(())
        });
    });
}
