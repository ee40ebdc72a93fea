//! Starts and runs on a folder that is full, read-only, damaged, locked or gone. Millpond serves
//! what it can, says so, and recovers by itself.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::harness::{Body, Builder, Disk, Gateway, Origin, Reply, Trouble, archive, eventually};

const KEPT: &str = "/kept-1.0.tar.gz";
const NEW: &str = "/new-1.0.tar.gz";

/// A gateway with one stored target, and an origin with another one.
struct Stage {
    gateway: Gateway,
    origin: Origin,
    kept: Body,
    new: Body,
}

impl Stage {
    fn start(change: impl FnOnce(Builder) -> Builder) -> Self {
        let origin = Origin::start();
        let (kept, new) = (archive(1, 300_000), archive(2, 200_000));
        origin.serve(KEPT, Reply::file(&kept));
        origin.serve(NEW, Reply::file(&new));
        let builder = Gateway::builder().origin(&origin).relay().one_attempt();
        let gateway = change(builder).start();
        gateway.assert_serves(&origin.url(KEPT), &kept);
        gateway.await_stored(&origin.url(KEPT));
        Self {
            gateway,
            origin,
            kept,
            new,
        }
    }

    fn index(&self) -> std::path::PathBuf {
        self.gateway.cache().join("index.sqlite")
    }

    #[track_caller]
    fn assert_hit(&self) {
        self.gateway
            .assert_serves(&self.origin.url(KEPT), &self.kept)
            .assert_cache(&["hit"]);
        assert_eq!(
            self.origin.count(KEPT),
            1,
            "the stored target is not fetched"
        );
    }

    #[track_caller]
    fn assert_serves_new(&self) {
        self.gateway.assert_serves(&self.origin.url(NEW), &self.new);
    }

    #[track_caller]
    fn await_readiness(&self, text: &str) {
        eventually(text, || {
            let answer = self.gateway.request("GET", "/readyz").send();
            answer.text().contains(text).then_some(())
        });
    }

    /// Waits until the gateway is ready without a warning, and stores the new target.
    #[track_caller]
    fn await_recovery(&self) {
        eventually("the gateway is ready", || {
            let answer = self.gateway.request("GET", "/readyz").send();
            (answer.text() == "ready\n").then_some(())
        });
        eventually("the new target is stored", || {
            let answer = self.gateway.assert_serves(&self.origin.url(NEW), &self.new);
            answer.wants("cache-status").contains("; hit").then_some(())
        });
    }

    /// Waits until the index has objects of this total size.
    #[track_caller]
    fn await_indexed(&self, size_bytes: usize) {
        eventually("the index has the objects", || {
            let connection = Connection::open(self.index()).ok()?;
            let sql = "SELECT cached_bytes FROM ledger";
            let cached: i64 = connection.query_row(sql, [], |row| row.get(0)).ok()?;
            (usize::try_from(cached) == Ok(size_bytes)).then_some(())
        });
    }
}

#[test]
fn start_on_read_only_disk_serves_hits() {
    let disk = Disk::mount();
    let mut stage = Stage::start(|builder| builder.cache_in(disk.folder()));
    stage.gateway.kill9();
    disk.set(Trouble::ReadOnly);
    stage.gateway.restart();
    stage.assert_hit();
    stage.assert_serves_new();
    stage.await_readiness("the cache cannot be written");
    disk.set(Trouble::Nothing);
    stage.await_recovery();
    stage.await_indexed(500_000);
    stage.assert_hit();
}

#[test]
fn newer_layout_on_read_only_disk_is_refused() {
    let disk = Disk::mount();
    fs::create_dir(disk.folder()).expect("a folder can be made");
    for (content, text) in [
        ("3\n", "layout 3, and this program knows layouts up to 2"),
        ("x\n", "holds no version of this program"),
    ] {
        disk.set(Trouble::Nothing);
        fs::write(disk.folder().join("layout"), content).expect("the disk can be written");
        disk.set(Trouble::ReadOnly);
        let run = Gateway::builder().cache_in(disk.folder()).run_to_end();
        assert_ne!(run.code, Some(0));
        assert!(run.stderr.contains(text), "{content:?}: {}", run.stderr);
    }
}

#[test]
fn start_on_full_disk_evicts_for_slot() {
    let disk = Disk::mount();
    let mut stage =
        Stage::start(|builder| builder.cache_in(disk.folder()).text("cache.min_free", "0B"));
    for number in 3..9 {
        let (path, body) = (format!("/{number}-1.0.tar.gz"), archive(number, 300_000));
        stage.origin.serve(&path, Reply::file(&body));
        stage.gateway.assert_serves(&stage.origin.url(&path), &body);
        stage.gateway.await_stored(&stage.origin.url(&path));
    }
    let before = stage.gateway.objects();
    stage.gateway.kill9();
    for side in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        fs::remove_file(stage.gateway.cache().join(side)).expect("the index exists");
    }
    // The file that fills the disk is not Millpond's.
    let filler = disk.folder().join("filler");
    let bytes = vec![0; 1 << 20];
    disk.set_capacity(8 << 20);
    let mut file = File::create(&filler).expect("a file can be made");
    for step in [1 << 20, 4096, 64, 1] {
        while std::io::Write::write_all(&mut file, &bytes[..step]).is_ok() {}
    }
    stage.gateway.restart();
    stage
        .gateway
        .assert_serves(&stage.origin.url(KEPT), &stage.kept);
    stage.assert_serves_new();
    stage.await_recovery();
    eventually("the index has the new target", || {
        let connection = Connection::open(stage.index()).ok()?;
        let sql = "SELECT count(*) FROM objects WHERE size_bytes = 200000";
        let count: i64 = connection.query_row(sql, [], |row| row.get(0)).ok()?;
        (count == 1).then_some(())
    });
    // The slot needs 1 MiB, and the new target 200 kB.
    let left = before.iter().filter(|object| object.exists()).count();
    assert!(left >= 2, "{left} of {} objects are left", before.len());
}

#[test]
fn start_without_inodes_evicts_for_slot() {
    let disk = Disk::mount();
    let mut stage = Stage::start(|builder| builder.cache_in(disk.folder()));
    for number in 3..40 {
        let (path, body) = (format!("/{number}-1.0.tar.gz"), archive(number, 500));
        stage.origin.serve(&path, Reply::file(&body));
        stage.gateway.assert_serves(&stage.origin.url(&path), &body);
        stage.gateway.await_stored(&stage.origin.url(&path));
    }
    stage.gateway.kill9();
    let plenty = 10_000;
    disk.set_inodes(plenty);
    disk.set_inodes(plenty - disk.free_inodes());
    stage.gateway.restart();
    stage
        .gateway
        .assert_serves(&stage.origin.url(KEPT), &stage.kept);
    stage.await_recovery();
}

#[test]
fn damaged_index_is_created_again() {
    let mut stage = Stage::start(|builder| builder);
    let execute = |index: &Path, sql: &str| {
        let connection = Connection::open(index).expect("the index can be opened");
        connection
            .execute_batch(sql)
            .expect("the statement is valid");
    };
    let damages: [&dyn Fn(&Path); 7] = [
        &|index| {
            fs::remove_file(index).expect("the index exists");
            fs::create_dir(index).expect("a folder can be made");
            fs::write(index.join("file"), b"x").expect("a file can be made");
        },
        &|index| {
            fs::remove_file(index).expect("the index exists");
            std::os::unix::fs::symlink("/dev/full", index).expect("a link can be made");
        },
        &|index| fs::write(index, vec![b'x'; 20_000]).expect("the index can be written"),
        &|index| execute(index, "DROP TABLE objects"),
        &|index| execute(index, "DELETE FROM ledger"),
        &|index| execute(index, "DROP TRIGGER object_added"),
        &|index| execute(index, "PRAGMA user_version = 99"),
    ];
    for damage in damages {
        stage.gateway.stop();
        damage(&stage.index());
        stage.gateway.restart();
        stage.assert_hit();
        stage.await_indexed(300_000);
        stage.await_readiness("ready");
    }
    stage.await_recovery();
}

#[test]
fn stop_without_index_file_reindexes_later() {
    let mut stage = Stage::start(|builder| builder);
    stage.gateway.stop();
    // SQLite opens no index whose second file is a folder.
    let obstacle = stage.gateway.cache().join("index.sqlite-wal");
    fs::create_dir(&obstacle).expect("the index was closed");
    stage.gateway.restart();
    stage.await_readiness("the file of the index cannot be used");
    stage.assert_serves_new();
    stage.gateway.await_stored(&stage.origin.url(NEW));
    stage.gateway.stop();
    fs::remove_dir(&obstacle).expect("the folder is empty");
    stage.gateway.restart();
    stage.await_indexed(500_000);
    let connection = Connection::open(stage.index()).expect("the index can be opened");
    let sql = "SELECT count(*) FROM objects";
    let count: i64 = connection
        .query_row(sql, [], |row| row.get(0))
        .expect("the index has objects");
    assert_eq!(count, 2);
}

#[test]
fn index_damaged_while_running_is_replaced() {
    let stage = Stage::start(|builder| builder);
    let connection = Connection::open(stage.index()).expect("the index can be opened");
    connection
        .execute_batch("DROP TABLE objects; DELETE FROM ledger")
        .expect("the statements are valid");
    drop(connection);
    stage.assert_hit();
    stage.assert_serves_new();
    stage.await_recovery();
    stage.await_indexed(500_000);
}

#[test]
fn held_index_lock_costs_milliseconds() {
    let mut stage = Stage::start(|builder| builder);
    for restarts in [false, true] {
        if restarts {
            stage.gateway.stop();
        }
        let mut holder = Connection::open(stage.index()).expect("the index can be opened");
        let transaction = holder
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .expect("the lock is free");
        if restarts {
            stage.gateway.restart();
        }
        let path = format!("/{restarts}-1.0.tar.gz");
        let bodies: Vec<_> = (0..40)
            .map(|number| (format!("/{number}{path}"), archive(number, 2_000)))
            .collect();
        for (path, body) in &bodies {
            stage.origin.serve(path, Reply::file(body));
        }
        let began = Instant::now();
        let waiting: Vec<_> = bodies
            .iter()
            .map(|(path, _)| stage.gateway.get(&stage.origin.url(path)).start())
            .collect();
        let hit_began = Instant::now();
        stage.assert_hit();
        assert!(
            hit_began.elapsed() < Duration::from_secs(1),
            "a hit waits for no index"
        );
        for (answer, (_, body)) in waiting.into_iter().zip(&bodies) {
            answer.head().finish().assert_body(200, body);
        }
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        for (path, _) in &bodies {
            stage.gateway.await_stored(&stage.origin.url(path));
        }
        stage.await_readiness("but another process has held the lock of the index");
        drop(transaction);
        drop(holder);
        eventually("the index is used again", || {
            let answer = stage.gateway.request("GET", "/readyz").send();
            (answer.text() == "ready\n").then_some(())
        });
    }
    // The bodies of both rounds are the same.
    stage.await_indexed(300_000 + 40 * 2_000);
    stage.await_recovery();
}

#[test]
fn start_passes_over_held_slots_lock() {
    let mut stage = Stage::start(|builder| builder);
    stage.gateway.stop();
    let lock = File::create(stage.gateway.cache().join("staging/.slots.lock"));
    let lock = lock.expect("the folder can be written");
    lock.lock().expect("no process holds the lock");
    let began = Instant::now();
    stage.gateway.restart();
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    stage.assert_hit();
    stage.await_recovery();
    let is_warning = |line: &str| line.contains("going on without the lock of the slots");
    stage.gateway.log().wait_for_line("the warning", is_warning);
}

#[test]
fn removed_parts_of_folder_are_created_again() {
    for part in [
        "",
        "staging",
        "objects",
        "records",
        "layout",
        "index.sqlite",
    ] {
        let stage = Stage::start(|builder| builder.text("cache.positive_ttl", "100ms"));
        let path = stage.gateway.cache().join(part);
        if path.is_file() {
            fs::remove_file(path).expect("the file exists");
        } else {
            fs::remove_dir_all(path).expect("the folder exists");
        }
        stage
            .gateway
            .assert_serves(&stage.origin.url(KEPT), &stage.kept);
        stage.assert_serves_new();
        stage.await_recovery();
        eventually("the layout is complete", || {
            let names = [
                "layout",
                "objects",
                "records",
                "staging",
                "locks",
                "index.sqlite",
            ];
            let is_there = |name: &&str| stage.gateway.cache().join(name).exists();
            names.iter().all(is_there).then_some(())
        });
    }
}

#[test]
fn replaced_folder_is_used() {
    let stage = Stage::start(|builder| builder.text("cache.positive_ttl", "100ms"));
    let aside = stage.gateway.cache().with_file_name("aside");
    fs::rename(stage.gateway.cache(), &aside).expect("a folder can be moved");
    fs::create_dir(stage.gateway.cache()).expect("a folder can be made");
    stage
        .gateway
        .assert_serves(&stage.origin.url(KEPT), &stage.kept);
    stage.await_recovery();
    fs::remove_dir_all(aside).expect("the folder exists");
}
