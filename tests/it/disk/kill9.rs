//! A test that kills the gateway with SIGKILL hundreds of times, while requests, uploads, imports
//! and evictions run.

mod operator;
mod order;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{fs, thread};

use self::operator::operate;
use self::targets::{Random, Target};
use crate::harness::{
    Answer, Body, Bucket, Ended, Gateway, Log, Origin, Request, assert_same, sha256,
};

/// Number of kills in a normal test run. `MILLPOND_TEST_KILLS` sets another number.
const USUAL_ROUNDS: u64 = 50;

/// Seed of all random choices of a run. The kernel's scheduling is not controlled.
const SEED: u64 = 20_260_131;

/// Longest life of a process, in milliseconds, and the latest kill during a start.
const LIFE_MS: u64 = 500;
const START_MS: u64 = 60;

const CLIENTS: u64 = 4;

/// Number of new targets in each round, and of the newest targets that get most requests.
const NEW_TARGETS: u64 = 3;
const FRESH: u64 = 9;

/// Interval in rounds between imports and between pins. Both are rare enough not to fill the cache.
const IMPORT_EVERY: u64 = 4;
const PIN_EVERY: u64 = 12;

/// Longest time before the end of a life at which the operator starts, in milliseconds. Most kills
/// then hit the middle of the operator's request.
const WORK_MS: u64 = 40;

/// Maximum number of bytes on the disk.
const MAX_BYTES: u64 = 72 << 20;

#[derive(Clone, Copy)]
struct Addresses {
    gateway: SocketAddr,
    proxy: SocketAddr,
}

/// State that the test observes from outside while processes start and die.
#[derive(Default)]
struct Seen {
    addresses: Option<Addresses>,
    targets: Vec<std::sync::Arc<Target>>,
    /// Pairs of a URL and a digest that a process has reported as stored.
    published: BTreeSet<(String, String)>,
    /// Objects that Millpond confirmed as imported, or as pinned while they were on the disk.
    kept: BTreeSet<String>,
    imported: BTreeMap<String, Body>,
}

#[derive(Default)]
struct Counts {
    whole: AtomicU64,
    hits: AtomicU64,
    broken: AtomicU64,
    refused: AtomicU64,
    fetches: AtomicU64,
    uploads: AtomicU64,
    evictions: AtomicU64,
    imports: AtomicU64,
    starts: AtomicU64,
    sweeps: AtomicU64,
}

#[derive(Default)]
struct Run {
    seen: Mutex<Seen>,
    counts: Counts,
    is_over: AtomicBool,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Run {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen
            .lock()
            .expect("no thread panics while holding the lock")
    }

    /// Requests targets until the run is over.
    fn ask(&self, client: u64) {
        let mut random = Random(SEED ^ (client + 1));
        while !self.is_over.load(Ordering::Relaxed) {
            let (addresses, target) = {
                let seen = self.seen();
                let known = seen.targets.len() as u64;
                let reach = if random.below(3) == 0 {
                    known
                } else {
                    FRESH.min(known)
                };
                let number =
                    usize::try_from(known - 1 - random.below(reach)).expect("the number fits");
                (seen.addresses, seen.targets[number].clone())
            };
            let Some(addresses) = addresses else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            let request = match random.below(2) {
                0 => Request::new(addresses.gateway, "GET", &format!("/{}", target.url)),
                _ => Request::new(addresses.proxy, "GET", &target.url),
            };
            let first =
                usize::try_from(random.below(target.body.len() as u64)).expect("the number fits");
            let range = (random.below(3) == 0).then_some(first);
            self.look(&target, &request, range);
        }
    }

    /// Sends one request. A response that ends cleanly must have exactly the right bytes.
    fn look(&self, target: &Target, request: &Request, range: Option<usize>) {
        let request = match range {
            Some(first) => request.clone().range(&format!("bytes={first}-")),
            None => request.clone(),
        };
        let Some(answer) = request.send_if_it_lives() else {
            return count(&self.counts.refused);
        };
        if answer.ended != Ended::Whole {
            return count(&self.counts.broken);
        }
        let url = &target.url;
        match (answer.status, range) {
            (200, _) => assert_same(&answer.body, &target.body),
            (206, Some(first)) => assert_same(&answer.body, &target.body[first..]),
            (status, _) => panic!(
                "{url}: {status}, {}\n{:#?}",
                answer.text(),
                answer.head.headers
            ),
        }
        count(&self.counts.whole);
        if is_hit(&answer) {
            count(&self.counts.hits);
            self.seen()
                .published
                .insert((url.clone(), sha256(&target.body)));
        }
    }

    /// Returns a summary of the run.
    fn summary(&self) -> String {
        let counts = &self.counts;
        let mut summary: Vec<_> = [
            ("whole", &counts.whole),
            ("hits", &counts.hits),
            ("broken", &counts.broken),
            ("refused", &counts.refused),
            ("killed in a fetch", &counts.fetches),
            ("in an upload", &counts.uploads),
            ("in a life with evictions", &counts.evictions),
            ("in an import", &counts.imports),
            ("while starting", &counts.starts),
            ("sweeps", &counts.sweeps),
        ]
        .map(|(name, counter)| format!("{name} {}", counter.load(Ordering::Relaxed)))
        .into();
        let seen = self.seen();
        summary.push(format!(
            "published {}, kept {}",
            seen.published.len(),
            seen.kept.len()
        ));
        summary.push(format!(
            "imported {}, of {} targets",
            seen.imported.len(),
            seen.targets.len()
        ));
        summary.join(", ")
    }

    /// Checks the log of a killed process, and records what it reported as stored.
    fn read_log(&self, log: &Log) {
        assert!(log.await_end(), "the log of a killed process ends");
        assert!(!log.text().contains("panicked"), "{}", log.text());
        for event in log.events() {
            let is_stored = event["message"] == "fetch" && event["outcome"] == "stored";
            let was_there = ["uploaded", "import"]
                .iter()
                .any(|message| event["message"] == *message);
            if (is_stored || was_there)
                && let (Some(url), Some(sha256)) = (event["uri"].as_str(), event["sha256"].as_str())
            {
                self.seen()
                    .published
                    .insert((url.to_owned(), sha256.to_owned()));
            }
            if event["message"] == "reconciled index with disk" {
                count(&self.counts.sweeps);
            }
        }
    }
}

fn is_hit(answer: &Answer) -> bool {
    answer
        .header("cache-status")
        .is_some_and(|status| status.split(';').any(|part| part.trim() == "hit"))
}

/// Guard that ends the run when it goes out of scope, even if the test fails.
struct Over<'a>(&'a Run);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
        if thread::panicking() {
            eprintln!("the seed was {SEED}");
        }
    }
}

fn object_path(cache: &Path, digest: &str) -> PathBuf {
    cache.join("objects").join(&digest[..2]).join(digest)
}

fn bytes_in(files: &[PathBuf]) -> u64 {
    files
        .iter()
        .filter_map(|file| fs::metadata(file).ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// Parts of the test that outlive each process.
struct Setting<'a> {
    run: &'a Run,
    origin: &'a Origin,
    bucket: &'a Bucket,
    token: &'a str,
}

/// Lets a process run under load for a while, kills it, and counts the work that was interrupted.
fn live_and_die(setting: &Setting<'_>, gateway: &mut Gateway, round: u64) {
    let Setting {
        run,
        origin,
        bucket,
        token,
    } = *setting;
    let mut random = Random(SEED.wrapping_mul(round + 3));
    let life = Duration::from_millis(random.below(LIFE_MS));
    let is_importing = AtomicBool::new(false);
    let unanswered = || {
        bucket
            .requests("PUT", "objects/")
            .iter()
            .filter(|put| put.status.is_none())
            .count()
    };
    let lost_before = unanswered();
    let (log, before) = (gateway.log().clone(), gateway.objects());
    thread::scope(|scope| {
        let shared: &Gateway = gateway;
        let importing = &is_importing;
        let idle = life.saturating_sub(Duration::from_millis(random.below(WORK_MS)));
        let operator = scope.spawn(move || {
            thread::sleep(idle);
            importing.store(true, Ordering::Relaxed);
            operate(run, shared, origin, token, round);
            importing.store(false, Ordering::Relaxed);
        });
        thread::sleep(life);
        let is_uploading = unanswered() > lost_before;
        let is_evicting = before.iter().any(|object| !object.exists());
        run.seen().addresses = None;
        shared.signal("KILL");
        if is_importing.load(Ordering::Relaxed) && round.is_multiple_of(IMPORT_EVERY) {
            count(&run.counts.imports);
        }
        for (is_so, counter) in [
            (is_uploading, &run.counts.uploads),
            (is_evicting, &run.counts.evictions),
        ] {
            if is_so {
                count(counter);
            }
        }
        operator.join().expect("the operator thread does not panic");
    });
    gateway.kill9();
    run.read_log(&log);
    if !gateway.staged().is_empty() {
        count(&run.counts.fetches);
    }
    if round.is_multiple_of(4) {
        run.read_log(&gateway.restart_and_kill9(Duration::from_millis(random.below(START_MS))));
        count(&run.counts.starts);
    }
    gateway.restart();
}

#[test]
fn repeated_sigkill_loses_or_corrupts_no_bytes() {
    let asked_for = std::env::var("MILLPOND_TEST_KILLS").ok();
    let rounds = asked_for.map_or(USUAL_ROUNDS, |rounds| {
        rounds.parse().expect("MILLPOND_TEST_KILLS is a number")
    });
    let began = Instant::now();
    let (origin, bucket, run) = (Origin::start(), Bucket::start(), Run::default());
    let builder = bucket
        .configure(Gateway::builder().origin(&origin).relay(), "")
        .text("s3.delivery", "relay");
    // A body without length reserves 64 MiB. The cache has space for one such body at a time, and
    // holds little else.
    let builder = builder
        .set("cache.max_size", "\"72MiB\"")
        .set("cache.high_watermark", "0.05");
    let builder = builder
        .set("cache.low_watermark", "0.03")
        .text("cache.negative_ttl", "1s");
    let builder = builder
        .set("limits.requests_per_second", "0")
        .set("fetch.breaker_failures", "0");
    let mut gateway = builder.start();
    let token = gateway.token();
    let setting = Setting {
        run: &run,
        origin: &origin,
        bucket: &bucket,
        token: &token,
    };
    thread::scope(|scope| {
        let over = Over(&run);
        run.seen().targets.push(Target::new(&origin, 0).into());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let run = &run;
                scope.spawn(move || run.ask(client))
            })
            .collect();
        for round in 0..rounds {
            for new in 0..NEW_TARGETS {
                let target = Target::new(&origin, 1 + round * NEW_TARGETS + new);
                run.seen().targets.push(target.into());
            }
            run.seen().addresses = Some(Addresses {
                gateway: gateway.addr(),
                proxy: gateway.proxy_addr(),
            });
            live_and_die(&setting, &mut gateway, round);
            assert!(
                !clients.iter().any(thread::ScopedJoinHandle::is_finished),
                "a client has failed"
            );
        }
        drop(over);
    });
    let killed = began.elapsed();
    let _seed = Over(&run);
    order::assert_all_in_order(&run, &gateway, &bucket);
    order::assert_all_served(&run, &gateway, &origin);
    eprintln!(
        "{rounds} rounds in {killed:?}, {:?} in all; {}",
        began.elapsed(),
        run.summary()
    );
}
