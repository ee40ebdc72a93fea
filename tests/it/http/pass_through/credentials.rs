//! Requests with credentials: they bypass the cache, and no other host receives the credentials.

use super::{IMMUTABLE, PASS_THROUGH};
use crate::harness::{Gateway, Origin, Reply, Scene, archive};

#[test]
fn requests_with_credentials_bypass_cache() {
    let origin = Origin::start();
    let (mine, everybodys) = (archive(10, 5000), archive(11, 6000));
    let gateway = Gateway::relaying(&origin);
    for (name, value) in [
        ("Authorization", "Basic c2VjcmV0"),
        ("Cookie", "session=1"),
        ("Private-Token", "c2VjcmV0"),
        ("X-Api-Key", "c2VjcmV0"),
        ("X-Session-Id", "1"),
    ] {
        let path = format!("/{name}-1.0.tar.gz");
        let url = origin.url(&path);
        origin.script(
            &path,
            vec![
                Reply::file(&mine),
                Reply::file(&everybodys),
                Reply::file(&mine),
            ],
        );
        let own = || gateway.proxied("GET", &url).header(name, value).send();
        let first = own();
        first.assert_body(200, &mine);
        first.assert_cache(&["fwd=bypass"]);
        assert_eq!(
            origin.request(&path).header(name),
            Some(value),
            "the origin gets the credentials"
        );
        assert!(gateway.records_of(&url).is_empty());
        gateway
            .proxied("GET", &url)
            .send()
            .assert_body(200, &everybodys);
        gateway.await_stored(&url);
        own().assert_body(200, &mine);
        gateway
            .proxied("GET", &url)
            .send()
            .assert_body(200, &everybodys);
        assert_eq!(origin.count(&path), 3);
    }
}

#[test]
fn credentials_are_not_sent_to_redirect_target() {
    let (origin, other) = (Origin::start(), Origin::start_at("127.0.0.2"));
    origin.serve(IMMUTABLE, Reply::redirect(302, &other.url("/y-1.0.tar.gz")));
    other.serve("/y-1.0.tar.gz", Reply::file(&archive(12, 5000)));
    let gateway = Gateway::builder()
        .origin(&origin)
        .origin(&other)
        .relay()
        .start();
    let request = gateway
        .proxied("GET", &origin.url(IMMUTABLE))
        .header("Authorization", "Basic c2VjcmV0")
        .header("Cookie", "a=1");
    let answer = request.send();
    assert!(matches!(answer.status, 200 | 302), "{}", answer.status);
    for asked in other.requests("/y-1.0.tar.gz") {
        assert_eq!(asked.header("authorization"), None);
        assert_eq!(asked.header("cookie"), None);
    }
}

#[test]
fn gateway_endpoint_drops_credentials() {
    let (origin, gateway, url) = Scene::replying(
        PASS_THROUGH,
        Reply::ok(&b"page\n".to_vec().into()).header("X-Accel-Redirect", "/secret"),
    );
    let request = gateway
        .get(&url)
        .header("Authorization", "Basic c2VjcmV0")
        .header("Cookie", "a=1");
    let answer = request.send();
    answer.assert_body(200, b"page\n");
    assert_eq!(answer.header("x-accel-redirect"), None);
    let asked = origin.request(PASS_THROUGH);
    assert_eq!(
        (asked.header("authorization"), asked.header("cookie")),
        (None, None)
    );
}
