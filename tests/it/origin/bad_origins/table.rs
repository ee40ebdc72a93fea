//! The table `tests/bad_origins.tsv`: what clients get from a hundred kinds of bad origins, and
//! what is stored. No client gets bytes as whole that the origin did not send as whole.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::script::{Bodies, Row};
use super::server::BadOrigin;
use crate::harness::{Answer, Ended, Gateway, all_at_once, files_under, listen, sha256};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bad_origins.tsv");

/// Ways to ask: endpoint, and class of the target.
pub const KINDS: [&str; 4] = ["gateway-fixed", "proxy-fixed", "gateway-open", "proxy-open"];

/// Number of targets that are asked for at a time.
const WORKERS: usize = 32;

/// Reads the rows of the table for an origin at `port`.
fn rows(bodies: &Bodies, port: u16) -> Vec<Arc<Row>> {
    let text = std::fs::read_to_string(TABLE).expect("the table can be read");
    let rows: Vec<_> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| Arc::new(Row::parse(line, bodies, port)))
        .collect();
    assert!(rows.len() >= 100, "{} rows", rows.len());
    rows
}

fn gateway(origin: &BadOrigin) -> Gateway {
    let mut builder = Gateway::builder()
        // All downloads are of one client, and begin at about the same time.
        .set("limits.requests_per_second", "0")
        .relay()
        .set("fetch.attempts", "2")
        .set("fetch.breaker_failures", "0")
        .set("fetch.per_host", "200")
        .set("fetch.concurrency", "200")
        .text("fetch.idle_timeout", "4s")
        .text("policy.max_object_size", "1MiB");
    for port in origin.ports() {
        builder = builder.port(port);
    }
    builder.start()
}

/// Describes the response that a client got.
pub fn describe(answer: &Answer, bodies: &Bodies) -> String {
    match (answer.status, answer.ended) {
        (200, Ended::Whole) => bodies.name_of(&answer.body),
        // Whether the head arrives before the body breaks off is a matter of time.
        (504, Ended::Whole) => "broken".to_owned(),
        (200, Ended::Cut) if bodies.is_beginning(&answer.body) => "broken".to_owned(),
        (200, _) => "mixture".to_owned(),
        (status, Ended::Whole) => status.to_string(),
        (status, _) => format!("{status} without end"),
    }
}

pub fn ask(gateway: &Gateway, kind: &str, url: &str) -> Answer {
    if kind.starts_with("gateway") {
        gateway.get(url).send()
    } else {
        gateway.proxied("GET", url).send()
    }
}

/// Returns whether a record or an observation of a target is on the disk.
fn is_stored(gateway: &Gateway, url: &str) -> bool {
    let key = sha256(url.as_bytes());
    let folders = ["records", "observations"];
    folders.iter().any(|folder| {
        let folder = gateway.cache().join(folder).join(&key[..2]).join(&key);
        !files_under(&folder).is_empty()
    })
}

/// Asks for one target of a row twice, and describes both results.
fn try_kind(gateway: &Gateway, url: &str, kind: &str, bodies: &Bodies) -> String {
    let first = describe(&ask(gateway, kind, url), bodies);
    let second = describe(&ask(gateway, kind, url), bodies);
    if first == second {
        first
    } else {
        format!("{first}, {second}")
    }
}

/// Returns whether the results are among those of the table.
fn are_expected(columns: &[String], row: &Row) -> bool {
    columns.len() == row.results.len()
        && columns
            .iter()
            .zip(&row.results)
            .all(|(found, expected)| expected.split(" or ").any(|one| one == found))
}

/// Returns the results of a row in the columns of the table.
fn columns(found: &HashMap<(String, usize), (String, bool)>, row: &Row) -> Vec<String> {
    let of_kind = |number: usize| &found[&(row.name.clone(), number)];
    let stored: Vec<&str> = (0..KINDS.len())
        .filter(|number| of_kind(*number).1)
        .map(|number| KINDS[number])
        .collect();
    let stored = match stored.len() {
        0 => "nothing".to_owned(),
        4 => "all".to_owned(),
        _ => stored.join(" "),
    };
    let results = (0..KINDS.len()).map(|number| of_kind(number).0.clone());
    results.chain([stored]).collect()
}

/// All rows of the table, the origin that serves them, and a gateway.
pub struct Setting {
    pub bodies: Bodies,
    pub rows: Vec<Arc<Row>>,
    pub origin: Arc<BadOrigin>,
    pub gateway: Gateway,
}

impl Setting {
    pub fn start() -> Self {
        let (bodies, listener) = (Bodies::new(), listen("127.0.0.1"));
        let address = listener.local_addr().expect("a listener has an address");
        let rows = rows(&bodies, address.port());
        let origin = BadOrigin::start(listener, &rows);
        let gateway = gateway(&origin);
        Self {
            bodies,
            rows,
            origin,
            gateway,
        }
    }
}

/// Returns the rows that wait first, so that the others fill their time.
pub fn slow_first(rows: &[Arc<Row>]) -> Vec<&Arc<Row>> {
    let (slow, fast): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.waits());
    slow.into_iter().chain(fast).collect()
}

#[test]
fn bad_origins_yield_no_wrong_bytes() {
    let Setting {
        bodies,
        rows,
        origin,
        gateway,
    } = Setting::start();
    let work: VecDeque<(Arc<Row>, usize)> = slow_first(&rows)
        .into_iter()
        .flat_map(|row| (0..KINDS.len()).map(|number| (Arc::clone(row), number)))
        .collect();
    let queue = Mutex::new(work);
    let found = all_at_once(WORKERS, |_| {
        let mut found = Vec::new();
        let next = || queue.lock().expect("no thread panicked").pop_front();
        while let Some((row, number)) = next() {
            let url = origin.url(&row, KINDS[number]);
            let result = try_kind(&gateway, &url, KINDS[number], &bodies);
            found.push(((row, number), result));
        }
        found
    });
    // The disk may need up to two seconds more than a client.
    let found: HashMap<_, _> = found
        .into_iter()
        .flatten()
        .map(|((row, number), result)| {
            let is_stored = is_stored(&gateway, &origin.url(&row, KINDS[number]));
            ((row.name.clone(), number), (result, is_stored))
        })
        .collect();
    let wrong: Vec<String> = rows
        .iter()
        .map(|row| (row, columns(&found, row)))
        .filter(|(row, columns)| !are_expected(columns, row))
        .map(|(row, columns)| format!("{}\t{}", row.name, columns.join("\t")))
        .collect();
    assert!(wrong.is_empty(), "other results:\n{}", wrong.join("\n"));
    assert_objects(&gateway, &bodies);
}

/// Asserts that each object is one that an origin has sent as whole, with its framing.
fn assert_objects(gateway: &Gateway, bodies: &Bodies) {
    for object in gateway.objects() {
        let stored = std::fs::read(&object).expect("an object can be read");
        let name = bodies.name_of(&stored);
        assert!(
            matches!(
                name.as_str(),
                "right" | "other" | "beginning" | "first" | "packed"
            ),
            "{name} is stored"
        );
    }
}
