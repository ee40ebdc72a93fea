//! The egress proxy of a registry: for the registry, its token service and its storage.

use crate::harness::{Gateway, Origin, Reply, archive, sha256};
use crate::registry::stage::NAME;

#[test]
fn egress_proxy_has_all_requests_of_registry() {
    let egress = Origin::start();
    let blob = archive(1, 5000);
    // None of the names resolves here.
    let path = format!("/v2/mill/app/blobs/sha256:{}", sha256(&blob));
    let url = |path: &str| format!("http://registry.example.test{path}");
    let challenge = "Bearer realm=\"http://auth.example.test/token\"";
    let reply = Reply::status(401).header("WWW-Authenticate", challenge);
    egress.serve(&url("/v2/"), reply);
    let token = "http://auth.example.test/token?scope=repository%3Amill%2Fapp%3Apull";
    egress.serve(token, Reply::ok(&b"{\"token\": \"one\"}"[..].into()));
    let storage = "http://storage.example.test/1";
    egress.serve(&url(&path), Reply::redirect(307, storage));
    egress.serve(storage, Reply::file(&blob));
    let keys = format!("default = true\negress_proxy = \"{}\"", egress.url(""));
    let gateway = Gateway::builder()
        .one_attempt()
        .set("policy.ports", "[80]")
        .set("policy.allow_networks", "[]")
        .registry(NAME, &url(""), &keys)
        .start();
    let answer = gateway.request("GET", &path).send();
    answer.assert_body(200, &blob);
    let asked = egress.request(&url(&path));
    assert_eq!(asked.header("authorization"), Some("Bearer one"));
    let stored = egress.request(storage);
    assert_eq!(stored.header("authorization"), None);
    // Other hosts are reached directly.
    let total = egress.total();
    let direct = gateway.get("http://files.example.test/x-1.0.tar.gz").send();
    assert!(direct.status >= 500, "{}", direct.status);
    assert_eq!(egress.total(), total);
}
