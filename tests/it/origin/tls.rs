//! HTTPS origins: certificates, truncated bodies, and redirects between https and http.

use crate::harness::{
    Authority, Builder, Gateway, Origin, Reply, Tool, archive, assert_same, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn trusting(authority: &Authority, origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .authority(authority)
}

#[test]
fn https_target_is_fetched_at_both_endpoints() {
    let authority = Authority::new();
    let origin = Origin::start_tls(&authority);
    let body = archive(1, 200_000);
    origin.serve(PATH, Reply::file(&body));
    origin.serve("/y-1.0.tar.gz", Reply::file(&body).chunked());
    let gateway = trusting(&authority, &origin).start();
    let url = origin.named_url(PATH);
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.proxied("GET", &url).send().assert_cache(&["hit"]);
    gateway
        .proxied("GET", &origin.named_url("/y-1.0.tar.gz"))
        .send()
        .assert_body(200, &body);
    gateway.assert_serves(&origin.named_url("/y-1.0.tar.gz"), &body);
    assert_eq!(origin.total(), 2);
}

#[test]
fn untrusted_certificate_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let origin = Origin::start_tls(&authority);
    origin.serve(PATH, Reply::file(&archive(2, 2000)));
    let gateway = trusting(&other, &origin).start();
    let answer = gateway.get(&origin.named_url(PATH)).send();
    assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
    answer.assert_problem(answer.status);
    assert_eq!(
        origin.total(),
        0,
        "no request leaves before the certificate is checked"
    );
    gateway.assert_nothing_stored();
}

#[test]
fn certificate_for_other_name_is_refused() {
    let authority = Authority::new();
    let origin = Origin::start_tls_at("127.0.0.2", &authority);
    origin.serve(PATH, Reply::file(&archive(2, 2000)));
    let gateway = trusting(&authority, &origin).start();
    let answer = gateway.get(&origin.url(PATH)).send();
    assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
    assert_eq!(origin.connections(), 1, "the origin was reachable");
    assert_eq!(
        origin.total(),
        0,
        "no request leaves before the certificate is checked"
    );
}

#[test]
fn cut_tls_body_is_not_complete() {
    let authority = Authority::new();
    let origin = Origin::start_tls(&authority);
    let body = archive(3, 100_000);
    origin.serve("/length-1.0.tar.gz", Reply::file(&body).cut_at(50_000));
    origin.serve(
        "/chunks-1.0.tar.gz",
        Reply::file(&body).chunked().cut_at(50_000),
    );
    // Without a length, chunks or a TLS `close_notify`, a complete body looks like a cut one.
    origin.serve(
        "/close-1.0.tar.gz",
        Reply::ok(&body).until_close().cut_at(50_000),
    );
    let gateway = trusting(&authority, &origin).start();
    for path in [
        "/length-1.0.tar.gz",
        "/chunks-1.0.tar.gz",
        "/close-1.0.tar.gz",
    ] {
        let answer = gateway.get(&origin.named_url(path)).send();
        if answer.status == 200 {
            answer.assert_broken();
        } else {
            answer.assert_problem(504);
        }
        assert_ne!(
            gateway.await_fetch(&origin.named_url(path))["outcome"],
            "stored",
            "{path}"
        );
    }
    gateway.assert_nothing_stored();
}

#[test]
fn downgrade_to_http_requires_expected_digest() {
    let authority = Authority::new();
    let (secure, plain) = (Origin::start_tls(&authority), Origin::start());
    let body = archive(4, 20_000);
    plain.serve("/y-7.0.tar.gz", Reply::file(&body));
    secure.serve(PATH, Reply::redirect(302, &plain.url("/y-7.0.tar.gz")));
    let gateway = trusting(&authority, &secure).origin(&plain).start();
    let url = secure.named_url(PATH);
    gateway.get(&url).send().assert_problem(403);
    assert_eq!(plain.total(), 0);
    gateway.assert_nothing_stored();
    let checked = gateway
        .request("GET", &format!("/sha256:{}/{url}", sha256(&body)))
        .send();
    checked.assert_body(200, &body);
    gateway.await_fetch(&url);
    assert_eq!(plain.total(), 1);
}

#[test]
fn md5_does_not_allow_downgrade() {
    let authority = Authority::new();
    let (secure, plain) = (Origin::start_tls(&authority), Origin::start());
    plain.serve("/y-7.0.tar.gz", Reply::file(&archive(5, 20_000)));
    secure.serve(PATH, Reply::redirect(302, &plain.url("/y-7.0.tar.gz")));
    let gateway = trusting(&authority, &secure).origin(&plain).start();
    let path = format!(
        "/md5:00112233445566778899aabbccddeeff/{}",
        secure.named_url(PATH)
    );
    gateway.request("GET", &path).send().assert_problem(403);
    assert_eq!(plain.total(), 0);
}

#[test]
fn upgrade_to_https_is_followed() {
    let authority = Authority::new();
    let (secure, plain) = (Origin::start_tls(&authority), Origin::start());
    let body = archive(6, 20_000);
    secure.serve("/y-7.0.tar.gz", Reply::file(&body));
    plain.serve(
        PATH,
        Reply::redirect(301, &secure.named_url("/y-7.0.tar.gz")),
    );
    let gateway = trusting(&authority, &secure).origin(&plain).start();
    gateway.assert_serves(&plain.url(PATH), &body);
    gateway.await_stored(&plain.url(PATH));
}

#[test]
fn http_and_https_are_separate_targets() {
    let authority = Authority::new();
    let secure = Origin::start_tls(&authority);
    let body = archive(7, 20_000);
    secure.serve(PATH, Reply::file(&body));
    let gateway = trusting(&authority, &secure).start();
    gateway.assert_serves(&secure.named_url(PATH), &body);
    gateway.await_stored(&secure.named_url(PATH));
    let plain = format!("http://localhost:{}{PATH}", secure.port());
    let answer = gateway.get(&plain).send();
    assert!(
        matches!(answer.status, 502 | 504),
        "the http target is not served from the https one: {}",
        answer.status
    );
}

#[test]
fn wget_and_curl_tunnel_to_https_origin() {
    let authority = Authority::new();
    let origin = Origin::start_tls(&authority);
    let body = archive(8, 300_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = trusting(&authority, &origin).start();
    let proxy = format!("http://{}", gateway.proxy_addr());
    let ca = authority.file().to_string_lossy().into_owned();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = origin.named_url(PATH);
    let wget = Tool::wget(folder.path()).args(&[
        "-e",
        &format!("https_proxy={proxy}"),
        "--ca-certificate",
        &ca,
    ]);
    wget.args(&["-O", "wget-1.0.tar.gz", &url])
        .run()
        .assert_success();
    let curl = Tool::curl(folder.path()).args(&[
        "-f",
        "--proxy",
        &proxy,
        "--cacert",
        &ca,
        "-o",
        "curl-1.0.tar.gz",
        &url,
    ]);
    curl.run().assert_success();
    for name in ["wget-1.0.tar.gz", "curl-1.0.tar.gz"] {
        assert_same(
            &std::fs::read(folder.path().join(name)).expect("the client wrote the file"),
            &body,
        );
    }
    assert_eq!(origin.count(PATH), 2, "a tunnel is not cached");
    gateway.assert_nothing_stored();
    gateway.log().wait_for_many("the tunnels", 2, |event| {
        event["message"] == "request" && event["endpoint"] == "tunnel"
    });
}
