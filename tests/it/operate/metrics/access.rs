//! Tests of the clients that may read `/metrics`, with and without nginx.

use crate::harness::{Gateway, Nginx, Origin, Reply, Request, Scene, archive, eventually};

/// Asserts the statuses of a request from several clients. A trusted proxy names them.
#[track_caller]
fn assert_statuses(gateway: &Gateway, statuses: &[(&str, u16)]) {
    for (client, status) in statuses {
        let request = gateway.request("GET", "/metrics");
        let answer = request.header("X-Forwarded-For", client).send();
        assert_eq!(answer.head.status, *status, "{client}");
        let is_page = answer.text().contains("millpond_ready");
        assert_eq!(is_page, *status == 200, "{client}");
    }
}

#[test]
fn metrics_are_for_listed_clients() {
    let trusting = Gateway::builder().set("gateway.trusted_proxies", "[\"127.0.0.1/32\"]");
    let mut gateway = trusting.start();
    assert_statuses(
        &gateway,
        &[
            ("10.1.2.3", 200),
            ("172.31.255.1", 200),
            ("192.168.7.7", 200),
            ("::1", 200),
            ("fd00::5", 200),
            ("fe80::5", 200),
            ("::ffff:10.1.2.3", 200),
            ("172.32.0.1", 403),
            ("203.0.113.9", 403),
            ("100.64.0.1", 403),
            ("0.0.0.0", 403),
            ("2001:db8::1", 403),
            ("::ffff:203.0.113.9", 403),
            ("10.1.2.3, 203.0.113.9", 403),
            ("no address", 403),
        ],
    );
    gateway.reload(|builder| builder.set("gateway.metrics_clients", "[\"203.0.113.0/24\"]"));
    gateway.log().wait_for("the reload", |event| {
        event["message"]
            .as_str()
            .is_some_and(|text| text.contains("reloaded"))
    });
    assert_statuses(
        &gateway,
        &[
            ("203.0.113.9", 200),
            ("::ffff:203.0.113.9", 200),
            ("10.1.2.3", 403),
            ("::1", 403),
        ],
    );
}

#[test]
fn metrics_path_and_methods_are_exact() {
    let body = archive(1, 5000);
    let (_origin, gateway, url) = Scene::replying("/metrics", Reply::ok(&body));
    for (method, path, status) in [
        ("GET", "/metrics?x=y", 200),
        ("POST", "/metrics", 405),
        ("OPTIONS", "/metrics", 405),
        ("GET", "//metrics", 404),
        ("GET", "/%6Detrics", 404),
    ] {
        let answer = gateway.request(method, path).send();
        assert_eq!(answer.head.status, status, "{method} {path}");
    }
    let head = gateway.request("HEAD", "/metrics").send();
    head.assert_body(200, b"");
    assert_eq!(head.wants("cache-control"), "no-store");
    let own = format!("http://{}/metrics", gateway.addr());
    let through_proxy = gateway.proxied("GET", &own).send();
    assert!(through_proxy.text().contains("millpond_ready 1"));
    // The page of another host is a target like any other.
    gateway.proxied("GET", &url).send().assert_body(200, &body);
    let open = gateway.request("GET", "/metrics");
    let open = open
        .header("Accept", "application/openmetrics-text; version=1.0.0")
        .send();
    assert!(
        open.wants("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(open.text().ends_with("# EOF\n"));
    eventually("the requests are counted", || {
        let page = gateway.request("GET", "/metrics").send().text();
        page.contains("endpoint=\"metrics\",outcome=\"refused\"} 2")
            .then_some(())
    });
}

#[test]
fn nginx_passes_metrics_to_listed_clients() {
    let origin = Origin::start();
    let body = archive(2, 5000);
    origin.serve("/metrics", Reply::ok(&body));
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let gateway = builder.behind_nginx().start();
    let open = Nginx::before(&gateway);
    let answer = open.request("GET", "/metrics").send();
    assert!(
        answer.text().contains("millpond_ready 1"),
        "{}",
        answer.text()
    );
    let closed = Nginx::builder(&[&gateway])
        .change("metrics_clients.conf", "127.0.0.0/8 1;", "")
        .start();
    for path in ["/metrics", "/metrics?x=y"] {
        closed.request("GET", path).send().assert_status(403);
    }
    // nginx must not take the path of another host for its own.
    let absolute = Request::new(closed.addr(), "GET", &origin.url("/metrics"));
    absolute.send().assert_body(200, &body);
    closed
        .get(&origin.url("/metrics"))
        .send()
        .assert_body(200, &body);
    closed.request("GET", "/readyz").send().assert_status(200);
}
