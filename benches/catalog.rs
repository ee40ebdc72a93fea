//! The catalog with a million entries: time to import them, time of a look-up by name and by
//! digest, memory, and size of the file.
//!
//!     cargo bench --bench catalog

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use millpond::cache::{Cache, Config, OpenMode};
use millpond::catalog::{Catalog, CatalogQuery, FileName, ListFormat};
use millpond::limits::ClientShare;
use millpond::model::{Digest, EventSink};
use sha2::{Digest as _, Sha256};

const ENTRIES: usize = 1_000_000;

/// Entries of one list. Lists of the API have at most 16 MiB.
const ENTRIES_OF_LIST: usize = 100_000;

const LOOKUPS: usize = 10_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let config = Config {
        dir: folder.path().to_owned(),
        ..Config::default()
    };
    let (share, events) = (ClientShare::default(), EventSink::new());
    let cache = Cache::open(&config, None, OpenMode::Maintenance, &share, events);
    let catalog = Catalog::new(cache.expect("an empty folder can be opened"));
    let before = resident_kib();
    let began = Instant::now();
    for first in (0..ENTRIES).step_by(ENTRIES_OF_LIST) {
        let mut list = String::new();
        for number in first..first + ENTRIES_OF_LIST {
            let (hex, name) = (hex_of(number), name_of(number));
            writeln!(list, "{hex}  https://files.example.org/pub/project/{name}")
                .expect("memory can be written");
        }
        let entries = ListFormat::Sums.parse(&list).expect("the list is valid");
        catalog.import(entries).await.expect("the disk has space");
    }
    println!("import of {ENTRIES} entries: {:?}", began.elapsed());
    let count = catalog.count().await.expect("the catalog can be read");
    assert_eq!(count, ENTRIES as u64);
    let name = |number| FileName::new(&name_of(number)).expect("it is a name");
    let digest = |number| hex_of(number).parse::<millpond::model::Sha256>();
    let digest = |number| Digest::from(digest(number).expect("it is a digest"));
    let by_name = |number| CatalogQuery::by_name(name(number));
    let by_digest = |number| CatalogQuery::by_digest(digest(number));
    look_up(&catalog, "by name", 1, by_name).await;
    look_up(&catalog, "by digest", 1, by_digest).await;
    look_up(&catalog, "unknown name", 0, |number| {
        by_name(number + ENTRIES)
    })
    .await;
    look_up(&catalog, "unknown digest", 0, |number| {
        by_digest(number + ENTRIES)
    })
    .await;
    let grown = resident_kib().saturating_sub(before) / 1024;
    println!("memory: {grown} MiB more than before the import");
    let size =
        ["catalog.sqlite", "catalog.sqlite-wal"].map(|name| size_of(&folder.path().join(name)));
    println!(
        "file: {} MiB, its log: {} MiB",
        size[0] >> 20,
        size[1] >> 20
    );
}

/// Looks up files one after another, and prints the middle and the slowest of a hundred.
async fn look_up(
    catalog: &Catalog,
    what: &str,
    found: usize,
    query: impl Fn(usize) -> CatalogQuery,
) {
    let mut times: Vec<Duration> = Vec::with_capacity(LOOKUPS);
    for turn in 0..LOOKUPS {
        // The numbers are spread over all entries.
        let query = query(turn * 7_919 % ENTRIES);
        let began = Instant::now();
        let files = catalog.find(&query).await.expect("the catalog can be read");
        times.push(began.elapsed());
        assert_eq!(files.len(), found, "{query:?}");
    }
    times.sort_unstable();
    let (middle, slow) = (times[LOOKUPS / 2], times[LOOKUPS * 99 / 100]);
    println!("{what}: {middle:?}, the slowest hundredth: {slow:?}");
}

fn name_of(number: usize) -> String {
    format!("project-{number}.tar.gz")
}

fn hex_of(number: usize) -> String {
    hex::encode(Sha256::digest(number.to_le_bytes()))
}

fn size_of(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

/// Returns the resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("the status contains VmRSS");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number")
}
