//! npm with a rewritten registry: both forms of the versions of a package, and names with a scope.

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha512};

use super::stage::{ClientMachine, IndexStage, document};
use crate::freshness::package_clients::archives::{integrity, tar_gz};
use crate::harness::{Body, Reply, has_program};

const ABBREVIATED: &str = "application/vnd.npm.install-v1+json";

/// Serves a package at the path that npm requests.
fn serve_package(stage: &IndexStage, name: &str, dependencies: &Value) -> Body {
    let manifest = json!({"name": name, "version": "1.0.0", "dependencies": dependencies});
    let tarball = tar_gz(&[
        ("package/package.json", manifest.to_string().as_bytes()),
        ("package/index.js", name.as_bytes()),
    ]);
    let file = name.rsplit('/').next().expect("a name has a last part");
    let path = format!("/npm/{name}/-/{file}-1.0.0.tgz");
    let package = json!({"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {
        "1.0.0": {"name": name, "version": "1.0.0", "dependencies": dependencies, "dist": {
            "tarball": stage.origin.url(&path), "integrity": integrity(&tarball),
            "shasum": hex::encode(Sha1::digest(&tarball))}}}});
    let path_of_package = format!("/npm/{}", name.replace('/', "%2f"));
    let reply = document(ABBREVIATED, package.to_string().as_bytes());
    stage
        .origin
        .serve(&path_of_package, reply.header("Vary", "Accept"));
    stage.origin.serve(&path, Reply::file(&tarball));
    tarball
}

/// Serves `tiny`, which needs `@scope/base`. Returns the tarballs of both.
fn serve(stage: &IndexStage) -> [Body; 2] {
    let tiny = serve_package(stage, "tiny", &json!({"@scope/base": "^1.0.0"}));
    [tiny, serve_package(stage, "@scope/base", &json!({}))]
}

#[test]
fn both_forms_have_links_with_digests() {
    let stage = IndexStage::new();
    let [tiny, base] = serve(&stage);
    for (path, accept, tarball, name) in [
        (
            "/mirror/npm/tiny",
            "application/vnd.npm.install-v1+json; q=1.0, */*",
            &tiny,
            "tiny",
        ),
        ("/mirror/npm/tiny", "*/*", &tiny, "tiny"),
        ("/mirror/npm/@scope%2fbase", "*/*", &base, "@scope/base"),
        (
            "/mirror/npm/@scope/base",
            "application/json",
            &base,
            "@scope/base",
        ),
    ] {
        let request = stage
            .gateway
            .request("GET", path)
            .header("Host", "mill.example.org:81");
        let answer = request.header("Accept", accept).send();
        answer.assert_status(200);
        let found: Value = serde_json::from_str(&answer.text()).expect("the package is JSON");
        let link = found["versions"]["1.0.0"]["dist"]["tarball"].as_str();
        let link = link.expect("a version has a tarball");
        let digest = hex::encode(Sha512::digest(tarball));
        let front = format!("http://mill.example.org:81/sha512:{digest}/http://127.0.0.1:");
        assert!(link.starts_with(&front), "{link}");
        let at_gateway = &link["http://mill.example.org:81".len()..];
        stage.get(at_gateway).assert_body(200, tarball);
        // A client that puts the name of the registry into the URL of its lock file asks so.
        let file = name.rsplit('/').next().expect("a name has a last part");
        let plain = stage.get(&format!("/mirror/npm/{name}/-/{file}-1.0.0.tgz"));
        plain.assert_body(200, tarball);
        let wrong = at_gateway.replacen(&digest[..4], "0000", 1);
        let refused = stage.get(&wrong);
        assert_eq!(refused.status, 409, "{wrong}");
    }
    let asked = stage.origin.requests("/npm/tiny");
    let accepted: Vec<_> = asked
        .iter()
        .filter_map(|asked| asked.header("accept"))
        .collect();
    assert!(
        accepted
            .iter()
            .any(|accept| accept.starts_with(ABBREVIATED)),
        "{accepted:?}"
    );
    assert!(accepted.contains(&"application/json"), "{accepted:?}");
}

/// Installs twice, on two machines, the second time without upstream.
fn install_twice(install: impl Fn(&ClientMachine, &[Body; 2])) {
    if !has_program("npm") {
        eprintln!("skipped: npm needs hundreds of megabytes");
        return;
    }
    let stage = IndexStage::new();
    let tarballs = serve(&stage);
    for is_away in [false, true] {
        if is_away {
            stage.await_stored();
            stage.origin.shut_down();
        }
        let machine = stage.machine();
        machine.write_setup("npm", ".npmrc");
        install(&machine, &tarballs);
        for name in ["tiny", "@scope/base"] {
            let file = machine.read(&format!("project/node_modules/{name}/index.js"));
            assert_eq!(file, name.as_bytes());
        }
    }
    for path in [
        "/npm/tiny/-/tiny-1.0.0.tgz",
        "/npm/@scope/base/-/base-1.0.0.tgz",
    ] {
        assert_eq!(stage.origin.count(path), 1, "{path}");
    }
}

fn run_npm(machine: &ClientMachine, command: &str) {
    let project = machine.path("project");
    machine
        .tool("npm", "npm")
        .args(&[
            command,
            "--prefix",
            &project,
            "--no-fund",
            "--no-update-notifier",
        ])
        .args(&["--fetch-retries=0"])
        .run()
        .assert_success();
}

#[test]
fn npm_ci_without_resolved_works_without_upstream() {
    install_twice(|machine, [tiny, base]| {
        let root = json!({"name": "user", "version": "1.0.0", "dependencies": {"tiny": "^1.0.0"}});
        machine.write("project/package.json", root.to_string().as_bytes());
        let lock = json!({"name": "user", "version": "1.0.0", "lockfileVersion": 3,
            "requires": true, "packages": {"": root,
            "node_modules/tiny": {"version": "1.0.0", "integrity": integrity(tiny),
                "dependencies": {"@scope/base": "^1.0.0"}},
            "node_modules/@scope/base": {"version": "1.0.0", "integrity": integrity(base)}}});
        machine.write("project/package-lock.json", lock.to_string().as_bytes());
        run_npm(machine, "ci");
    });
}

#[test]
fn npm_install_by_range_works_without_upstream() {
    install_twice(|machine, _| {
        let root = json!({"name": "user", "version": "1.0.0", "dependencies": {"tiny": "^1.0.0"}});
        machine.write("project/package.json", root.to_string().as_bytes());
        run_npm(machine, "install");
    });
}
