//! `millpond spec`: the sources of specs are listed, stored, rewritten and imported.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Body, Gateway, Origin, Reply, Run, Tool, archive, assert_same, millpond, sha256,
};

/// A gateway, an origin, and a folder with specs in which commands run.
pub struct SpecDesk {
    pub origin: Origin,
    pub gateway: Gateway,
    pub folder: TempDir,
}

impl SpecDesk {
    pub fn new() -> Self {
        let origin = Origin::start();
        let gateway = Gateway::builder()
            .origin(&origin)
            .relay()
            .one_attempt()
            .start();
        let folder = tempfile::tempdir().expect("a folder can be created");
        fs::write(folder.path().join("token"), gateway.token()).expect("the folder is writable");
        Self {
            origin,
            gateway,
            folder,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        let parent = path.parent().expect("the path has a parent");
        fs::create_dir_all(parent).expect("a folder can be created");
        fs::write(path, bytes).expect("the folder is writable");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("the file exists")
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        let url = self.gateway.url("");
        let gateway = ["--gateway", &url, "--token-file", "token"];
        millpond(self.folder.path(), &[arguments, &gateway[..]].concat())
    }

    /// Serves an archive, and returns its body.
    pub fn serve(&self, path: &str, seed: u64) -> Body {
        let body = archive(seed, 20_000);
        self.origin.serve(path, Reply::file(&body));
        body
    }

    /// Writes a spec with these lines, in which `ORIGIN` is the URL of the origin.
    pub fn spec(&self, name: &str, lines: &str) {
        let origin = self.origin.url("");
        let lines = lines.replace("ORIGIN", origin.trim_end_matches('/'));
        self.write(name, format!("Name: x\nVersion: 1.0\n{lines}"));
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn list_shows_urls_and_unresolved_macros() {
    let desk = SpecDesk::new();
    desk.spec(
        "specs/x.spec",
        "%global commit 0123456789abcdef\n%global short %(c=%{commit}; echo ${c:0:7})\n\
         Source0: https://example.org/%{name}-%{version}-%{short}.tar.gz#/y.tar.gz\n\
         Source1: local.service\n%if 0%{?rhel}\nPatch1: https://example.org/a.patch\n%endif\n\
         Source2: https://example.org/%{lua:print(1)}.zip\n",
    );
    desk.write("specs/no.txt", "Source0: https://example.org/no");
    let run = desk.run(&["spec", "list", "specs"]);
    run.assert_success();
    assert_eq!(
        lines(&run.stdout),
        [
            "specs/x.spec:5  Source0  https://example.org/x-1.0-0123456.tar.gz",
            "specs/x.spec:6  Source1  local file local.service",
            "specs/x.spec:8  Patch1  https://example.org/a.patch  (other branch)",
            "specs/x.spec:10  Source2  unresolved: %{lua:...} in line 10: is a Lua script, which \
             Millpond does not run",
        ]
    );
    assert_eq!(
        run.stderr,
        "millpond: 1 specs: 2 URLs, 1 unresolved, 1 local files\n"
    );
    let documents = desk
        .run(&["spec", "list", "specs/x.spec", "--json"])
        .documents();
    assert_eq!(documents.len(), 4);
    assert_eq!(documents[0]["urls"][0]["file"], "y.tar.gz");
    assert_eq!(documents[2]["urls"][0]["other_branch"], true);
    assert_eq!(documents[3]["unresolved"][0]["macro"], "%{lua:...}");
}

#[test]
fn ensure_stores_sources_with_stated_digests() {
    let desk = SpecDesk::new();
    let (good, bad) = (
        desk.serve("/x-1.0.tar.gz", 1),
        desk.serve("/bad-1.0.tar.gz", 2),
    );
    let patch = desk.serve("/a-1.patch.gz", 3);
    desk.spec(
        "x.spec",
        "Source0: ORIGIN/%{name}-%{version}.tar.gz\nSource1: ORIGIN/bad-1.0.tar.gz\n\
         Patch0: ORIGIN/a-1.patch.gz\nSource2: ORIGIN/missing-1.0.tar.gz\n\
         Source3: ORIGIN/%{unknown}.tar.gz\n",
    );
    desk.write(
        "sources",
        format!(
            "SHA512 (other.gz) = {}\nSHA256 (x-1.0.tar.gz) = {}\n",
            "0".repeat(128),
            sha256(&good)
        ),
    );
    desk.write("sums", format!("{}  bad-1.0.tar.gz\n", "0".repeat(64)));
    let run = desk.run(&["spec", "ensure", "x.spec", "--checksums", "sums"]);
    assert_eq!(
        run.code,
        Some(4),
        "the first failure is other bytes: {run:?}"
    );
    assert_eq!(run.stdout.lines().count(), 2, "{run:?}");
    assert!(run.stderr.contains("FAILED  CAUSE\n"), "{run:?}");
    assert!(
        run.stderr.contains("     1  the URL is not known\n"),
        "{run:?}"
    );
    assert!(
        run.stderr.contains("millpond: 2 of 4 files are stored\n"),
        "{run:?}"
    );
    assert!(
        run.stderr.contains("%{unknown} in line 7: is not defined"),
        "{run:?}"
    );
    let asked = desk.origin.count("/x-1.0.tar.gz");
    for (path, body) in [("/x-1.0.tar.gz", &good), ("/a-1.patch.gz", &patch)] {
        let url = desk.origin.url(path);
        desk.gateway
            .assert_serves(&url, body)
            .assert_cache(&["hit"]);
    }
    drop(bad);
    // A second command asks upstream only for the rest.
    desk.run(&["spec", "ensure", "x.spec"]);
    assert_eq!(desk.origin.count("/x-1.0.tar.gz"), asked);
}

#[test]
fn ensure_succeeds_in_json() {
    let desk = SpecDesk::new();
    let body = desk.serve("/x-1.0.tar.gz", 4);
    desk.spec("x.spec", "Source0: ORIGIN/%{name}-%{version}.tar.gz\n");
    let run = desk.run(&["spec", "ensure", "x.spec", "--json"]);
    run.assert_success();
    assert_eq!(run.documents()[0]["sha256"], sha256(&body));
    assert_eq!(run.stderr, "");
}

#[test]
fn rewritten_spec_builds_through_gateway() {
    let desk = SpecDesk::new();
    let body = desk.serve("/x-1.0.tar.gz", 5);
    let spec = "Release: 1\nSummary: caf\u{e9}\nLicense: MIT\nURL: ORIGIN\n\
                Source0:\t%{url}/%{name}-%{version}.tar.gz \n%description\nTest.\n%files\n";
    desk.spec("x.spec", spec);
    let before = desk.read("x.spec");
    let gateway = desk.gateway.url("");
    let check = desk.run(&["spec", "rewrite", "x.spec", "--check"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert_same(&desk.read("x.spec"), &before);
    desk.run(&["spec", "rewrite", "x.spec"]).assert_success();
    let text = String::from_utf8(desk.read("x.spec")).expect("the spec is UTF-8");
    let from = "\t%{url}/";
    let to = format!("\t{}/%{{url}}/", gateway.trim_end_matches('/'));
    let expected = String::from_utf8_lossy(&before).replace(from, &to);
    assert_eq!(text, expected);
    desk.run(&["spec", "rewrite", "x.spec", "--check"])
        .assert_success();
    desk.run(&["spec", "rewrite", "x.spec"]).assert_success();
    assert_eq!(
        desk.read("x.spec"),
        text.as_bytes(),
        "a second rewriting changes nothing"
    );
    // The gateway knows its own URLs.
    desk.run(&["spec", "ensure", "x.spec"]).assert_success();
    assert_eq!(desk.origin.count("/x-1.0.tar.gz"), 1);
    desk.origin.serve("/x-1.0.tar.gz", Reply::status(404));
    desk.write("top/SOURCES/none", "");
    let top = format!("_topdir {}", desk.path("top").display());
    Tool::new("rpmbuild", "rpm", desk.folder.path())
        .args(&["-bs", "--undefine=_disable_source_fetch", "--define", &top])
        .arg("x.spec")
        .run()
        .assert_success();
    assert_same(&desk.read("top/SOURCES/x-1.0.tar.gz"), &body);
    desk.run(&["spec", "rewrite", "x.spec", "--undo"])
        .assert_success();
    assert_same(&desk.read("x.spec"), &before);
}

#[test]
fn unreadable_spec_leaves_all_specs_unchanged() {
    let desk = SpecDesk::new();
    desk.spec("specs/a.spec", "Source0: ORIGIN/a-1.0.tar.gz\n");
    desk.write("specs/b.spec", b"Name: x\0");
    let large = vec![b'a'; 33 << 20];
    desk.write("specs/c.spec", large);
    desk.write("specs/d.spec", "hello\n");
    let before = desk.read("specs/a.spec");
    let run = desk.run(&["spec", "rewrite", "specs", "missing"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(
        lines(&run.stderr),
        [
            "millpond: missing: No such file or directory (os error 2)",
            "millpond: specs/b.spec: this is no spec file: it contains a zero byte",
            "millpond: specs/c.spec: a spec has at most 33554432 bytes",
            "millpond: specs/d.spec: this is no spec file: it has no line \"Name:\"",
            "millpond: no spec was changed, as not all could be read",
        ]
    );
    assert_same(&desk.read("specs/a.spec"), &before);
    let run = desk.run(&["spec", "list", "specs"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(
        run.stdout.lines().count(),
        1,
        "the others are listed: {run:?}"
    );
}

#[test]
fn import_takes_files_beside_spec() {
    let desk = SpecDesk::new();
    let (body, changed) = (archive(6, 30_000), archive(7, 30_000));
    desk.spec(
        "x.spec",
        "Source0: ORIGIN/lost/%{name}-%{version}.tar.gz\n\
         Source1: ORIGIN/get?f=y-1.0.tar.gz#/y-1.0.tar.gz\n\
         Source2: ORIGIN/none-1.0.tar.gz\n",
    );
    desk.write("x-1.0.tar.gz", &body);
    desk.write("y-1.0.tar.gz", &changed);
    desk.write(
        "sources",
        format!("SHA256 (y-1.0.tar.gz) = {}\n", "0".repeat(64)),
    );
    let run = desk.run(&["spec", "import", "x.spec"]);
    assert_eq!(run.code, Some(4), "{run:?}");
    assert!(
        run.stderr.contains("does not have the stated digest"),
        "{run:?}"
    );
    assert!(
        run.stderr
            .contains("sources without a file beside the spec: 1"),
        "{run:?}"
    );
    let sum = format!("sha256:{}", sha256(&body));
    assert_eq!(
        run.stdout.matches(&sum).count(),
        2,
        "before and after: {run:?}"
    );
    let url = desk.origin.url("/lost/x-1.0.tar.gz");
    desk.gateway
        .assert_serves(&url, &body)
        .assert_cache(&["hit"]);
    assert_eq!(desk.origin.total(), 0);
    desk.write("sources", format!("{}  y-1.0.tar.gz\n", sha256(&changed)));
    desk.run(&["spec", "import", "x.spec"]).assert_success();
    let url = desk.origin.url("/get?f=y-1.0.tar.gz");
    desk.gateway
        .assert_serves(&url, &changed)
        .assert_cache(&["hit"]);
}

/// Orders a job, and waits for its end. Returns the order's response and the job.
fn run_job(desk: &SpecDesk, body: &Value) -> (Value, Value) {
    let answer = crate::operate::jobs::order(&desk.gateway, body);
    answer.assert_status(202);
    let location = answer.wants("location").to_owned();
    (
        answer.json(),
        crate::operate::jobs::await_end(&desk.gateway, &location),
    )
}

#[test]
fn jobs_take_specs_lockfiles_and_sboms() {
    let desk = SpecDesk::new();
    let bodies = [
        desk.serve("/x-1.0.tar.gz", 8),
        desk.serve("/crates/a/1.0.0/download", 9),
        desk.serve("/b-1.0.tar.gz", 10),
    ];
    let origin = desk.origin.url("");
    let origin = origin.trim_end_matches('/');
    let spec = format!(
        "Name: x\nVersion: 1.0\nSource0: {origin}/%{{name}}-%{{version}}.tar.gz\n\
         Source1: {origin}/%{{no}}.gz\n"
    );
    let lockfile = format!(
        "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n\
         checksum = \"{}\"\n",
        sha256(&bodies[1])
    );
    let url_of_b = format!("{origin}/b-1.0.tar.gz");
    let sbom = json!({"bomFormat": "CycloneDX", "components": [{"name": "b",
        "externalReferences": [{"type": "distribution", "url": url_of_b}]}]});
    let body = json!({"kind": "fetch", "spec": spec, "lockfile": lockfile,
        "sbom": sbom.to_string(), "registries": [format!("cargo={origin}/crates")]});
    let (created, job) = run_job(&desk, &body);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["targets"], 3, "{job}");
    assert_eq!(
        created["notes"],
        json!([
            "line 4: %{no} in line 4: is not defined",
            "b : no digest is stated"
        ])
    );
    for (path, body) in ["/x-1.0.tar.gz", "/crates/a/1.0.0/download", "/b-1.0.tar.gz"]
        .into_iter()
        .zip(&bodies)
    {
        let url = desk.origin.url(path);
        desk.gateway
            .assert_serves(&url, body)
            .assert_cache(&["hit"]);
    }
    for (body, text) in [
        (
            json!({"kind": "fetch", "spec": "hello"}),
            "spec: this is no spec file",
        ),
        (
            json!({"kind": "evict", "spec": spec}),
            "only a fetch takes them",
        ),
        (
            json!({"kind": "fetch", "lockfile": "x"}),
            "none of the known lock files",
        ),
        (
            json!({"kind": "fetch", "spec": spec, "registries": ["x"]}),
            "registries: must be like",
        ),
    ] {
        let answer = crate::operate::jobs::order(&desk.gateway, &body);
        answer.assert_problem(400);
        let detail = answer.text();
        assert!(detail.contains(text), "{detail}");
    }
}
