//! The disk hangs, the bucket is away and the name server is silent, all at once, while clients
//! download stored and new targets. No client gets wrong bytes, and nothing stored is lost.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::harness::{
    Body, Bucket, Disk, Ended, Gateway, NameServer, Origin, Reply, Trouble, archive, assert_same,
    eventually, object_key, sha256,
};

/// Number of targets that are stored and uploaded before the outages.
const KEPT: u64 = 12;

const CLIENTS: usize = 8;

/// Responses that the clients wait for before, during and after the outages.
const RESPONSES: usize = 32;

#[derive(Default)]
struct Run {
    is_over: AtomicBool,
    next: AtomicU64,
    whole: AtomicUsize,
    failed: AtomicUsize,
    /// URLs and digests that clients got from the cache.
    hits: Mutex<BTreeSet<(String, String)>>,
}

struct Setting {
    gateway: Gateway,
    origin: Origin,
    bucket: Bucket,
    disk: Disk,
    names: NameServer,
    is_silent: AtomicBool,
}

impl Setting {
    fn start() -> Self {
        let (disk, bucket) = (Disk::mount(), Bucket::start());
        let (origin, names) = (Origin::start(), NameServer::start());
        let builder = Gateway::builder()
            .origin(&origin)
            .relay()
            .one_attempt()
            .cache_in(disk.folder())
            .text("cache.disk_timeout", "1s")
            .text("cache.negative_ttl", "1s")
            .text("s3.delivery", "relay")
            .set("fetch.breaker_failures", "0")
            .set("dial.nameservers", &format!("[\"{}\"]", names.address()));
        let gateway = bucket.configure(builder, "").start();
        Self {
            gateway,
            origin,
            bucket,
            disk,
            names,
            is_silent: AtomicBool::new(false),
        }
    }

    /// Serves a target whose name no other target has, and returns its URL and body.
    fn target(&self, number: u64) -> (String, Body) {
        let (name, path) = (
            format!("host-{number}.example.test"),
            format!("/{number}-1.0.tar.gz"),
        );
        if self.is_silent.load(Ordering::Relaxed) {
            self.names.silence(&name);
        } else {
            self.names.serve(&name, &["127.0.0.1"]);
        }
        let body = body(number);
        let reply = Reply::file(&body).drip(20_000, Duration::from_millis(5));
        self.origin.serve(&path, reply);
        let url = format!("http://{name}:{}{path}", self.origin.port());
        (url, body)
    }

    /// Requests stored and new targets in turn until the run is over.
    fn download(&self, run: &Run) {
        while !run.is_over.load(Ordering::Relaxed) {
            let number = run.next.fetch_add(1, Ordering::Relaxed);
            let number = if number.is_multiple_of(2) {
                number / 2 % KEPT
            } else {
                KEPT + number
            };
            let (url, body) = self.target(number);
            let Some(answer) = self.gateway.get(&url).send_if_it_lives() else {
                panic!("the gateway closes no connection without a response");
            };
            match (answer.status, answer.ended) {
                (200, Ended::Whole) => assert_same(&answer.body, &body),
                (200, _) => assert_same(&answer.body, &body[..answer.body.len()]),
                (status, _) => assert!(status >= 500, "{url}: {status} {}", answer.text()),
            }
            if answer.status != 200 || answer.ended != Ended::Whole {
                run.failed.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            run.whole.fetch_add(1, Ordering::Relaxed);
            let is_hit = |status: &str| status.contains("; hit");
            if answer.header("cache-status").is_some_and(is_hit) {
                let mut hits = run.hits.lock().expect("no thread panicked");
                hits.insert((url, sha256(&body)));
            }
        }
    }

    /// Asserts that the account of the index is that of the objects on the disk.
    fn assert_ledger(&self) {
        let file = self.gateway.cache().join("index.sqlite");
        eventually("the ledger is right", || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
            let index = Connection::open_with_flags(&file, flags).ok()?;
            let sql = "SELECT cached_bytes, objects, (SELECT count(*) FROM reservations),
                       (SELECT count(*) FROM pending) FROM ledger";
            let counted: [i64; 4] = index
                .query_row(sql, [], |row| {
                    Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
                })
                .ok()?;
            let objects = self.gateway.objects();
            let sizes = objects.iter().filter_map(|path| fs::metadata(path).ok());
            let bytes = i64::try_from(sizes.map(|metadata| metadata.len()).sum::<u64>()).ok()?;
            let count = i64::try_from(objects.len()).ok()?;
            (counted == [bytes, count, 0, 0]).then_some(())
        });
    }
}

fn body(number: u64) -> Body {
    archive(
        number,
        20_000 + 9_000 * usize::try_from(number % 32).expect("it is small"),
    )
}

/// Waits until the clients got more responses.
fn await_responses(run: &Run, phase: &str) {
    let count = || run.whole.load(Ordering::Relaxed) + run.failed.load(Ordering::Relaxed);
    let before = count();
    eventually(phase, || (count() >= before + RESPONSES).then_some(()));
}

#[test]
fn simultaneous_outages_lose_or_corrupt_no_bytes() {
    let setting = Setting::start();
    for number in 0..KEPT {
        let (url, body) = setting.target(number);
        setting.gateway.assert_serves(&url, &body);
        setting.gateway.await_uploaded(&url);
    }
    let run = Run::default();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| setting.download(&run)))
            .collect();
        await_responses(&run, "responses before the outages");
        setting.is_silent.store(true, Ordering::Relaxed);
        setting.bucket.go_down();
        setting.disk.set(Trouble::Hangs);
        eventually("the outage is reported", || {
            let ready = setting.gateway.request("GET", "/readyz").send();
            (ready.status == 503).then_some(())
        });
        await_responses(&run, "responses during the outages");
        setting.disk.set(Trouble::Nothing);
        setting.bucket.come_up();
        setting.is_silent.store(false, Ordering::Relaxed);
        eventually("the node is ready again", || {
            let ready = setting.gateway.request("GET", "/readyz").send();
            (ready.status == 200).then_some(())
        });
        await_responses(&run, "responses after the outages");
        run.is_over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no client got wrong bytes");
        }
    });
    assert!(run.failed.load(Ordering::Relaxed) > 0, "nothing was away");
    let hits = run.hits.into_inner().expect("no thread panicked");
    assert!(hits.len() >= usize::try_from(KEPT).expect("it is small"));
    for (url, digest) in hits {
        let answer = eventually("a stored target is a hit", || {
            let answer = setting.gateway.get(&url).send();
            let is_hit = |status: &str| status.contains("; hit");
            let is_hit = answer.header("cache-status").is_some_and(is_hit);
            (answer.status == 200 && is_hit).then_some(answer)
        });
        assert_eq!(sha256(&answer.body), digest);
    }
    setting.assert_ledger();
    for object in setting.gateway.objects() {
        let bytes = fs::read(&object).expect("an object can be read");
        let copy = setting.bucket.wait_for(&object_key(&bytes));
        assert_same(&copy, &bytes);
    }
    eprintln!("{:?} whole, {:?} failed", run.whole, run.failed);
}
