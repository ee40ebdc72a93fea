//! Dialects that ask for a file by its name.

use super::stage::{NAME, Stage};
use crate::harness::{Builder, Gateway, Origin, Reply, Scene, archive};

#[test]
fn buildroot_asks_with_and_without_package() {
    let stage = Stage::new();
    stage.import();
    stage.assert_row(
        &format!("/mirror/buildroot/hello/{NAME}"),
        "/mirror/buildroot/hello/hello-9.9.tar.gz",
    );
    stage.assert_hit(&format!("/mirror/buildroot/{NAME}"));
}

#[test]
fn buildroot_name_may_have_question_mark() {
    let (origin, gateway, body, url) = Scene::relaying("/get?file=x-1.0.tar.gz", archive(3, 4000));
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let path = "/mirror/buildroot/x/x-1.0.tar.gz";
    let answer = gateway.request("GET", path).send();
    answer.assert_body(200, &body);
    let path = "/mirror/buildroot/x/get%3Ffile=x-2.0.tar.gz";
    gateway.request("GET", path).send().assert_problem(404);
    assert_eq!(origin.total(), 1);
}

#[test]
fn flat_mirrors_ask_by_name() {
    let stage = Stage::new();
    stage.import();
    for (folder, unknown) in [
        ("openwrt", "openwrt"),
        ("void", "void"),
        ("void/hello-2.10", "void/hello-9.9"),
        ("alpine/v3.20", "alpine/v3.20"),
        ("crosstool-ng/hello", "crosstool-ng"),
        ("crosstool-ng", "crosstool-ng/hello"),
        ("easybuild/h/Hello", "easybuild/h/Hello"),
        ("freebsd", "freebsd"),
        ("freebsd/gnu/hello", "freebsd/gnu"),
    ] {
        stage.assert_row(
            &format!("/mirror/{folder}/{NAME}"),
            &format!("/mirror/{unknown}/hello-9.9.tar.gz"),
        );
    }
}

#[test]
fn gentoo_reads_layout_then_files() {
    let stage = Stage::new();
    stage.import();
    let layout = stage.get("/mirror/gentoo/distfiles/layout.conf");
    layout.assert_status(200);
    assert_eq!(
        layout.text(),
        "[structure]\n0=filename-hash BLAKE2B 8\n1=content-hash SHA512 8:8:8\n2=flat\n"
    );
    stage.assert_row(
        &format!("/mirror/gentoo/distfiles/eb/{NAME}"),
        "/mirror/gentoo/distfiles/cc/hello-9.9.tar.gz",
    );
    // The folder is the begin of the BLAKE2B of the name.
    for folder in ["00", "EBx", "eb0"] {
        let path = format!("/mirror/gentoo/distfiles/{folder}/{NAME}");
        stage.get(&path).assert_problem(404);
    }
    stage.assert_hit(&format!("/mirror/gentoo/distfiles/{NAME}"));
    let hex = stage.sha512();
    let folders = format!("{}/{}/{}", &hex[..2], &hex[2..4], &hex[4..6]);
    stage.assert_hit(&format!("/mirror/gentoo/distfiles/{folders}/{hex}"));
}

#[test]
fn yocto_asks_by_name_and_mirror_name() {
    let stage = Stage::new();
    stage.import();
    stage.assert_row(
        &format!("/mirror/yocto/{NAME}"),
        "/mirror/yocto/git2_github.com.x.y.git.tar.gz",
    );
    let port = stage.origin.port();
    let mirror_name = format!("127.0.0.1.{port}.gnu.hello.{NAME}");
    stage.assert_hit(&format!("/mirror/yocto/{mirror_name}/{NAME}"));
    stage.assert_hit(&format!("/mirror/yocto/{mirror_name}"));
    let other = format!("/mirror/yocto/ftp.example.org.pub.hello.{NAME}/{NAME}");
    stage.get(&other).assert_problem(404);
}

#[test]
fn spack_asks_by_package() {
    let stage = Stage::new();
    stage.import();
    stage.assert_row(
        &format!("/mirror/spack/hello/{NAME}"),
        "/mirror/spack/hello/hello-9.9.tar.gz",
    );
    let path = format!("/mirror/spack/hello/{NAME}");
    let probe = stage.gateway.request("GET", &path).range("bytes=0-0");
    probe.send().assert_body(206, &stage.body[..1]);
    stage
        .get("/mirror/spack/_pgp/index.json")
        .assert_problem(404);
}

#[test]
fn homebrew_asks_by_url_and_blob() {
    let stage = Stage::new();
    let url = stage.origin.url(&stage.path);
    let unknown = "/mirror/homebrew/v2/homebrew/core/hello/blobs/sha256:";
    stage.assert_row(
        &format!("/mirror/homebrew/{url}"),
        &format!("{unknown}{}", "ab".repeat(32)),
    );
    stage.assert_hit(&format!("{unknown}{}", stage.sha256()));
}

#[test]
fn homebrew_keeps_query_of_url() {
    let origin = Origin::start();
    let (plain, queried) = (archive(5, 4000), archive(6, 4000));
    origin.serve("/get", Reply::file(&plain));
    origin.serve("/get?file=x-1.0.tar.gz", Reply::file(&queried));
    let gateway = Gateway::relaying(&origin);
    let path = format!("/mirror/homebrew/{}", origin.url("/get?file=x-1.0.tar.gz"));
    gateway
        .request("GET", &path)
        .send()
        .assert_body(200, &queried);
    assert_eq!(origin.count("/get"), 0);
}

#[test]
fn denied_target_is_not_found() {
    let origin = Origin::start();
    let body = archive(8, 5000);
    let path = format!("/{NAME}");
    origin.serve(&path, Reply::file(&body));
    let gateway = Gateway::builder().origin(&origin).one_attempt();
    let gateway = gateway.set("policy.deny_hosts", "[\"denied.example.org\"]");
    let gateway = gateway.relay().start();
    let hex = crate::harness::sha256(&body);
    let import = |url: &str| {
        let list = format!("{hex}  {url}\n");
        let import = gateway.operate("PUT", "/api/v1/catalog");
        import.body(list.as_bytes()).send().assert_status(200);
    };
    let get = |path: &str| gateway.request("GET", path).send();
    import(&format!("https://denied.example.org/{NAME}"));
    // Conan goes on to its next server after a 404 only.
    let refused = get(&format!("/mirror/conan/{hex}"));
    refused.assert_problem(404);
    assert!(
        refused.text().contains("may not fetch"),
        "{}",
        refused.text()
    );
    let named = get("/mirror/homebrew/https://denied.example.org/x-1.0.tar.gz");
    named.assert_problem(403);
    import(&origin.url(&path));
    get(&format!("/mirror/conan/{hex}")).assert_body(200, &body);
}

#[test]
fn stored_file_needs_no_list() {
    let stage = Stage::new();
    stage
        .gateway
        .assert_serves(&stage.origin.url(&stage.path), &stage.body);
    stage.gateway.await_stored(&stage.origin.url(&stage.path));
    stage.assert_hit(&format!("/mirror/openwrt/{NAME}"));
    let Stage {
        origin,
        gateway,
        body,
        ..
    } = stage;
    origin.stop();
    let path = format!("/mirror/openwrt/{NAME}");
    gateway.request("GET", &path).send().assert_body(200, &body);
}

#[test]
fn ambiguous_name_needs_digest() {
    let (origin, other) = (Origin::start(), Origin::start());
    let (one, two) = (archive(1, 5000), archive(2, 5000));
    let path = "/v1.0.tar.gz";
    origin.serve(path, Reply::file(&one));
    other.serve(path, Reply::file(&two));
    let gateway = Gateway::builder().origin(&origin).origin(&other);
    let gateway = gateway.relay().one_attempt().start();
    for (origin, body) in [(&origin, &one), (&other, &two)] {
        gateway.assert_serves(&origin.url(path), body);
        gateway.await_stored(&origin.url(path));
    }
    let by_name = gateway.request("GET", "/mirror/openwrt/v1.0.tar.gz");
    by_name.send().assert_problem(404);
    for body in [&one, &two] {
        let hex = crate::harness::sha256(body);
        let path = format!("/mirror/fedora/repo/pkgs/x/v1.0.tar.gz/sha256/{hex}/v1.0.tar.gz");
        gateway.request("GET", &path).send().assert_body(200, body);
    }
    assert_eq!(origin.total() + other.total(), 2);
}

#[test]
fn upstream_failure_is_no_missing_file() {
    let stage = Stage::of(|_| Reply::status(503));
    stage.import();
    let path = format!("/mirror/openwrt/{NAME}");
    stage.get(&path).assert_problem(502);
    let gone = Stage::of(|_| Reply::status(404));
    gone.import();
    gone.get(&path).assert_problem(404);
    gone.gateway
        .request("HEAD", &path)
        .send()
        .assert_status(404);
    let Stage {
        origin, gateway, ..
    } = stage;
    origin.stop();
    let answer = gateway.request("GET", &path).send();
    assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
}

#[test]
fn second_target_serves_if_first_fails() {
    let (origin, other) = (Origin::start(), Origin::start());
    let body = archive(4, 5000);
    let path = format!("/{NAME}");
    origin.serve(&path, Reply::status(404));
    other.serve(&path, Reply::file(&body));
    let gateway = Gateway::builder().origin(&origin).origin(&other);
    let gateway = gateway.relay().one_attempt().start();
    let hex = crate::harness::sha256(&body);
    let list = format!(
        "{hex}  {}\n{hex}  {}\n",
        origin.url(&path),
        other.url(&path)
    );
    let import = gateway.operate("PUT", "/api/v1/catalog");
    import.body(list.as_bytes()).send().assert_status(200);
    let answer = gateway
        .request("GET", &format!("/mirror/openwrt/{NAME}"))
        .send();
    answer.assert_body(200, &body);
}

#[test]
fn agents_that_follow_are_not_redirected() {
    let path = format!("/{NAME}");
    let (_origin, gateway, body, url) = Scene::of(&path, archive(4, 5000))
        .gateway(Builder::one_attempt)
        .start();
    let list = format!("{}  {url}\n", crate::harness::sha256(&body));
    let import = gateway.operate("PUT", "/api/v1/catalog");
    import.body(list.as_bytes()).send().assert_status(200);
    let request = gateway.request("GET", &format!("/mirror/buildroot/hello/{NAME}"));
    request.wget_agent().send().assert_body(200, &body);
}
