//! Policy: allowed clients, hosts, suffixes, ports, sizes and content types.

use crate::harness::{Builder, Gateway, Origin, Reply, archive};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn with(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

/// Asserts that both endpoints refuse a target and that the error names the rule.
#[track_caller]
fn assert_refused(gateway: &Gateway, target: &str, rule: &str) {
    for request in [
        gateway.get(target),
        gateway.request("HEAD", &format!("/{target}")),
        gateway.proxied("GET", target),
    ] {
        let answer = request.send();
        answer.assert_status(403);
        answer.assert_cache(&[]);
    }
    let answer = gateway.get(target).send();
    answer.assert_problem(403);
    assert!(
        answer.text().contains(rule),
        "the error names the rule: {}",
        answer.text()
    );
}

#[test]
fn denied_clients_get_403_at_every_endpoint() {
    let origin = Origin::start();
    let body = archive(1, 2000);
    origin.serve(PATH, Reply::file(&body));
    let mut gateway = with(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    gateway.restart_with(|builder| {
        builder.set("policy.allow_clients", "[\"10.0.0.0/8\", \"127.0.0.2/32\"]")
    });
    assert_refused(&gateway, &origin.url(PATH), "allow_clients");
    gateway
        .proxied("CONNECT", &origin.address().to_string())
        .send()
        .assert_status(403);
    gateway
        .proxied("POST", &origin.url(PATH))
        .body(b"x")
        .send()
        .assert_status(403);
    gateway.request("GET", "/").send().assert_status(403);
    assert_eq!(origin.total(), 1);
}

#[test]
fn client_address_headers_are_ignored() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&archive(1, 2000)));
    let gateway = with(&origin)
        .set("policy.allow_clients", "[\"10.0.0.0/8\"]")
        .start();
    for (name, value) in [
        ("X-Forwarded-For", "10.0.0.1"),
        ("Forwarded", "for=10.0.0.1"),
        ("X-Real-IP", "10.0.0.1"),
    ] {
        gateway
            .get(&origin.url(PATH))
            .header(name, value)
            .send()
            .assert_status(403);
        gateway
            .proxied("GET", &origin.url(PATH))
            .header(name, value)
            .send()
            .assert_status(403);
    }
    assert_eq!(origin.total(), 0);
}

#[test]
fn denied_hosts_override_allowed_hosts() {
    let origin = Origin::start();
    let body = archive(2, 2000);
    origin.serve(PATH, Reply::file(&body));
    let both = with(&origin).set("policy.allow_hosts", "[\"localhost\", \"127.0.0.1\"]");
    let gateway = both.set("policy.deny_hosts", "[\"localhost\"]").start();
    assert_refused(&gateway, &origin.named_url(PATH), "deny_hosts");
    assert_refused(
        &gateway,
        &format!("http://LOCALHOST.:{}{PATH}", origin.port()),
        "deny_hosts",
    );
    gateway.assert_serves(&origin.url(PATH), &body);
}

#[test]
fn leading_dot_matches_host_and_subdomains() {
    let egress = Origin::start();
    let body = archive(3, 2000);
    for host in [
        "example.test",
        "files.example.test",
        "a.b.other.test",
        "other.test",
    ] {
        egress.serve(&format!("http://{host}{PATH}"), Reply::file(&body));
    }
    let builder = Gateway::builder()
        .relay()
        .one_attempt()
        .port(80)
        .text("fetch.egress_proxy", &egress.url(""));
    let gateway = builder
        .set("policy.allow_hosts", "[\"example.test\", \".other.test\"]")
        .start();
    for host in [
        "example.test",
        "EXAMPLE.test.",
        "other.test",
        "a.b.other.test",
    ] {
        gateway
            .get(&format!("http://{host}{PATH}"))
            .send()
            .assert_body(200, &body);
    }
    for host in [
        "files.example.test",
        "notexample.test",
        "example.test.evil.test",
        "another.test",
        "xother.test",
    ] {
        assert_refused(&gateway, &format!("http://{host}{PATH}"), "allow_hosts");
    }
}

#[test]
fn suffix_rules_ignore_case_and_query() {
    let origin = Origin::start();
    let body = archive(4, 2000);
    let gateway = with(&origin).start();
    for path in [
        "/song.mp3",
        "/film.MKV",
        "/a/b.flac?x=.tar.gz",
        "/clip.webm",
    ] {
        assert_refused(&gateway, &origin.url(path), "deny_suffixes");
    }
    origin.serve("/x-7.0.tar.gz?file=.mp3", Reply::file(&body));
    gateway.assert_serves(&origin.url("/x-7.0.tar.gz?file=.mp3"), &body);
    let strict = with(&origin)
        .set("policy.allow_suffixes", "[\".tar.gz\", \".patch\"]")
        .start();
    assert_refused(&strict, &origin.url("/x-1.0.zip"), "allow_suffixes");
    assert_refused(&strict, &origin.url("/"), "allow_suffixes");
    strict.assert_serves(&origin.url("/x-7.0.tar.gz?file=.mp3"), &body);
    assert_eq!(origin.total(), 2);
}

#[test]
fn unlisted_ports_are_refused() {
    let (origin, other) = (Origin::start(), Origin::start());
    let gateway = with(&origin).start();
    assert_refused(&gateway, &other.url(PATH), "policy.ports");
    assert_refused(&gateway, "http://127.0.0.1:22/x-1.0.tar.gz", "policy.ports");
    assert_refused(&gateway, "http://127.0.0.1/x-1.0.tar.gz", "policy.ports");
    assert_eq!(other.total(), 0);
}

#[test]
fn default_ports_belong_to_their_own_scheme() {
    let builder = Gateway::builder()
        .relay()
        .set("policy.allow_networks", "[]");
    for ports in [
        "[80, 443, 21]",
        "[21, 80, 443, \"http:8080\"]",
        "[\"http:80\", \"https:443\", \"ftp:21\"]",
    ] {
        let gateway = builder.clone().set("policy.ports", ports).start();
        for (scheme, own) in [("http", 80), ("https", 443), ("ftp", 21)] {
            for port in [80, 443, 21] {
                // The address is judged behind the port.
                let word = if port == own {
                    "policy.allow_networks"
                } else {
                    "policy.ports"
                };
                assert_refused(
                    &gateway,
                    &format!("{scheme}://127.0.0.1:{port}/x-1.0.tar.gz"),
                    word,
                );
            }
        }
    }
}

#[test]
fn ports_are_allowed_for_a_scheme() {
    let builder = Gateway::builder()
        .relay()
        .set("policy.allow_networks", "[]");
    for (ports, allowed) in [
        ("[8080]", &["http", "https"][..]),
        ("[\"http:8080\"]", &["http"]),
        ("[\"HTTPS:8080\", 21]", &["https"]),
        ("[\"ftp:8080\", \"http:8081\"]", &["ftp"]),
        ("[\"ftp:8080\", 8080]", &["http", "https", "ftp"]),
    ] {
        let gateway = builder.clone().set("policy.ports", ports).start();
        for scheme in ["http", "https", "ftp"] {
            let word = if allowed.contains(&scheme) {
                "policy.allow_networks"
            } else {
                "policy.ports"
            };
            assert_refused(
                &gateway,
                &format!("{scheme}://127.0.0.1:8080/x-1.0.tar.gz"),
                word,
            );
        }
    }
}

#[test]
fn redirects_keep_to_the_ports_of_their_scheme() {
    let origin = Origin::start();
    let ports = format!("[{}, 80, 443]", origin.port());
    let gateway = Gateway::builder()
        .relay()
        .one_attempt()
        .set("policy.ports", &ports)
        .start();
    for (index, to) in [
        "http://127.0.0.1:443/y-1.0.gz",
        "https://127.0.0.1:80/y-1.0.gz",
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/x-{index}.0.tar.gz");
        origin.serve(&path, Reply::redirect(302, to));
        assert_refused(&gateway, &origin.url(&path), "policy.ports");
    }
}

#[test]
fn declared_oversized_body_is_refused() {
    let origin = Origin::start();
    let (large, fits) = (archive(5, 65_537), archive(6, 65_536));
    origin.serve("/large-1.0.tar.gz", Reply::file(&large));
    origin.serve("/fits-1.0.tar.gz", Reply::file(&fits));
    origin.serve("/large.bin", Reply::ok(&large));
    let gateway = with(&origin)
        .text("policy.max_object_size", "64KiB")
        .start();
    for path in ["/large-1.0.tar.gz", "/large.bin"] {
        let answer = gateway.get(&origin.url(path)).send();
        answer.assert_problem(403);
        assert!(
            answer.text().contains("max_object_size"),
            "{}",
            answer.text()
        );
        gateway
            .proxied("GET", &origin.url(path))
            .send()
            .assert_status(403);
    }
    gateway.assert_nothing_stored();
    gateway.assert_serves(&origin.url("/fits-1.0.tar.gz"), &fits);
}

#[test]
fn oversized_body_of_unknown_length_is_aborted() {
    let origin = Origin::start();
    let body = archive(7, 1 << 20);
    origin.serve("/x-7.0.tar.gz", Reply::file(&body).chunked());
    origin.serve("/x.bin", Reply::ok(&body).chunked());
    let gateway = with(&origin)
        .text("policy.max_object_size", "64KiB")
        .start();
    for path in ["/x-7.0.tar.gz", "/x.bin"] {
        let answer = gateway.get(&origin.url(path)).send();
        if answer.status == 200 {
            answer.assert_broken();
            assert!(
                answer.body.len() <= 64 << 10,
                "no more than the limit is sent: {}",
                answer.body.len()
            );
        } else {
            answer.assert_problem(403);
        }
    }
    gateway.assert_nothing_stored();
}

#[test]
fn denied_content_types_are_refused() {
    let origin = Origin::start();
    let gateway = with(&origin).start();
    for (path, content_type) in [
        ("/x-7.0.bin", "audio/mpeg"),
        ("/y-1.0.bin", "Video/mp4; codecs=x"),
        ("/z", "audio/ogg"),
    ] {
        origin.serve(
            path,
            Reply::ok(&archive(8, 2000)).header("Content-Type", content_type),
        );
        let answer = gateway.get(&origin.url(path)).send();
        answer.assert_problem(403);
        assert!(
            answer.text().contains("deny_content_types"),
            "{}",
            answer.text()
        );
    }
    gateway.assert_nothing_stored();
}

#[test]
fn refused_target_gets_no_redirect() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .set("policy.deny_hosts", "[\"localhost\"]")
        .start();
    for target in [
        origin.named_url(PATH),
        origin.url("/x.mp3"),
        "http://127.0.0.1:1/x-7.0.tar.gz".to_owned(),
        "http://10.0.0.1/x-7.0.tar.gz".to_owned(),
    ] {
        let answer = gateway.get(&target).wget_agent().send();
        answer.assert_problem(403);
        assert_eq!(answer.header("location"), None, "{target}");
    }
}

#[test]
fn policy_applies_to_stored_targets() {
    let origin = Origin::start();
    let body = archive(9, 2000);
    origin.serve(PATH, Reply::file(&body));
    let mut gateway = with(&origin).start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_stored(&origin.url(PATH));
    gateway.restart_with(|builder| builder.set("policy.deny_hosts", "[\"127.0.0.1\"]"));
    assert_refused(&gateway, &origin.url(PATH), "deny_hosts");
}

#[test]
fn policy_applies_to_other_methods() {
    let (origin, closed) = (Origin::start(), Origin::start());
    let gateway = with(&origin)
        .set("policy.deny_hosts", "[\"localhost\"]")
        .start();
    for target in [
        closed.url("/x"),
        origin.named_url("/x"),
        origin.url("/x.mp3"),
        "http://10.0.0.1/x".to_owned(),
    ] {
        gateway
            .proxied("POST", &target)
            .body(b"x")
            .send()
            .assert_problem(403);
    }
    assert_eq!(origin.total() + closed.total(), 0);
}

#[test]
fn denied_suffix_matches_percent_encoded_path() {
    let origin = Origin::start();
    let gateway = with(&origin).start();
    for path in ["/song.mp%33", "/song%2emp3", "/song.%6Dp3", "/song%2Emp%33"] {
        assert_refused(&gateway, &origin.url(path), "deny_suffixes");
    }
    assert_eq!(
        origin.total(),
        0,
        "the origin gets no encoded form of the suffix"
    );
}
