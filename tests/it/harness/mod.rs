//! Harness of the integration tests: the real binary on free ports, scripted loopback origins, and
//! strict clients. No connection leaves the machine, and every wait has a deadline.

mod answer;
mod bind;
mod bucket;
mod builder;
mod client;
mod connections;
mod disk;
mod disk_use;
mod dns_proxy;
mod ftp;
mod gateway;
mod leases;
mod log;
mod name_server;
mod nginx;
mod origin;
mod outputs;
mod redis_server;
mod reply;
mod scene;
mod script;
mod scrub;
mod smtp;
mod streaming;
mod tls;
mod tools;
mod vsftpd;
mod wire;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

pub use answer::{Answer, Ended};
pub use bind::{DNS_KEY, DNS_NAME, DNS_SECRET, Named};
pub use bucket::{
    ACCESS_KEY_ID, BUCKET, Bucket, Fault, REGION, SECRET_ACCESS_KEY, Seen, object_key,
};
pub use builder::{Builder, NAME, can_replace_system_files, millpond};
pub use client::{Request, encoded};
pub use connections::{Kept, connect_from, raise_descriptor_limit};
pub use disk::{Disk, Trouble};
pub use disk_use::{DiskUse, disk_use};
pub use dns_proxy::DnsProxy;
pub use ftp::{Act, FtpServer, GREETING, passive, say};
pub use gateway::Gateway;
pub use log::{Log, is_request_of};
pub use name_server::{DnsReply, NameServer, SilentAddress};
pub use nginx::{Nginx, NginxBuilder};
pub use origin::Origin;
pub use outputs::{Bare, run_with_outputs};
pub use redis_server::{REDIS_PASSWORD, RedisServer};
pub use reply::Reply;
pub use scene::Scene;
pub use script::{Gate, Stop};
pub use scrub::{rot, verify};
pub use smtp::Smtp;
pub use streaming::{Streaming, Waiting, is_timeout};
pub use tls::Authority;
pub use tools::{Run, Tool, has_program};
pub use vsftpd::Vsftpd;
pub use wire::listen;

/// Deadline for every wait without its own timeout. Only a failing test reaches it.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A past date for `Last-Modified`.
pub const DATE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
pub const DAY_BEFORE: &str = "Sun, 31 Dec 2023 00:00:00 GMT";
pub const DAY_AFTER: &str = "Tue, 02 Jan 2024 00:00:00 GMT";

pub type Body = Arc<[u8]>;

/// Returns `size` bytes that begin like a gzip file. They are the same for each `seed`.
pub fn archive(seed: u64, size: usize) -> Body {
    marked(b"\x1f\x8b\x08", seed, size)
}

/// Returns `size` bytes: `mark`, then pseudo-random bytes that are the same for each `seed`.
pub fn marked(mark: &[u8], seed: u64, size: usize) -> Body {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = mark.to_vec();
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// Returns `content` in gzip.
pub fn gzip(content: &[u8]) -> Body {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory takes all");
    encoder.finish().expect("memory takes all").into()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Compares two bodies and reports the first difference without printing them.
#[track_caller]
pub fn assert_same(found: &[u8], wanted: &[u8]) {
    let differs = found
        .iter()
        .zip(wanted)
        .position(|(found, wanted)| found != wanted);
    assert_eq!(
        found.len(),
        wanted.len(),
        "different lengths; first different byte: {differs:?}"
    );
    assert_eq!(differs, None, "first different byte");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panicked with the lock")
}

/// Polls until `probe` returns a value, for conditions that send no notification.
#[track_caller]
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "deadline passed before {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns every file under `folder`, sorted, or nothing if the folder does not exist.
pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return files;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Returns whether the tests run as root.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status")
        .expect("the kernel reports the process status");
    status
        .lines()
        .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// Runs `work` for each number below `count` in parallel, and returns the results.
pub fn all_at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count)
            .map(|number| {
                thread::Builder::new()
                    .stack_size(256 << 10)
                    .spawn_scoped(scope, move || work(number))
                    .expect("a thread can be started")
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panicked"))
            .collect()
    })
}
