//! Fetches that one client begins and does not read: redirects, and requests that end at once.

use super::{GREEDY, OTHER, get, sharing, slow_files};
use crate::harness::{Gate, Gateway, Origin, archive, eventually};

/// More than one client may have waiting.
const FLOOD: usize = 600;

/// Bound on the fetches of one client without a reader.
const MAX_WAITING: u64 = 400;

fn in_flight(gateway: &Gateway) -> u64 {
    let stats = gateway.operate("GET", "/api/v1/stats").send().json();
    stats["in_flight"].as_u64().expect("a number")
}

#[test]
fn waiting_fetches_without_reader_are_bounded() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let body = archive(71, 5000);
    let urls = slow_files(&origin, &body, FLOOD, &gate);
    let (first, other) = urls.split_at(FLOOD - 2);
    let gateway = sharing(&origin)
        .text("gateway.miss", "redirect")
        .set("fetch.per_host", "4")
        .set("limits.burst", "10000")
        .start();
    let redirect = |url: &String, client: &str| {
        let redirected = get(&gateway, url, client).wget_agent().send();
        assert_eq!(redirected.status, 302, "{url}");
    };
    // A client that waits keeps its fetch, whatever it begins beside it.
    let waiting = get(&gateway, &first[0], GREEDY).start();
    gate.await_reached(1);
    first[1..].iter().for_each(|url| redirect(url, GREEDY));
    eventually("fetches without a reader have ended", || {
        (in_flight(&gateway) <= MAX_WAITING).then_some(())
    });
    assert!(in_flight(&gateway) > MAX_WAITING / 2, "most of them wait");
    // Fetches above the bound leave no trace on the disk, not even for a moment.
    let leases = gateway.cache().join("leases");
    let changed_at = || leases.metadata().and_then(|folder| folder.modified()).ok();
    let before = changed_at();
    for url in &first[FLOOD - 52..] {
        redirect(url, GREEDY);
    }
    eventually("fetches without a reader have ended", || {
        (in_flight(&gateway) <= MAX_WAITING).then_some(())
    });
    assert_eq!(changed_at(), before);
    // Another client has its share.
    for url in other {
        redirect(url, OTHER);
    }
    gate.open();
    waiting.head().finish().assert_body(200, &body);
    for url in other {
        gateway.await_stored(url);
    }
    // The target of a fetch that has ended is fetched for the next client.
    let last = first.last().expect("there are targets");
    get(&gateway, last, OTHER).send().assert_body(200, &body);
}
