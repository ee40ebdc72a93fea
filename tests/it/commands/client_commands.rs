//! Tests of the client commands: their effects, their output and their exit codes.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    Body, Gateway, Origin, Reply, Run, Tool, archive, assert_same, encoded, files_under, millpond,
    sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// A gateway, an origin with one file, and a folder in which commands run.
struct Desk {
    origin: Origin,
    gateway: Gateway,
    url: String,
    body: Body,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let origin = Origin::start();
        let body = archive(1, 300_000);
        origin.serve(PATH, Reply::file(&body));
        // The commands must get bytes also where their agent is redirected.
        let builder = Gateway::builder()
            .origin(&origin)
            .one_attempt()
            .text("cache.negative_ttl", "1ms");
        let gateway = builder
            .set("gateway.redirect_agents", "[\"millpond/\"]")
            .start();
        let url = origin.url(PATH);
        Self {
            origin,
            gateway,
            url,
            body,
            folder: tempfile::tempdir().expect("a folder can be created"),
        }
    }

    /// Runs a command as a client.
    fn run(&self, command: &str, arguments: &[&str]) -> Run {
        let url = self.gateway.url("/");
        millpond(
            self.folder.path(),
            &[&[command, "--gateway", &url], arguments].concat(),
        )
    }

    /// Runs a command as an operator.
    fn operate(&self, command: &str, arguments: &[&str]) -> Run {
        let file = self
            .gateway
            .file()
            .with_file_name("state")
            .join("admin_token");
        let file = file.to_str().expect("the path is UTF-8");
        self.run(command, &[&["--token-file", file], arguments].concat())
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("the path has a parent"))
            .expect("a folder can be created");
        fs::write(path, bytes).expect("the folder can be written");
    }
}

#[track_caller]
fn assert_code(run: &Run, code: i32) {
    assert_eq!(run.code, Some(code), "{}\n{}", run.stdout, run.stderr);
    assert_eq!(
        run.stderr.trim_end().lines().count(),
        1,
        "an error is one line: {}",
        run.stderr
    );
}

/// Returns the one JSON document that a command has printed.
#[track_caller]
fn json(run: &Run) -> Value {
    run.assert_success();
    serde_json::from_str(&run.stdout).expect("the command prints JSON")
}

fn digest_of(tool: &str, folder: &Path, name: &str) -> String {
    let run = Tool::new(tool, "coreutils", folder).arg(name).run();
    run.stdout
        .split(' ')
        .next()
        .expect("a digest comes first")
        .to_owned()
}

#[test]
fn get_writes_file_and_prints_digest() {
    let desk = Desk::new();
    let run = desk.run("get", &[&desk.url]);
    run.assert_success();
    assert_eq!(
        run.stdout,
        format!("{}  x-1.0.tar.gz\n", sha256(&desk.body))
    );
    assert_same(
        &fs::read(desk.folder.path().join("x-1.0.tar.gz")).expect("the file exists"),
        &desk.body,
    );
    assert_eq!(
        desk.origin.count(PATH),
        1,
        "only the gateway has fetched the file"
    );
    let run = desk.run(
        "get",
        &[
            "--json",
            "--sha256",
            &sha256(&desk.body),
            "-o",
            "other",
            &desk.url,
        ],
    );
    assert_eq!(json(&run)["sha256"], sha256(&desk.body));
    assert_eq!(
        files_under(desk.folder.path()).len(),
        2,
        "no other file is left"
    );
    assert_eq!(desk.origin.count(PATH), 1);
    desk.origin
        .serve("/pub/empty", Reply::ok(&Vec::new().into()));
    desk.run("get", &[&desk.origin.url("/pub/empty")])
        .assert_success();
    assert_eq!(
        fs::metadata(desk.folder.path().join("empty"))
            .map(|data| data.len())
            .ok(),
        Some(0)
    );
}

#[test]
fn failed_get_leaves_no_file() {
    let desk = Desk::new();
    assert_code(
        &desk.run("get", &["--sha256", &"0".repeat(64), &desk.url]),
        4,
    );
    desk.origin
        .serve("/pub/gone-1.0.tar.gz", Reply::status(404));
    assert_code(
        &desk.run("get", &[&desk.origin.url("/pub/gone-1.0.tar.gz")]),
        3,
    );
    desk.origin.serve(
        "/pub/broken-1.0.tar.gz",
        Reply::file(&desk.body).cut_at(100_000),
    );
    assert_code(
        &desk.run("get", &[&desk.origin.url("/pub/broken-1.0.tar.gz")]),
        1,
    );
    assert_code(&desk.run("get", &["https://example.org/"]), 2);
    assert_code(
        &millpond(
            desk.folder.path(),
            &["get", "--gateway", "http://127.0.0.1:1", &desk.url],
        ),
        1,
    );
    assert_eq!(
        files_under(desk.folder.path()),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn ensure_makes_the_gateway_store_a_file() {
    let desk = Desk::new();
    let run = desk.run("ensure", &[&desk.url]);
    run.assert_success();
    assert_eq!(
        run.stdout,
        format!("{}  {}\n", sha256(&desk.body), desk.url)
    );
    assert_eq!(desk.gateway.objects().len(), 1);
    desk.gateway
        .assert_serves(&desk.url, &desk.body)
        .assert_cache(&["hit"]);
    assert_code(
        &desk.run("ensure", &["--sha256", &"0".repeat(64), &desk.url]),
        4,
    );
    desk.origin
        .serve("/pub/gone-1.0.tar.gz", Reply::status(404));
    assert_code(
        &desk.run("ensure", &[&desk.origin.url("/pub/gone-1.0.tar.gz")]),
        3,
    );
    assert!(files_under(desk.folder.path()).is_empty());
}

#[test]
fn import_prints_same_digests_before_and_after() {
    let desk = Desk::new();
    desk.write("own-1.0.tar.gz", &desk.body);
    desk.origin.serve(PATH, Reply::status(404));
    let run = desk.operate("import", &["own-1.0.tar.gz", "--url", &desk.url]);
    run.assert_success();
    let md5 = digest_of("md5sum", desk.folder.path(), "own-1.0.tar.gz");
    let digests = format!("md5:{md5}  sha256:{}", sha256(&desk.body));
    assert_eq!(
        run.stdout,
        format!("{digests}  own-1.0.tar.gz\n{digests}  {}\n", desk.url)
    );
    desk.gateway.assert_serves(&desk.url, &desk.body);
    assert_eq!(desk.origin.count(PATH), 0);
    let run = desk.operate(
        "import",
        &[
            "--json",
            "own-1.0.tar.gz",
            "--url",
            &desk.origin.url("/other/"),
        ],
    );
    assert_eq!(json(&run)["url"], desk.origin.url("/other/own-1.0.tar.gz"));
    assert_code(
        &desk.run("import", &["own-1.0.tar.gz", "--url", &desk.url]),
        1,
    );
    assert_code(
        &desk.operate("import", &["missing-1.0.tar.gz", "--url", &desk.url]),
        2,
    );
    assert_code(
        &desk.run(
            "import",
            &[
                "own-1.0.tar.gz",
                "--url",
                &desk.url,
                "--token-file",
                "missing",
            ],
        ),
        2,
    );
}

#[test]
fn import_of_folder_includes_all_files() {
    let desk = Desk::new();
    let bodies: Vec<_> = (10..13).map(|seed| archive(seed, 5000)).collect();
    let names = [
        "a-1.0.tar.gz",
        "deep/er/b-1.0.tar.gz",
        "deep/c+d 1.0.tar.gz",
    ];
    for (name, body) in names.iter().zip(&bodies) {
        desk.write(&format!("tree/{name}"), body);
    }
    let base = desk.origin.url("/mirror");
    std::os::unix::fs::symlink(
        "a-1.0.tar.gz",
        desk.folder.path().join("tree/link-1.0.tar.gz"),
    )
    .expect("a link can be made");
    let run = desk.operate("import", &["tree", "--url", &base]);
    run.assert_success();
    assert!(run.stderr.contains("not imported: 1"), "{}", run.stderr);
    for (name, body) in names.iter().zip(&bodies) {
        desk.gateway
            .assert_serves(&format!("{base}/{}", name.replace(' ', "%20")), body)
            .assert_cache(&["hit"]);
    }
    // A file that the gateway rejects does not stop the import of the others.
    desk.write("tree/b.mp3", b"refused by policy");
    desk.write("tree/z-1.0.tar.gz", &bodies[0]);
    let run = desk.operate("import", &["tree", "--url", &format!("{base}/again/")]);
    assert_eq!(run.code, Some(1), "{}\n{}", run.stdout, run.stderr);
    assert!(
        run.stderr.contains("b.mp3") && run.stderr.contains("1 of 5"),
        "{}",
        run.stderr
    );
    desk.gateway
        .assert_serves(&format!("{base}/again/z-1.0.tar.gz"), &bodies[0]);
    fs::create_dir(desk.folder.path().join("empty")).expect("a folder can be created");
    assert_code(&desk.operate("import", &["empty", "--url", &base]), 2);
}

#[test]
fn operators_inspect_refresh_pin_and_remove_targets() {
    let desk = Desk::new();
    let (first, other) = (sha256(&desk.body), archive(2, 20_000));
    assert_code(&desk.run("stat", &[&desk.url]), 3);
    desk.run("ensure", &[&desk.url]).assert_success();
    let run = desk.run("stat", &[&desk.url]);
    run.assert_success();
    assert!(
        run.stdout.starts_with(&first) && run.stdout.contains("  cached  active  immutable"),
        "{}",
        run.stdout
    );
    desk.origin.serve(PATH, Reply::file(&other));
    assert_code(&desk.operate("refresh", &[&desk.url]), 4);
    desk.gateway.assert_serves(&desk.url, &desk.body);
    desk.operate("refresh", &["--accept", &desk.url])
        .assert_success();
    desk.gateway.assert_serves(&desk.url, &other);
    let shown = json(&desk.run("stat", &["--json", &desk.url]));
    assert_eq!(shown["class"], "immutable");
    let records = shown["records"].clone();
    assert_eq!(
        (&records[0]["active"], &records[1]["active"]),
        (&false.into(), &true.into())
    );
    desk.operate("pin", &[&desk.url, "--sha256", &first])
        .assert_success();
    desk.gateway.assert_serves(&desk.url, &desk.body);
    let listed = json(&desk.operate("ls", &["--json"]));
    assert_eq!(
        (&listed["url"], &listed["pinned"]),
        (&desk.url.as_str().into(), &true.into())
    );
    assert_code(&desk.operate("rm", &["--yes", "--sha256", &first]), 1);
    assert_eq!(
        json(&desk.operate("unpin", &["--json", &desk.url]))["unpinned"],
        2
    );
    assert_code(&desk.operate("unpin", &[&desk.url]), 3);
    desk.operate("rm", &["--yes", &desk.url]).assert_success();
    desk.gateway.assert_nothing_stored();
    assert_code(&desk.operate("rm", &["--yes", &desk.url]), 3);
}

#[test]
fn operator_commands_without_token_fail() {
    let desk = Desk::new();
    desk.run("ensure", &[&desk.url]).assert_success();
    for (command, arguments) in [
        ("ls", vec![]),
        ("rm", vec!["--yes", desk.url.as_str()]),
        ("refresh", vec![desk.url.as_str()]),
        ("pin", vec![desk.url.as_str()]),
        ("unpin", vec![desk.url.as_str()]),
    ] {
        let run = desk.run(command, &arguments);
        assert_code(&run, 1);
        for part in ["operator token", "--token-file", "MILLPOND_TOKEN"] {
            assert!(run.stderr.contains(part), "{}", run.stderr);
        }
    }
    let shown = desk
        .gateway
        .request(
            "GET",
            &format!("/api/v1/targets?url={}", encoded(&desk.url)),
        )
        .send()
        .json();
    assert_eq!(shown["records"][0]["pinned"], Value::Null);
}

#[test]
fn ls_prints_every_page_of_the_listing() {
    let desk = Desk::new();
    for number in 0..3 {
        desk.write(
            &format!("tree/x-{number}.tar.gz"),
            &archive(20 + number, 1000),
        );
    }
    desk.operate("import", &["tree", "--url", &desk.origin.url("/tree")])
        .assert_success();
    let run = desk.operate("ls", &[]);
    run.assert_success();
    assert_eq!(
        run.stdout
            .lines()
            .filter(|line| line.contains("/tree/x-") && line.contains("pinned"))
            .count(),
        3
    );
}
