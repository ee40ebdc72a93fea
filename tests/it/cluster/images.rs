//! Parts of container images over three nodes.

use serde_json::json;

use super::stage::Nodes;
use crate::harness::{Body, Origin, Reply, all_at_once, archive, sha256};
use crate::registry::real_registry::{PASSWORD, RealRegistry, USER};

fn serve_blob(registry: &Origin, blob: &Body) -> String {
    let path = format!("/v2/mill/app/blobs/sha256:{}", sha256(blob));
    registry.serve(&path, Reply::file(blob));
    path
}

#[test]
fn nodes_ask_a_registry_once_for_a_part() {
    let registry = Origin::start();
    let service = registry.url("/token");
    let challenge = format!("Bearer realm=\"{service}\",service=\"registry\"");
    let reply = Reply::status(401).header("WWW-Authenticate", &challenge);
    registry.serve("/v2/", reply);
    let token = json!({"token": "abc", "expires_in": 300}).to_string();
    registry.serve(
        "/token?service=registry&scope=repository%3Amill%2Fapp%3Apull",
        Reply::ok(&token.into_bytes().into()),
    );
    let url = registry.url("");
    let ips = ["127.0.0.81", "127.0.0.82", "127.0.0.83"];
    let nodes = Nodes::with(ips, &registry, |builder| {
        builder.registry("registry.example.org", &url, "default = true")
    });
    for number in 0..6 {
        let blob = archive(number, 60_000);
        let path = serve_blob(&registry, &blob);
        all_at_once(3, |at| {
            let answer = nodes.all[at].request("GET", &path).send();
            answer.assert_body(200, &blob);
        });
        assert_eq!(registry.count(&path), 1, "{path}");
        let asked = registry.request(&path);
        assert_eq!(asked.header("authorization"), Some("Bearer abc"));
    }
}

#[test]
fn private_parts_are_served_by_each_node() {
    let registry = RealRegistry::start_with_password();
    let origin = Origin::start();
    let keys = format!(
        "default = true\nallow_private = [\"127.0.0.0/8\"]\n\
         credentials = [{{ username = \"{USER}\", password = \"{PASSWORD}\" }}]"
    );
    let nodes = Nodes::with(
        ["127.0.0.84", "127.0.0.85", "127.0.0.86"],
        &origin,
        |builder| {
            let builder = builder.port(registry.port());
            builder.registry("registry.example.org", &registry.url(""), &keys)
        },
    );
    for target in registry.targets() {
        let path = &target[registry.url("").len()..];
        for gateway in &nodes.all {
            gateway.request("GET", path).send().assert_status(200);
            gateway.await_stored(&format!("{target}?millpond-private"));
        }
    }
}
