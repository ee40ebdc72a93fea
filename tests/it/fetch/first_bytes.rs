//! Tests of bodies that are not what the name of their target promises: pages, errors with status
//! 200, and empty bodies.

use crate::harness::{Body, Gateway, Origin, Reply, archive, encoded, gzip, marked};

const PAGE: &[u8] = b"<!DOCTYPE html><html><title>Sign in</title></html>";
const JSON: &[u8] = b"{\"message\": \"API rate limit exceeded\"}";
const XML: &[u8] = b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>";
const LINE: &[u8] = b"404: Not Found";

/// A rule that stores all files of a folder.
const KEPT: &str = "path_prefix = \"/kept/\"\nclass = \"immutable\"";

fn body(bytes: &[u8]) -> Body {
    bytes.to_vec().into()
}

fn gateway(origin: &Origin) -> Gateway {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .text("cache.negative_ttl", "1ms")
        .rule(KEPT)
        .start()
}

/// Asserts that wrong bodies are refused and not stored, and that the right one is stored. Each
/// target differs by its query, so that no failure is remembered for the next one.
fn assert_only_right_body_is_stored(path: &str, wrong: &[Body], right: &Body) {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    for (number, body) in wrong.iter().enumerate() {
        for (framing, reply) in [
            ("length", Reply::ok(body)),
            ("chunks", Reply::ok(body).chunked()),
        ] {
            for endpoint in ["gateway", "proxy"] {
                let target = format!("{path}?n={number}-{framing}-{endpoint}");
                origin.serve(&target, reply.clone());
                let url = origin.url(&target);
                let request = match endpoint {
                    "gateway" => gateway.get(&url),
                    _ => gateway.proxied("GET", &url),
                };
                request.send().assert_problem(502);
                assert_eq!(origin.count(&target), 1, "{target}");
            }
        }
        gateway.assert_nothing_stored();
    }
    let target = format!("{path}?n=right");
    origin.serve(&target, Reply::ok(right));
    let url = origin.url(&target);
    gateway.assert_serves(&url, right);
    gateway.assert_serves(&url, right).assert_cache(&["hit"]);
}

#[test]
fn errors_under_companion_name_are_not_stored() {
    let errors = [PAGE, JSON, XML, LINE, b"", b"Just a moment...\n"].map(body);
    let checksum = b"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  x\n";
    for (path, right) in [
        (
            "/x-1.0.tar.gz.asc",
            &b"-----BEGIN PGP SIGNATURE-----\n\nx\n"[..],
        ),
        ("/x-1.0.tar.gz.sig", b"\x89\x02\x33\x04\0\x01\x08\0"),
        (
            "/x-1.0.tar.gz.minisig",
            b"untrusted comment: signature\nRWQ\n",
        ),
        ("/x-1.0.tar.gz.sha256", checksum),
        ("/fix-1.patch", b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n"),
        ("/fix-2.diff", b"From 9f86d081 Mon Sep 17 00:00:00 2001\n"),
    ] {
        assert_only_right_body_is_stored(path, &errors, &body(right));
    }
}

#[test]
fn errors_under_archive_name_are_not_stored() {
    let errors = [PAGE, JSON, XML, LINE, b""].map(body);
    for (path, right) in [
        ("/x-1.0.tar.gz", archive(1, 5000)),
        ("/x-1.0.zip", marked(b"PK\x03\x04", 2, 5000)),
        ("/x-1.0.iso", marked(b"\0\0", 3, 5000)),
        ("/owner/x/tar.gz/v1.0", archive(4, 5000)),
    ] {
        assert_only_right_body_is_stored(path, &errors, &right);
    }
}

#[test]
fn refusal_of_empty_file_says_so() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    for (path, endpoint) in [
        ("/x-1.0.tar.gz", "gateway"),
        ("/x-1.0.tar.gz.asc", "proxy"),
        ("/kept/x.bin", "gateway"),
        // The body passes through, because a field of the request makes it private.
        ("/x-2.0.tar.gz", "private"),
    ] {
        origin.serve(path, Reply::ok(&body(b"")));
        let url = origin.url(path);
        let request = match endpoint {
            "proxy" => gateway.proxied("GET", &url),
            "private" => gateway
                .proxied("GET", &url)
                .header("Authorization", "Basic eDp5"),
            _ => gateway.get(&url),
        };
        let answer = request.send();
        answer.assert_problem(502);
        assert!(answer.text().contains("empty file"), "{}", answer.text());
        if endpoint != "private" {
            let cause = gateway.await_fetch(&url)["cause"].to_string();
            assert!(cause.contains("empty file"), "{cause}");
        }
    }
    let import = format!("/api/v1/objects?url={}", encoded(&origin.url("/x-4.0.zip")));
    let refused = gateway.operate("PUT", &import).body(b"").send();
    refused.assert_problem(400);
    assert!(refused.text().contains("the file is empty"));
}

#[test]
fn errors_under_other_names_are_not_stored() {
    let program = body(b"#!/bin/sh\n");
    assert_only_right_body_is_stored(
        "/kept/x.bin",
        &[PAGE, JSON, XML, LINE, b""].map(body),
        &marked(b"\x7fELF", 5, 5000),
    );
    assert_only_right_body_is_stored("/kept/x.sh", &[PAGE, JSON, XML, LINE].map(body), &program);
    assert_only_right_body_is_stored(
        "/kept/x.json",
        &[PAGE, XML, LINE, b""].map(body),
        &body(JSON),
    );
}

#[test]
fn errors_under_open_names_pass_unstored() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    for (path, right) in [("/kept/x.odd", JSON), ("/kept/raw/1/README", &b""[..])] {
        let url = origin.url(path);
        for wrong in [PAGE, LINE] {
            origin.serve(path, Reply::ok(&body(wrong)));
            gateway.get(&url).send().assert_body(200, wrong);
            gateway.proxied("GET", &url).send().assert_body(200, wrong);
        }
        assert!(gateway.records_of(&url).is_empty());
        origin.serve(path, Reply::ok(&body(right)));
        gateway.assert_serves(&url, right);
        gateway.assert_serves(&url, right).assert_cache(&["hit"]);
    }
}

#[test]
fn page_with_gzip_coding_is_no_archive() {
    let page = gzip(&[PAGE, &[b' '; 5000]].concat());
    let error = gzip(JSON);
    let right = gzip(b"x.txt");
    for path in ["/x-1.0.tar.gz", "/x-1.0.tgz", "/x-1.0.crate"] {
        assert_only_right_body_is_stored(path, &[page.clone(), error.clone()], &right);
    }
    let origin = Origin::start();
    let gateway = gateway(&origin);
    origin.serve(
        "/x-2.0.tar.gz",
        Reply::ok(&page).header("Content-Encoding", "gzip"),
    );
    gateway
        .get(&origin.url("/x-2.0.tar.gz"))
        .send()
        .assert_problem(502);
    gateway.assert_nothing_stored();
}

#[test]
fn names_of_pages_accept_every_body() {
    let origin = Origin::start();
    let gateway = gateway(&origin);
    for (number, bytes) in [PAGE, JSON, XML, LINE, b""].into_iter().enumerate() {
        for name in ["x.html", "x.php"] {
            let path = format!("/kept/{number}/{name}");
            origin.serve(&path, Reply::ok(&body(bytes)));
            gateway.assert_serves(&origin.url(&path), bytes);
            gateway.await_stored(&origin.url(&path));
        }
    }
}

#[test]
fn rule_disables_the_check_for_every_name() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .rule("class = \"immutable\"\ncheck_file_type = false")
        .start();
    for (number, bytes) in [PAGE, JSON, XML, LINE, b""].into_iter().enumerate() {
        for name in ["x.bin", "x.tar.gz", "x.sig", "x.patch", "x.sha256"] {
            let path = format!("/{number}/{name}");
            origin.serve(&path, Reply::ok(&body(bytes)));
            gateway.assert_serves(&origin.url(&path), bytes);
            gateway.await_stored(&origin.url(&path));
        }
    }
}
