//! Tests of `/metrics`: exact counts of known traffic, access, and the files for Prometheus and
//! Grafana.

mod access;
mod shipped_files;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{Body, Gate, Gateway, Nginx, Origin, Reply, all_at_once, archive, eventually};

/// Clients of one cold object.
const HERD: usize = 100;

/// Greater than the buffers of a connection on loopback.
const LARGE_BYTES: usize = 24 << 20;

/// Samples of a page, by name with labels.
pub struct Samples(BTreeMap<String, f64>);

impl Samples {
    #[track_caller]
    pub fn of(gateway: &Gateway) -> Self {
        let answer = gateway.request("GET", "/metrics").send();
        answer.assert_status(200);
        Self::parse(&answer.text())
    }

    /// Reads a page in the text format of Prometheus.
    #[track_caller]
    pub fn parse(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let value = value.parse().expect("the value is a number");
            (series.to_owned(), value)
        };
        Self(lines.map(sample).collect())
    }

    /// Names of all samples, without labels.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let series = self.0.keys();
        series.map(|series| series.split('{').next().unwrap_or_default())
    }

    /// Returns the sum of all series of a name that have these labels, such as `outcome="hit"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> u64 {
        let found = self.0.iter().filter(|(series, _)| {
            series.split('{').next() == Some(name)
                && labels.iter().all(|label| series.contains(label))
        });
        let sum: f64 = found.map(|(_, value)| value).sum();
        format!("{sum:.0}")
            .parse()
            .expect("counts are whole numbers")
    }

    /// Asserts sums, each of a name with labels.
    #[track_caller]
    fn assert_sums(&self, sums: &[(&str, &[&str], u64)]) {
        for (name, labels, wanted) in sums {
            assert_eq!(self.sum(name, labels), *wanted, "{name} {labels:?}");
        }
    }
}

/// Waits until so many requests at both ports are counted. A request is counted after its last
/// byte.
#[track_caller]
fn await_requests(gateway: &Gateway, count: u64) -> Samples {
    eventually("all requests are counted", || {
        let samples = Samples::of(gateway);
        let counted = ["gateway", "proxy"].map(|endpoint| {
            let endpoint = format!("endpoint=\"{endpoint}\"");
            samples.sum("millpond_requests_total", &[&endpoint])
        });
        (counted.iter().sum::<u64>() == count).then_some(samples)
    })
}

/// Files of the known traffic.
struct Traffic {
    hit: Body,
    herd: Body,
    large: Body,
    index: Body,
    passed: Body,
    redirected: Body,
}

impl Traffic {
    fn served_by(origin: &Origin, gate: &Gate) -> Self {
        let traffic = Self {
            hit: archive(1, 100_000),
            herd: archive(2, 200_000),
            large: archive(3, LARGE_BYTES),
            index: Body::from(*b"an index"),
            passed: archive(4, 30_000),
            redirected: archive(5, 40_000),
        };
        let herd = Reply::file(&traffic.herd).gate_at(100_000, gate);
        for (path, reply) in [
            ("/pub/hit-1.0.tar.gz", Reply::file(&traffic.hit)),
            ("/pub/herd-1.0.tar.gz", herd),
            ("/pub/large-1.0.tar.gz", Reply::file(&traffic.large)),
            (
                "/dists/stable/Release",
                Reply::file(&traffic.index).conditional(),
            ),
            ("/pub/passed-1.0.tar.gz", Reply::file(&traffic.passed)),
            ("/pub/form", Reply::ok(&traffic.passed)),
            (
                "/pub/redirected-1.0.tar.gz",
                Reply::file(&traffic.redirected),
            ),
        ] {
            origin.serve(path, reply);
        }
        traffic
    }
}

/// Sends traffic of every kind. Returns the bytes of the transfer that the client has broken off.
#[track_caller]
fn send_traffic(gateway: &Gateway, origin: &Origin, traffic: &Traffic, gate: &Gate) -> u64 {
    let url = origin.url("/pub/hit-1.0.tar.gz");
    for _ in 0..4 {
        gateway.assert_serves(&url, &traffic.hit);
    }
    let part = gateway.get(&url).range("bytes=1000-1999").send();
    part.assert_body(206, &traffic.hit[1000..2000]);
    let all = gateway.get(&url).range("bytes=0-").send();
    all.assert_body(206, &traffic.hit);
    let head = gateway.request("HEAD", &format!("/{url}")).send();
    head.assert_status(200);
    let known = gateway
        .get(&url)
        .header("If-None-Match", head.wants("etag"));
    known.send().assert_status(304);

    let url = origin.url("/pub/herd-1.0.tar.gz");
    let answers = all_at_once(HERD, |_| {
        let mut answer = gateway.get(&url).open();
        answer.read(1);
        answer
    });
    gate.open();
    for answer in answers {
        answer.finish().assert_body(200, &traffic.herd[1..]);
    }

    let url = origin.url("/dists/stable/Release");
    gateway.assert_serves(&url, &traffic.index);
    gateway
        .assert_serves(&url, &traffic.index)
        .assert_cache(&["fwd-status=304"]);

    let credentials = gateway.proxied("GET", &origin.url("/pub/passed-1.0.tar.gz"));
    let answer = credentials.header("Authorization", "Basic eDp5").send();
    answer.assert_body(200, &traffic.passed);
    let form = gateway.proxied("POST", &origin.url("/pub/form")).body(b"x");
    form.send().assert_body(200, &traffic.passed);

    let url = origin.url("/pub/redirected-1.0.tar.gz");
    gateway.get(&url).wget_agent().send().assert_status(302);
    gateway.await_stored(&url);
    gateway
        .get(&origin.url("/pub/missing-1.0.tar.gz"))
        .send()
        .assert_status(404);
    gateway
        .request("GET", "/no-target")
        .send()
        .assert_status(404);

    let url = origin.url("/pub/large-1.0.tar.gz");
    gateway.assert_serves(&url, &traffic.large);
    let mut answer = gateway.get(&url).open();
    answer.read(1);
    drop(answer);
    let aborted = gateway.log().wait_for("the broken transfer", |event| {
        event["message"] == "request" && event["completion"] == "aborted"
    });
    aborted["sent_bytes"].as_u64().expect("a number of bytes")
}

#[test]
fn known_traffic_gives_exact_counts() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let traffic = Traffic::served_by(&origin, &gate);
    let mut gateway = Gateway::builder().origin(&origin).one_attempt().start();
    let aborted_bytes = send_traffic(&gateway, &origin, &traffic, &gate);
    let size = |body: &Body| body.len() as u64;
    let collapsed = HERD as u64 - 1;
    let samples = await_requests(&gateway, collapsed + 18);

    let requests = "millpond_requests_total";
    let downloads = "millpond_downloads_total";
    let bytes = "millpond_response_bytes_total";
    let hit_bytes = 4 * size(&traffic.hit) + 1000 + size(&traffic.index) + aborted_bytes;
    let shared_bytes = collapsed * size(&traffic.herd);
    let fetched_bytes = [&traffic.hit, &traffic.herd, &traffic.large, &traffic.index];
    let fetched_bytes = fetched_bytes.map(size).into_iter().sum::<u64>();
    let passed_bytes = 2 * size(&traffic.passed);
    let received_bytes = fetched_bytes + passed_bytes + size(&traffic.redirected);
    samples.assert_sums(&[
        (requests, &["gateway", "outcome=\"hit\""], 8),
        (requests, &["gateway", "outcome=\"miss\""], 4),
        (requests, &["gateway", "outcome=\"collapsed\""], collapsed),
        (requests, &["gateway", "outcome=\"revalidated\""], 1),
        (requests, &["gateway", "outcome=\"redirect\""], 1),
        (requests, &["gateway", "outcome=\"error\""], 1),
        (requests, &["gateway", "outcome=\"refused\""], 1),
        (requests, &["proxy", "outcome=\"passed\""], 2),
        ("millpond_responses_total", &["immutable", "3xx"], 2),
        ("millpond_responses_total", &["revalidate", "2xx"], 2),
        ("millpond_responses_total", &["pass", "2xx"], 2),
        ("millpond_responses_total", &["none", "4xx"], 2),
        // Neither the range, HEAD, 304, POST, nor the errors.
        (downloads, &["outcome=\"hit\""], 5),
        (downloads, &["outcome=\"miss\""], 4),
        (downloads, &["outcome=\"collapsed\""], collapsed),
        (downloads, &["outcome=\"revalidated\""], 1),
        (downloads, &["outcome=\"redirect\""], 1),
        (downloads, &["outcome=\"passed\""], 1),
        (downloads, &[], collapsed + 12),
        (bytes, &["gateway", "source=\"disk\""], hit_bytes),
        (bytes, &["gateway", "shared_fetch"], shared_bytes),
        (bytes, &["gateway", "own_fetch"], fetched_bytes),
        (bytes, &["proxy", "source=\"origin\""], passed_bytes),
        (bytes, &["source=\"nginx\""], 0),
        ("millpond_origin_bytes_total", &[], received_bytes),
        ("millpond_origin_requests_total", &["2xx"], 7),
        ("millpond_origin_requests_total", &["3xx"], 1),
        ("millpond_origin_requests_total", &["4xx"], 1),
        ("millpond_fetches_total", &["\"stored\""], 4),
        ("millpond_fetches_total", &["not_found"], 1),
        ("millpond_fetches_total", &[], 5),
        ("millpond_fetch_duration_seconds_count", &[], 5),
        ("millpond_object_size_bytes_count", &[], 4),
        ("millpond_fetch_attempts_total", &["origin", "complete"], 4),
        ("millpond_fetch_attempts_total", &["origin", "failed"], 1),
        ("millpond_exchanges_total", &["\"stored\""], 1),
        ("millpond_exchanges_total", &["not_modified"], 1),
        ("millpond_failures_total", &["not_found"], 1),
        ("millpond_transfers_total", &["aborted"], 1),
        ("millpond_time_to_first_byte_seconds_count", &["\"hit\""], 8),
    ]);

    // The other two views of the same ledger.
    let stats = gateway.request("GET", "/api/v1/stats").send().json();
    let totals = &stats["since_start"];
    let (hits, downloads) = (collapsed + 6, collapsed + 12);
    let saved_bytes = hit_bytes + shared_bytes;
    let wanted = [
        ("downloads", downloads),
        ("hits", hits),
        ("sent_bytes", saved_bytes + fetched_bytes + passed_bytes),
        ("hit_bytes", saved_bytes),
        ("received_bytes", received_bytes),
        ("aborted_responses", 1),
        ("fetches_stored", 4),
        ("fetches_failed", 1),
    ];
    assert_totals(totals, &wanted);
    let ratio = totals["hit_ratio"].as_f64().expect("a ratio");
    let wanted_ratio = f64::from(u32::try_from(hits).expect("small"))
        / f64::from(u32::try_from(downloads).expect("small"));
    assert!((ratio - wanted_ratio).abs() < 1e-9, "{ratio}");
    let log = gateway.log().clone();
    gateway.stop();
    let summary = log.wait_for("the summary", |event| event["message"] == "summary");
    assert_totals(&summary, &wanted);
    assert_eq!(summary["byte_hit_ratio"], totals["byte_hit_ratio"]);
}

#[track_caller]
fn assert_totals(totals: &Value, wanted: &[(&str, u64)]) {
    for (name, count) in wanted {
        assert_eq!(totals[name], *count, "{name} in {totals}");
    }
}

#[test]
fn offloaded_ranges_count_their_bytes() {
    let origin = Origin::start();
    let body = archive(6, 300_000);
    origin.serve("/pub/x-1.0.tar.gz", Reply::file(&body));
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let gateway = builder.behind_nginx().start();
    let nginx = Nginx::before(&gateway);
    let url = origin.url("/pub/x-1.0.tar.gz");
    nginx.get(&url).send().assert_body(200, &body);
    gateway.await_stored(&url);
    nginx.get(&url).send().assert_body(200, &body);
    let part = nginx.get(&url).range("bytes=5-104").send();
    part.assert_body(206, &body[5..105]);
    let samples = await_requests(&gateway, 3);
    samples.assert_sums(&[
        (
            "millpond_response_bytes_total",
            &["source=\"nginx\""],
            300_100,
        ),
        ("millpond_response_bytes_total", &["own_fetch"], 300_000),
        ("millpond_downloads_total", &["outcome=\"hit\""], 1),
        ("millpond_downloads_total", &["outcome=\"miss\""], 1),
        ("millpond_transfers_total", &["offloaded"], 2),
    ]);
}
