//! URLs and digests that specs, lists, records and the catalog state.

use std::fs;

use super::depot::{Depot, of_file, tarball};
use crate::harness::{Reply, gzip, sha256};

/// Returns the hexadecimal digest of a body in another algorithm.
fn sha512(body: &[u8]) -> String {
    use sha2::{Digest as _, Sha512};
    hex::encode(Sha512::digest(body))
}

#[test]
fn spec_states_url_of_file() {
    let depot = Depot::new();
    let body = depot.source("x-1.0.tar.gz", 1);
    let renamed = depot.source("y-2.0.tar.gz", 2);
    let url = depot.origin.url("/pub/x-1.0.tar.gz");
    let tag = depot.origin.url("/o/y/archive/v2.0.tar.gz");
    let spec = format!(
        "Name: x\nVersion: 1.0\nSource0: {}\nSource1: {tag}#/y-2.0.tar.gz\n",
        depot.origin.url("/pub/%{name}-%{version}.tar.gz")
    );
    depot.write("specs/x.spec", spec);
    let (code, documents) = depot.adopt_json(&["--specs", "specs"]);
    assert_eq!(code, Some(0), "{documents:#?}");
    let document = of_file(&documents, "x-1.0.tar.gz");
    assert_eq!(document["urls"], serde_json::json!([url]));
    depot
        .gateway
        .assert_serves(&url, &body)
        .assert_cache(&["hit"]);
    depot
        .gateway
        .assert_serves(&tag, &renamed)
        .assert_cache(&["hit"]);
    depot.assert_found("x-1.0.tar.gz", &body);
    // The URL has another name than the file.
    depot.assert_found("y-2.0.tar.gz", &renamed);
    let stat = depot
        .gateway
        .run_command(depot.folder.path(), &["stat", &url, "--json"]);
    let record = &stat.documents()[0]["records"][0];
    assert_eq!(record["source"], "adopt");
    assert!(record["pinned"].is_string(), "{record}");
}

#[test]
fn digest_of_list_decides() {
    let depot = Depot::new();
    let body = depot.source("v1.0.tar.gz", 1);
    let (right, wrong) = (
        depot.origin.url("/right/v1.0.tar.gz"),
        depot.origin.url("/wrong/v1.0.tar.gz"),
    );
    let spec = |url: &str| format!("Name: x\nVersion: 1.0\nSource0: {url}\n");
    depot.write("specs/a/a.spec", spec(&wrong));
    depot.write("specs/b/b.spec", spec(&right));
    let document = |depot: &Depot| {
        let (code, documents) = depot.adopt_json(&["--specs", "specs", "--dry-run"]);
        assert_eq!(code, Some(0), "{documents:#?}");
        of_file(&documents, "v1.0.tar.gz").clone()
    };
    let ambiguous = document(&depot);
    let note = ambiguous["notes"][0].as_str().expect("it has a note");
    assert!(note.starts_with("2 URLs have this name"), "{note}");
    // The file beside the spec states the digest.
    let other = sha512(b"other");
    depot.write(
        "specs/a/sources",
        format!("SHA512 (v1.0.tar.gz) = {other}\n"),
    );
    depot.write(
        "specs/b/sources",
        format!("SHA512 (v1.0.tar.gz) = {}\n", sha512(&body)),
    );
    assert_eq!(document(&depot)["urls"], serde_json::json!([right]));
}

#[test]
fn manifest_states_digest_and_metadata_url() {
    let depot = Depot::new();
    let body = depot.source("hello-2.10.tar.gz", 1);
    depot.source("bad-1.0.tar.gz", 2);
    let url = depot.origin.url("/gnu/v2.10.tar.gz");
    let line =
        |name: &str, body: &[u8]| format!("DIST {name} {} SHA512 {}\n", body.len(), sha512(body));
    let manifest = line("hello-2.10.tar.gz", &body) + &line("bad-1.0.tar.gz", &tarball(3));
    depot.write("repo/app-misc/hello/Manifest", manifest);
    depot.write(
        "repo/metadata/md5-cache/app-misc/hello-2.10",
        format!("SLOT=0\nSRC_URI={url} -> hello-2.10.tar.gz\n"),
    );
    let (code, documents) = depot.adopt_json(&["--list", "repo"]);
    assert_eq!(code, Some(4), "{documents:#?}");
    let refused = &of_file(&documents, "bad-1.0.tar.gz")["error"];
    assert_eq!(refused["code"], "mismatch");
    let message = refused["message"].as_str().expect("it is text");
    assert!(
        message.contains("app-misc/hello/Manifest states"),
        "{message}"
    );
    depot
        .gateway
        .assert_serves(&url, &body)
        .assert_cache(&["hit"]);
    depot.assert_found("hello-2.10.tar.gz", &body);
    assert_eq!(
        depot.gateway.objects().len(),
        1,
        "nothing of the other file"
    );
}

#[test]
fn record_of_conan_states_url() {
    let depot = Depot::new();
    let body = tarball(1);
    let (hex, url) = (sha256(&body), depot.origin.url("/zlib-1.3.tar.gz"));
    depot.write(&format!("sources/s/{hex}"), &body);
    let record = serde_json::json!({"references": {"zlib/1.3#ab": [url]}, "timestamp": 1});
    depot.write(&format!("sources/s/{hex}.json"), record.to_string());
    depot.write(&format!("sources/s/{}", "ab".repeat(32)), tarball(2));
    let (code, documents) = depot.adopt_json(&[]);
    assert_eq!(code, Some(4), "{documents:#?}");
    let skipped = of_file(&documents, &format!("s/{hex}.json"));
    assert_eq!(skipped["reason"], "the record of another file");
    let refused = of_file(&documents, &format!("s/{}", "ab".repeat(32)));
    assert_eq!(refused["error"]["code"], "mismatch");
    depot
        .gateway
        .assert_serves(&url, &body)
        .assert_cache(&["hit"]);
    depot.assert_found("zlib-1.3.tar.gz", &body);
}

#[test]
fn imported_catalog_states_url() {
    let depot = Depot::new();
    let body = depot.source("x-1.0.tar.gz", 1);
    let url = depot.origin.url("/pub/x-1.0.tar.gz");
    let imported = depot
        .gateway
        .operate("PUT", "/api/v1/catalog?format=sums")
        .body(format!("{}  {url}\n", sha512(&body)).as_bytes())
        .send();
    imported.assert_status(200);
    depot.adopt(&[]).assert_success();
    depot
        .gateway
        .assert_serves(&url, &body)
        .assert_cache(&["hit"]);
    assert_eq!(depot.origin.total(), 0);
}

#[test]
fn lock_file_and_sums_state_urls() {
    let depot = Depot::new();
    let (one, two) = (
        depot.source("serde-1.0.0.crate", 1),
        depot.source("z-1.0.tar.gz", 2),
    );
    let npm = depot.source("a-1.0.0.tgz", 3);
    let [two_url, npm_url] =
        ["/z-1.0.tar.gz", "/a/-/a-1.0.0.tgz"].map(|path| depot.origin.url(path));
    depot.write("sums", format!("{}  {two_url}\n", sha256(&two)));
    let digest = {
        use base64::Engine as _;
        use sha2::{Digest as _, Sha512};
        base64::engine::general_purpose::STANDARD.encode(Sha512::digest(&npm))
    };
    let lock = serde_json::json!({
        "lockfileVersion": 3,
        "packages": {"node_modules/a": {
            "version": "1.0.0", "resolved": npm_url, "integrity": format!("sha512-{digest}"),
        }},
    });
    depot.write("package-lock.json", lock.to_string());
    let (code, documents) = depot.adopt_json(&["--list", "sums", "--list", "package-lock.json"]);
    assert_eq!(code, Some(0), "{documents:#?}");
    depot.gateway.assert_serves(&two_url, &two);
    depot.gateway.assert_serves(&npm_url, &npm);
    assert_eq!(depot.origin.total(), 0);
    depot.assert_found("serde-1.0.0.crate", &one);
}

#[test]
fn lists_of_apt_state_urls_and_digests() {
    let depot = Depot::new();
    let pool = "main/x/x_2.0-1_amd64.deb";
    let package = depot.source(pool, 1);
    // A client of apt keeps the epoch of a version in the name.
    let cached = depot.source("x_1%3a2.0-1_amd64.deb", 1);
    assert_eq!(package, cached);
    let tar = depot.source("main/x/x_2.0.orig.tar.gz", 2);
    let other = depot.source("main/y/y_1.0_all.deb", 3);
    let packages = format!(
        "Package: x\nVersion: 1:2.0-1\nArchitecture: amd64\nFilename: pool/{pool}\nSize: {}\n\
         SHA256: {}\n\nPackage: y\nVersion: 1.0\nArchitecture: all\n\
         Filename: pool/main/y/y_1.0_all.deb\nSHA256: {}\n",
        package.len(),
        sha256(&package),
        sha256(b"other bytes")
    );
    let sources = format!(
        "Package: x\nDirectory: pool/main/x\nChecksums-Sha256:\n {} {} x_2.0.orig.tar.gz\n",
        sha256(&tar),
        tar.len()
    );
    let dists = "dists/stable/main";
    let name = format!("{dists}/binary-amd64/Packages.gz");
    depot.write(&name, gzip(packages.as_bytes()));
    // Beside the form that is read, the other one is no problem.
    depot.write(&format!("{dists}/binary-amd64/Packages.xz"), "packed");
    depot.write(&format!("{dists}/source/Sources"), sources);
    let base = depot.origin.url("/debian");
    let files = format!("files={base}");
    let arguments = ["--list", "dists", "--registry", &files, "--force"];
    let (code, documents) = depot.adopt_json(&arguments);
    // The list states other bytes for the third file.
    assert_eq!(code, Some(4), "{documents:#?}");
    let error = &of_file(&documents, "main/y/y_1.0_all.deb")["error"];
    assert!(
        error["message"].to_string().contains("Packages.gz"),
        "{error}"
    );
    depot
        .gateway
        .assert_serves(&format!("{base}/pool/{pool}"), &package);
    depot
        .gateway
        .assert_serves(&format!("{base}/pool/main/x/x_2.0.orig.tar.gz"), &tar);
    assert_eq!(depot.origin.total(), 0);
    let url = format!("{base}/pool/{pool}");
    for file in [pool, "x_1%3a2.0-1_amd64.deb"] {
        let document = of_file(&documents, file);
        assert_eq!(document["urls"][0], url, "{document}");
    }
    assert!(!depot.gateway.object_path(&other).exists());
    // A list that cannot be unpacked is named, if no other form lies beside it.
    let packed = depot.write("lists/deb.example.org_dists_stable_main_Packages.xz", "x");
    let run = depot.adopt(&["--list", "lists", "--dry-run", "--force"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let line = format!(
        "millpond: lists/{}: only gzip is unpacked here; unpack the list first",
        packed.file_name().expect("a file has a name").display()
    );
    assert!(run.stderr.lines().any(|found| found == line), "{run:?}");
}

#[test]
fn bad_list_is_one_line() {
    let depot = Depot::new();
    let body = depot.source("x-1.0.tar.gz", 1);
    depot.write("lists/one.hash", "sha256 abc x\n");
    depot.write(
        "lists/two.hash",
        format!("sha256 {} x-1.0.tar.gz\n", sha256(&body)),
    );
    fs::write(depot.path("lists/three.hash"), b"\xff\xfe\x00").expect("the folder is writable");
    let run = depot.adopt(&["--list", "lists"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{run:?}");
    assert!(
        lines[0].starts_with("millpond: lists/one.hash: line 1:"),
        "{run:?}"
    );
    assert!(
        lines[1].starts_with("millpond: lists/three.hash: "),
        "{run:?}"
    );
    depot.assert_found("x-1.0.tar.gz", &body);
    let run = depot.adopt(&["--list", "missing"]);
    assert_eq!(run.code, Some(1), "{run:?}");
}

#[test]
fn url_with_other_bytes_is_kept() {
    let depot = Depot::new();
    let stored = tarball(1);
    depot.origin.serve("/x-1.0.tar.gz", Reply::file(&stored));
    let url = depot.origin.url("/x-1.0.tar.gz");
    depot.gateway.assert_serves(&url, &stored);
    depot.gateway.await_stored(&url);
    depot.source("x-1.0.tar.gz", 2);
    depot.write("x.spec", format!("Name: x\nVersion: 1\nSource0: {url}\n"));
    let (code, documents) = depot.adopt_json(&["--specs", "x.spec"]);
    assert_eq!(code, Some(4), "{documents:#?}");
    let message = of_file(&documents, "x-1.0.tar.gz")["error"]["message"].to_string();
    assert!(message.contains(&sha256(&stored)), "{message}");
    depot.gateway.assert_serves(&url, &stored);
    assert_eq!(depot.gateway.objects().len(), 1);
    assert_eq!(depot.gateway.records().len(), 1);
}

#[test]
fn denied_url_leaves_name_and_digest() {
    let depot = Depot::with(|builder| builder.set("policy.deny_hosts", "[\"example.org\"]"));
    let body = depot.source("x-1.0.tar.gz", 1);
    let url = "https://example.org/x-1.0.tar.gz";
    depot.write("x.spec", format!("Name: x\nVersion: 1\nSource0: {url}\n"));
    depot.write("sums", format!("{}  {url}\n", sha256(&body)));
    let folder = depot.folder.path();
    let import = ["catalog", "import", "sums"];
    depot.gateway.run_command(folder, &import).assert_success();
    let run = depot.adopt(&["--specs", "x.spec"]);
    run.assert_success();
    // The spec and the catalog have the URL, and the reason is stated once.
    assert_eq!(
        run.stdout.matches("(policy.deny_hosts)").count(),
        1,
        "{run:?}"
    );
    depot.assert_found("x-1.0.tar.gz", &body);
    let depot = Depot::with(|builder| builder.set("policy.allow_hosts", "[\"example.org\"]"));
    depot.source("x-1.0.tar.gz", 1);
    let run = depot.adopt(&[]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let line = "host adopted.invalid is not allowed (policy.allow_hosts)";
    assert!(run.stderr.contains(line), "{run:?}");
}
