//! The page, the API and the metrics show the upload queue and the scrub alike.

use serde_json::Value;

use super::{READER, View, as_reader};
use crate::harness::{Bucket, Gateway, Origin, Reply, archive, eventually, millpond};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Returns the value of a metric without labels.
fn metric(gateway: &Gateway, name: &str) -> u64 {
    let page = gateway.request("GET", "/metrics").send().text();
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {name}: {page}"));
    value.parse().expect("it is a whole number")
}

fn stats(gateway: &Gateway) -> Value {
    gateway.request("GET", "/api/v1/stats").send().json()
}

#[test]
fn oldest_waiting_upload_is_shown() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(1, 20_000);
    origin.serve(PATH, Reply::file(&body));
    bucket.go_down();
    let builder = bucket.configure(Gateway::builder().origin(&origin).relay(), "");
    let tokens = format!("[{READER:?}]");
    let gateway = builder.set("gateway.reader_tokens", &tokens).start();
    let shown = stats(&gateway);
    assert_eq!(shown["disk"]["queued_uploads"], 0, "{shown}");
    assert_eq!(shown["disk"]["oldest_upload"], Value::Null, "{shown}");
    gateway.assert_serves(&origin.url(PATH), &body);
    let disk = eventually("the upload waits", || {
        let disk = stats(&gateway)["disk"].clone();
        (disk["queued_uploads"] == 1).then_some(disk)
    });
    assert!(disk["oldest_upload"].is_string(), "{disk}");
    let folder = tempfile::tempdir().expect("a folder can be created");
    let run = millpond(folder.path(), &["status", "--gateway", &gateway.url("")]);
    assert!(run.stdout.contains("uploads    1 to the bucket"), "{run:?}");
    let mut view = View::open(&as_reader(&gateway, "/ui/live"));
    view.await_text(
        "bucket",
        "1 objects wait for their upload. The oldest has waited since",
    );
    eventually("a second has passed", || {
        (metric(&gateway, "millpond_upload_queue_oldest_seconds") >= 1).then_some(())
    });
    bucket.come_up();
    gateway.await_uploaded(&origin.url(PATH));
    eventually("no upload waits", || {
        (stats(&gateway)["disk"]["oldest_upload"] == Value::Null).then_some(())
    });
    assert_eq!(metric(&gateway, "millpond_upload_queue_oldest_seconds"), 0);
}

#[test]
fn round_of_scrub_is_shown() {
    let origin = Origin::start();
    let tokens = format!("[{READER:?}]");
    let builder = || {
        let builder = Gateway::builder().origin(&origin).relay();
        builder.set("gateway.reader_tokens", &tokens)
    };
    let idle = builder().text("cache.scrub_interval", "0s").start();
    let mut view = View::open(&as_reader(&idle, "/ui/live"));
    view.await_text("nodes", "none yet");
    assert_eq!(metric(&idle, "millpond_scrub_round_age_seconds"), 0);
    let gateway = builder().text("cache.scrub_interval", "1h").start();
    // The state as a scrub has left it: a quarter of a round that began at 1.7e12 ms.
    let lock = gateway.cache().join("locks/scrub");
    std::fs::write(lock, "4000000000000000 1800000000000 1700000000000\n").expect("it is writable");
    let mut view = View::open(&as_reader(&gateway, "/ui/live"));
    let nodes = view.await_text("nodes", "25 % of a round since");
    assert!(
        nodes.contains("2023-11-14") && nodes.contains("2027-01-15"),
        "{nodes}"
    );
    assert!(metric(&gateway, "millpond_scrub_round_age_seconds") > 1_000_000);
}

/// Returns a row of the table of hit ratios, as the texts of its cells.
fn hits_of(gateway: &Gateway, period: &str) -> Vec<String> {
    let mut view = View::open(&as_reader(gateway, "/ui/live"));
    let html = view.await_text("hits", "since start");
    let rows = html.split("<tr>").map(|row| {
        let cells = row.split("</td>").map(|cell| {
            let text = cell.rsplit('>').next().unwrap_or_default();
            text.to_owned()
        });
        cells.filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    });
    let mut rows = rows.filter(|row| row.first().is_some_and(|name| name == period));
    rows.next().unwrap_or_else(|| panic!("no {period}: {html}"))
}

#[test]
fn traffic_survives_restarts() {
    let origin = Origin::start();
    let body = archive(1, 20_000);
    origin.serve(PATH, Reply::file(&body));
    let mut gateway = super::with_reader(&origin);
    let url = origin.url(PATH);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.assert_serves(&url, &body);
    let file = gateway.state().join("traffic.json");
    for round in 0..2_u64 {
        gateway.restart();
        for period in ["1h", "24h", "30d"] {
            let row = hits_of(&gateway, period);
            let (hits, downloads) = (1 + 2 * round, 2 + 2 * round);
            assert_eq!(
                row[3..5],
                [hits.to_string(), downloads.to_string()],
                "{row:?}"
            );
        }
        assert_eq!(hits_of(&gateway, "since start")[4], "0");
        for _ in 0..2 {
            gateway.assert_serves(&url, &body);
        }
        eventually("both are counted", || {
            (hits_of(&gateway, "since start")[4] == "2").then_some(())
        });
    }
    // A damaged file is replaced.
    gateway.stop();
    let whole = std::fs::read(&file).expect("the traffic is written");
    std::fs::write(&file, &whole[..whole.len() / 2]).expect("the file is writable");
    gateway.restart();
    assert!(
        gateway
            .log()
            .text()
            .contains("traffic of earlier processes cannot be read")
    );
    assert_eq!(hits_of(&gateway, "30d")[4], "0");
    gateway.assert_serves(&url, &body);
    gateway.stop();
    gateway.restart();
    assert_eq!(hits_of(&gateway, "30d")[3..5], ["1", "1"]);
}

#[test]
fn scrub_job_is_on_the_page() {
    let origin = Origin::start();
    let gateway = super::with_reader(&origin);
    let page = gateway.request("GET", "/ui/").send().text();
    assert!(page.contains("<option value=\"scrub\">"), "{page}");
}
