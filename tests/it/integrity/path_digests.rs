//! Digests in the path of a target: the body must have them.

use crate::harness::{Gate, Gateway, Origin, Reply, Scene, archive, sha256};

#[test]
fn body_with_path_digest_is_stored() {
    let body = archive(1, 5000);
    let path = format!("/dists/stable/main/by-hash/SHA256/{}", sha256(&body));
    let (origin, gateway, url) = Scene::replying(&path, Reply::file(&body));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    origin.stop();
    gateway.proxied("GET", &url).send().assert_body(200, &body);
}

#[test]
fn body_without_path_digest_is_not_stored() {
    let path = format!("/v2/x/blobs/sha256:{}", sha256(b"other"));
    let (_origin, gateway, body, url) = Scene::relaying(&path, archive(2, 5000));
    gateway.get(&url).send().assert_problem(409);
    let answer = gateway.proxied("GET", &url).send();
    answer.assert_body(200, &body);
    answer.assert_cache(&["fwd=bypass"]);
    gateway.assert_nothing_stored();
}

#[test]
fn first_transfer_without_path_digest_is_whole() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let body = archive(3, 2_000_000);
    for (number, reply) in [Reply::file(&body), Reply::file(&body).chunked()]
        .into_iter()
        .enumerate()
    {
        let path = format!("/v2/{number}/blobs/sha256:{}", sha256(b"other"));
        let (url, gate) = (origin.url(&path), Gate::new());
        origin.serve(&path, reply.gate_at(1_000_000, &gate));
        // Both clients read the same fetch. Only a proxy passes such a body on.
        let proxied = gateway.proxied("GET", &url).open();
        let prefixed = gateway.get(&url).open();
        gate.await_reached(1);
        gate.open();
        proxied.finish().assert_body(200, &body);
        prefixed.finish().assert_broken();
        assert_eq!(origin.count(&path), 1, "{path}");
        gateway.assert_nothing_stored();
    }
}
