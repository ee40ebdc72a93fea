//! Tests of origins that cut, stall, or send wrong content. No client sees a clean end of such a
//! body, and Millpond stores none of it.

use crate::harness::{
    Ended, Gate, Gateway, Origin, Reply, Scene, Stop, Tool, archive, assert_same, marked,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Asserts a transfer that was cut after a prefix of `body`.
#[track_caller]
fn assert_cut(answer: &crate::harness::Answer, body: &[u8]) {
    answer.assert_status(200);
    answer.assert_broken();
    assert!(answer.body.len() < body.len(), "the end is missing");
    assert_same(&answer.body, &body[..answer.body.len()]);
}

#[test]
fn cut_origin_body_breaks_the_client_transfer() {
    let origin = Origin::start();
    let body = archive(1, 100_000);
    let gateway = Gateway::relaying(&origin);
    let replies = [
        Reply::file(&body).cut_at(50_000),
        Reply::file(&body).chunked().cut_at(50_000),
        Reply::file(&body).stop_at(50_000, Stop::Reset),
        Reply::file(&body).chunked().stop_at(50_000, Stop::Reset),
        Reply::file(&body).cut_at(99_999),
        // The origin sends all of the body, but not the last chunk that ends it.
        Reply::file(&body).chunked().cut_at(100_000),
    ];
    for (number, reply) in replies.into_iter().enumerate() {
        let path = format!("/x-{number}.tar.gz");
        // The client gets the head before the origin cuts the body.
        let gate = Gate::new();
        origin.serve(&path, reply.gate_at(40_000, &gate));
        let mut answer = gateway.get(&origin.url(&path)).open();
        assert_eq!(answer.head.status, 200);
        assert_same(&answer.read(40_000), &body[..40_000]);
        gate.open();
        let rest = answer.finish();
        assert_eq!(rest.ended, Ended::Cut, "reply {number}");
        let seen = 40_000 + rest.body.len();
        assert_same(&rest.body, &body[40_000..seen]);
        assert_ne!(
            gateway.await_fetch(&origin.url(&path))["outcome"],
            "stored",
            "reply {number}"
        );
    }
    gateway.assert_nothing_stored();
}

#[test]
fn cut_origin_body_breaks_the_proxy_transfer() {
    let origin = Origin::start();
    let body = archive(2, 100_000);
    let gateway = Gateway::relaying(&origin);
    for (path, reply) in [
        (PATH, Reply::file(&body)),
        ("/x.bin", Reply::ok(&body)),
        ("/y.bin", Reply::ok(&body).chunked()),
    ] {
        let gate = Gate::new();
        origin.serve(path, reply.gate_at(40_000, &gate).cut_at(50_000));
        let mut answer = gateway.proxied("GET", &origin.url(path)).open();
        assert_eq!(answer.head.status, 200);
        assert_same(&answer.read(40_000), &body[..40_000]);
        gate.open();
        let rest = answer.finish();
        assert_eq!(rest.ended, Ended::Cut, "{path}");
        assert_same(&rest.body, &body[40_000..40_000 + rest.body.len()]);
    }
    gateway.assert_nothing_stored();
}

#[test]
fn wget_and_curl_fail_on_cut_transfer() {
    let origin = Origin::start();
    let body = archive(3, 100_000);
    let gateway = Gateway::relaying(&origin);
    let folder = tempfile::tempdir().expect("a folder can be created");
    for (name, reply) in [
        ("length", Reply::ok(&body)),
        ("chunks", Reply::ok(&body).chunked()),
    ] {
        let reply = reply.cut_at(60_000);
        for tool in ["wget", "curl"] {
            let path = format!("/{name}-{tool}-1.0.tar.gz");
            origin.serve(&path, reply.clone());
            let url = gateway.rewritten(&origin.url(&path));
            let run = match tool {
                "wget" => Tool::wget(folder.path()).arg(&url).run(),
                _ => Tool::curl(folder.path())
                    .args(&["-f", "-o", "out"])
                    .arg(&url)
                    .run(),
            };
            run.assert_failure();
        }
    }
}

#[test]
fn missing_origin_head_is_504() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::status(200).stop_before_head(Stop::Stall));
    origin.serve(
        "/cut-1.0.tar.gz",
        Reply::status(200).stop_before_head(Stop::Cut),
    );
    origin.serve(
        "/reset-1.0.tar.gz",
        Reply::status(200).stop_before_head(Stop::Reset),
    );
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("fetch.idle_timeout", "300ms")
        .start();
    for path in [PATH, "/cut-1.0.tar.gz", "/reset-1.0.tar.gz"] {
        gateway.get(&origin.url(path)).send().assert_problem(504);
    }
}

#[test]
fn unreachable_origin_is_502_or_504() {
    let origin = Origin::start();
    let url = origin.url(PATH);
    let gateway = Gateway::relaying(&origin);
    origin.stop();
    let answer = gateway.get(&url).send();
    assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
    answer.assert_problem(answer.status);
    let proxied = gateway.proxied("GET", &url).send();
    assert!(matches!(proxied.status, 502 | 504), "{}", proxied.status);
}

#[test]
fn stalled_origin_body_breaks_the_transfer() {
    let (origin, gateway, body, url) = Scene::of(PATH, archive(4, 100_000))
        .reply(|file| file.stop_at(50_000, Stop::Stall))
        .gateway(|builder| {
            builder
                .relay()
                .one_attempt()
                .text("fetch.idle_timeout", "300ms")
        })
        .start();
    origin.serve("/x.bin", Reply::ok(&body).stop_at(50_000, Stop::Stall));
    assert_cut(&gateway.get(&url).send(), &body);
    assert_cut(&gateway.get(&origin.url("/x.bin")).send(), &body);
    gateway.assert_nothing_stored();
}

#[test]
fn body_shorter_than_content_length_never_completes() {
    let (_origin, gateway, _, url) = Scene::of(PATH, archive(5, 10_000))
        .reply(|file| file.claims_length(10_001))
        .start();
    let answer = gateway.get(&url).send();
    if answer.status == 200 {
        answer.assert_broken();
    } else {
        answer.assert_problem(504);
    }
    gateway.assert_nothing_stored();
}

#[test]
fn body_is_truncated_at_its_content_length() {
    let (origin, gateway, body, url) = Scene::of(PATH, archive(6, 10_000))
        .reply(|file| file.claims_length(9000))
        .start();
    gateway.assert_serves(&url, &body[..9000]);
    assert_eq!(gateway.await_stored(&url)["size_bytes"], 9000);
    // The surplus bytes on that connection must not become the next response.
    origin.serve("/y-1.0.tar.gz", Reply::file(&body));
    gateway.assert_serves(&origin.url("/y-1.0.tar.gz"), &body);
}

#[test]
fn html_under_an_archive_name_is_rejected() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let archives = [
        "x-7.0.tar.gz",
        "x-1.0.tgz",
        "x-1.0.tar.xz",
        "x-1.0.tar.bz2",
        "x-1.0.zip",
        "x-1.0.tar.zst",
        "x-1.0.7z",
        "x-1.0.tar",
        "x-1.0.jar",
        "x-1.0.deb",
        "x-1.0.rpm",
    ];
    // For these names Millpond knows no magic bytes, and only rejects HTML.
    let others = [
        "x-7.0.tar.gz.asc",
        "x-1.0.tar.gz.sig",
        "x-1.0.tar.gz.sha256",
        "fix-1.0.patch",
        "x-1.0.iso",
        "owner/repo/tar.gz/v1.0",
    ];
    for name in archives.into_iter().chain(others) {
        let path = format!("/{name}");
        origin.serve(&path, Reply::html());
        gateway.get(&origin.url(&path)).send().assert_problem(502);
        assert_ne!(
            gateway.await_fetch(&origin.url(&path))["outcome"],
            "stored",
            "{name}"
        );
    }
    origin.serve("/tiny-1.0.tar.gz", Reply::ok(&b"<html>".to_vec().into()));
    gateway
        .get(&origin.url("/tiny-1.0.tar.gz"))
        .send()
        .assert_problem(502);
    origin.serve("/empty-1.0.tar.gz", Reply::ok(&Vec::new().into()));
    gateway
        .get(&origin.url("/empty-1.0.tar.gz"))
        .send()
        .assert_problem(502);
    gateway.assert_nothing_stored();
}

#[test]
fn archive_with_matching_magic_bytes_is_stored() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let mut tar = vec![b'x'; 257];
    tar.extend_from_slice(b"ustar\0");
    let marks: [(&str, &[u8]); 8] = [
        ("x-1.0.tgz", b"\x1f\x8b\x08"),
        ("x-1.0.tar.xz", b"\xfd7zXZ\0"),
        ("x-1.0.tar.bz2", b"BZh9"),
        ("x-1.0.zip", b"PK\x03\x04"),
        ("x-1.0.tar.zst", b"\x28\xb5\x2f\xfd"),
        ("x-1.0.7z", b"7z\xbc\xaf\x27\x1c"),
        ("x-1.0.tar", &tar),
        ("x-1.0.deb", b"!<arch>\n"),
    ];
    for (name, mark) in marks {
        let path = format!("/{name}");
        let body = marked(mark, 7, 2000);
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
    }
}

const CHECKSUM: &[u8] =
    b"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  x.tar.gz\n";

#[test]
fn files_without_magic_bytes_are_stored() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for (path, body) in [
        ("/x-1.0.patch", &b"--- a\n+++ b\n"[..]),
        ("/x-7.0.tar.gz.sig", b"\x89\x02"),
        ("/x-7.0.tar.gz.sha256", CHECKSUM),
        ("/x-1.0.iso", b"0"),
    ] {
        origin.serve(path, Reply::file(&body.to_vec().into()));
        gateway.assert_serves(&origin.url(path), body);
        gateway.await_stored(&origin.url(path));
        gateway
            .assert_serves(&origin.url(path), body)
            .assert_cache(&["hit"]);
    }
}

#[test]
fn rule_overrides_class_and_file_type_check() {
    let origin = Origin::start();
    let page = b"<html>an index that this site never changes</html>".to_vec();
    for path in ["/kept.bin", "/odd/x-7.0.tar.gz", "/moving/y-7.0.tar.gz"] {
        origin.serve(path, Reply::file(&page.clone().into()));
    }
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .rule(
            "host = \"127.0.0.1\"\npath_suffix = \".bin\"\nclass = \"immutable\"\n\
             check_file_type = false",
        )
        .rule("path_prefix = \"/odd/\"\nclass = \"immutable\"\ncheck_file_type = false")
        .rule("path_prefix = \"/moving/\"\nclass = \"pass\"")
        .start();
    for path in ["/kept.bin", "/odd/x-7.0.tar.gz"] {
        gateway.assert_serves(&origin.url(path), &page);
        gateway.await_stored(&origin.url(path));
        gateway
            .assert_serves(&origin.url(path), &page)
            .assert_cache(&["hit"]);
    }
    gateway
        .assert_serves(&origin.url("/moving/y-7.0.tar.gz"), &page)
        .assert_cache(&["fwd=bypass"]);
    gateway.assert_serves(&origin.url("/moving/y-7.0.tar.gz"), &page);
    assert_eq!(origin.count("/moving/y-7.0.tar.gz"), 2);
}
