//! Objects that a node keeps of those that it has followed.

use super::stage::{assert_hit, await_state, free_address, node, owners};
use crate::harness::{Body, Gateway, Origin, Reply, archive};

/// Stores a new target of an owner at a gateway, and returns its URL and its body.
fn store(
    gateway: &Gateway,
    origin: &Origin,
    owner: &str,
    seed: u64,
    size: usize,
) -> (String, Body) {
    let url = (0..100)
        .map(|number| origin.url(&format!("/pub/kept-{seed}-{number}.0.tar.gz")))
        .find(|url| owners(gateway, url)[0] == owner)
        .expect("each node owns half of all targets");
    let body = archive(seed, size);
    let path = url.rsplit_once("/pub/").map_or("", |(_, name)| name);
    origin.serve(&format!("/pub/{path}"), Reply::file(&body));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    (url, body)
}

#[test]
fn large_object_of_an_owner_is_evicted_first() {
    let origin = Origin::start();
    let addresses = ["127.0.0.82", "127.0.0.83"].map(free_address);
    let nodes = addresses.map(|address| {
        let name = format!("node-{}", address.ip());
        let builder = node(&name, address, &addresses).origin(&origin);
        builder.text("cache.max_size", "10MiB").start()
    });
    await_state(&nodes[0], addresses[1], "ready");
    let gateway = &nodes[0];
    let (own, other) = ("node-127.0.0.82", "node-127.0.0.83");
    let (_, first) = store(gateway, &origin, own, 1, 500_000);
    let (url, used) = store(gateway, &origin, other, 2, 3 << 20);
    assert_hit(&gateway.assert_serves(&url, &used));
    let (url, unused) = store(gateway, &origin, other, 3, 3 << 20);
    assert!(gateway.object_path(&unused).exists());
    let (_, last) = store(gateway, &origin, own, 4, 3 << 20);
    for kept in [&first, &used, &last] {
        assert!(gateway.object_path(kept).exists());
    }
    assert!(!gateway.object_path(&unused).exists());
    // The owner has it still.
    gateway.assert_serves(&url, &unused);
    assert_eq!(origin.total(), 4);
}
