//! Commands for operators: removal, import, lists, status, incidents, and the forms of output.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    Body, Gateway, Origin, Reply, Run, Tool, archive, files_under, millpond, sha256,
};

const BINARY: &str = env!("CARGO_BIN_EXE_millpond");

struct Office {
    origin: Origin,
    gateway: Gateway,
    folder: TempDir,
}

impl Office {
    fn new() -> Self {
        let origin = Origin::start();
        let gateway = Gateway::builder()
            .origin(&origin)
            .relay()
            .one_attempt()
            .port(443)
            .start();
        let folder = tempfile::tempdir().expect("a folder can be created");
        fs::write(folder.path().join("token"), gateway.token()).expect("the folder is writable");
        Self {
            origin,
            gateway,
            folder,
        }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let url = self.gateway.url("");
        let gateway = ["--gateway", &url, "--token-file", "token"];
        millpond(self.folder.path(), &[arguments, &gateway[..]].concat())
    }

    fn stored(&self, path: &str, seed: u64) -> (String, Body) {
        let body = archive(seed, 5000);
        self.origin.serve(path, Reply::file(&body));
        let url = self.origin.url(path);
        self.run(&["ensure", &url]).assert_success();
        (url, body)
    }
}

#[test]
fn rm_respects_pins_and_asks() {
    let office = Office::new();
    let (url, body) = office.stored("/x-1.0.tar.gz", 1);
    let run = office.run(&["rm", &url]);
    assert_eq!(run.code, Some(2), "no terminal: {run:?}");
    office.run(&["pin", &url]).assert_success();
    let run = office.run(&["rm", "--yes", &url]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("pinned"), "{run:?}");
    office
        .gateway
        .assert_serves(&url, &body)
        .assert_cache(&["hit"]);
    office.run(&["unpin", &url]).assert_success();
    // On a terminal the person is asked.
    let answered = |answer: &str| {
        let command = format!(
            "echo {answer} | script -qec '{} rm {url} --gateway {} --token-file token' /dev/null",
            env!("CARGO_BIN_EXE_millpond"),
            office.gateway.url("")
        );
        Tool::new("sh", "bsdutils", office.folder.path())
            .args(&["-c", &command])
            .run()
    };
    let run = answered("n");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stdout.contains("[y/N]"), "{run:?}");
    assert_eq!(office.gateway.objects().len(), 1);
    answered("y").assert_success();
    office.gateway.assert_nothing_stored();
}

#[test]
fn import_judges_first_bytes_by_name() {
    let office = Office::new();
    let page = b"<!DOCTYPE html><html><body>404</body></html>";
    let garbage = b"this is no archive";
    let wrong: [(&str, &[u8]); 6] = [
        ("x-1.0.tar.gz", page),
        ("x-1.1.tar.gz", garbage),
        ("x-1.2.tar.xz", garbage),
        ("x-1.3.zip", garbage),
        ("x-1.4.tar.gz.asc", page),
        ("x-1.5.patch", page),
    ];
    for (name, bytes) in wrong {
        fs::write(office.folder.path().join(name), bytes).expect("the folder is writable");
        let url = format!("https://example.org/{name}");
        let run = office.run(&["import", name, "--url", &url]);
        assert_eq!(run.code, Some(4), "{name}: {run:?}");
        assert!(run.stderr.contains("name promises"), "{name}: {run:?}");
    }
    office.gateway.assert_nothing_stored();
    let name = "x-1.0.tar.gz";
    let run = office.run(&["import", "--json", name, "--url", "https://example.org/p/"]);
    assert_eq!(run.documents()[0]["file"], name, "{run:?}");
    assert_eq!(run.documents()[0]["error"]["code"], "mismatch", "{run:?}");
    let url = "https://example.org/x-1.0.tar.gz";
    office
        .run(&["import", "--force", name, "--url", url])
        .assert_success();
    office.gateway.assert_serves(url, page);
    let answer = office
        .gateway
        .operate("PUT", "/api/v1/objects?force=maybe&url=x")
        .send();
    answer.assert_problem(400);
}

#[test]
fn ls_filters_and_totals() {
    let office = Office::new();
    let (first, _) = office.stored("/pub/a-1.0.tar.gz", 1);
    let (second, _) = office.stored("/other/b-1.0.tar.gz", 2);
    office.run(&["pin", &second]).assert_success();
    let urls = |arguments: &[&str]| {
        let run = office.run(&[&["ls", "--json"], arguments].concat());
        run.assert_success();
        let mut urls: Vec<_> = run
            .documents()
            .iter()
            .map(|object| object["url"].as_str().unwrap_or_default().to_owned())
            .collect();
        urls.sort();
        urls
    };
    let both = vec![second.clone(), first.clone()];
    let (first_only, none) = (vec![first.clone()], Vec::new());
    let prefix = office.origin.url("/pub/");
    for (arguments, wanted) in [
        (&[][..], &both),
        (&["--host", "127.0.0.1"], &both),
        (&["--host", "example.org"], &none),
        (&["--prefix", &prefix], &first_only),
        (&["--class", "immutable"], &both),
        (&["--class", "revalidate"], &none),
        (&["--newer-than", "1h"], &both),
        (&["--older-than", "1h"], &none),
        (&["--name", "a-1"], &first_only),
        (&["--sha256", &sha256(&archive(1, 5000))], &first_only),
        (&["--pinned"], &vec![second.clone()]),
        (&["--prefix", &prefix, "--newer-than", "1h"], &first_only),
    ] {
        assert_eq!(&urls(arguments), wanted, "{arguments:?}");
    }
    let run = office.run(&["ls", "--json", "--sort=-url"]);
    let listed = run.documents();
    assert_eq!(
        [&listed[0]["url"], &listed[1]["url"]],
        [&json!(first), &json!(second)]
    );
    let run = office.run(&["ls", "--total", "--json"]);
    let total = json!({"files": 2, "cached": 2, "cached_bytes": 10_000, "pinned": 1});
    assert_eq!(run.documents(), [json!({ "total": total })], "{run:?}");
    let run = office.run(&["ls", "--total"]);
    assert_eq!(
        run.stdout,
        "2 files, 2 of them cached with 9.8 KiB, 1 pinned\n"
    );
    let run = office.run(&["ls", "--prefix", &prefix]);
    assert!(run.stdout.contains("4.9 KiB"), "{run:?}");
    // Programs can have numbers in place of units.
    let run = office.run(&["ls", "--bytes", "--prefix", &prefix]);
    assert_eq!(
        run.stdout.split_whitespace().nth(1),
        Some("5000"),
        "{run:?}"
    );
    let run = office.run(&["ls", "--bytes", "--total"]);
    assert!(run.stdout.contains("with 10000 bytes,"), "{run:?}");
    let run = office.run(&["stat", "--bytes", &first]);
    assert_eq!(
        run.stdout.split_whitespace().nth(1),
        Some("5000"),
        "{run:?}"
    );
    let shown = office
        .run(&["ls", "--json", "--prefix", &prefix])
        .documents();
    assert!(shown[0]["last_used"].is_string(), "{shown:?}");
    assert_eq!(shown[0]["class"], "immutable");
    for query in ["class=x", "older_than=-1", "newer_than=soon"] {
        let path = format!("/api/v1/objects?{query}");
        office
            .gateway
            .operate("GET", &path)
            .send()
            .assert_problem(400);
    }
}

#[test]
fn stat_shows_last_use_and_size() {
    let office = Office::new();
    let (url, body) = office.stored("/x-1.0.tar.gz", 1);
    office.gateway.assert_serves(&url, &body);
    let run = office.run(&["stat", "--json", &url]);
    let record = run.documents().remove(0)["records"][0].clone();
    assert!(record["last_used"].is_string(), "{record}");
    // A pipe gets whole dates, without header and totals.
    let run = office.run(&["stat", &url]);
    let line = run.stdout.trim_end();
    assert_eq!(line.lines().count(), 1, "{run:?}");
    let used = record["last_used"].as_str().expect("a date is text");
    assert!(line.contains(used) && line.contains("4.9 KiB"), "{run:?}");
    // script(1) gives the command a terminal.
    let line = format!("{BINARY} stat {url} --gateway {}", office.gateway.url(""));
    let script = Tool::new("script", "bsdutils", office.folder.path());
    let script = script.args(&["-q", "-e", "-c", &line, "/dev/null"]).run();
    script.assert_success();
    let shown = script.stdout;
    for part in [
        "SEEN",
        "USED",
        "1 record, 0 stored responses, 4.9 KiB cached",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn status_summarizes_the_gateway() {
    let office = Office::new();
    office.stored("/x-1.0.tar.gz", 1);
    let run = office.run(&["status", "--json"]);
    run.assert_success();
    let stats = run.documents().remove(0);
    assert_eq!(stats["ready"], true, "{stats}");
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(stats["disk"]["cached_bytes"], 5000);
    assert!(stats["disk"]["free_bytes"].as_u64() > Some(0), "{stats}");
    assert_eq!(stats["in_flight"], 0);
    assert_eq!(stats["incidents"], json!({"alerts": 0, "notices": 0}));
    let run = office.run(&["status"]);
    for part in ["readiness  ready", "4.9 KiB cached", "0 alerts"] {
        assert!(run.stdout.contains(part), "{part}: {run:?}");
    }
    assert!(!run.stdout.contains('\u{1b}'), "no colours in a pipe");
    // An instance that is not ready.
    let fake = Origin::start();
    let unready = br#"{"ready": false, "reason": "stopping", "name": "x", "disk": null}"#;
    fake.serve("/api/v1/stats?", Reply::ok(&Body::from(&unready[..])));
    let url = fake.url("");
    let run = millpond(office.folder.path(), &["status", "--gateway", &url]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stdout.contains("not ready: stopping"), "{run:?}");
}

#[test]
fn incidents_lists_open_ones() {
    let office = Office::new();
    let gone = office.origin.url("/gone-1.0.tar.gz");
    let run = office.run(&["ensure", &gone]);
    assert_eq!(run.code, Some(3), "{run:?}");
    let listed = crate::harness::eventually("the incident is listed", || {
        let run = office.run(&["incidents", "--json"]);
        run.documents().into_iter().next()
    });
    assert_eq!(
        (&listed["cause"], &listed["severity"]),
        (&"not_found".into(), &"notice".into())
    );
    let run = office.run(&["incidents"]);
    assert!(
        run.stdout.contains("notice") && run.stdout.contains("127.0.0.1"),
        "{run:?}"
    );
}

#[test]
fn errors_have_one_json_shape() {
    let office = Office::new();
    let missing = office.origin.url("/never-1.0.tar.gz");
    for (arguments, code, word) in [
        (&["stat", "--json", &missing][..], 3, "not_found"),
        (&["rm", "--yes", "--json", &missing], 3, "not_found"),
        (&["pin", "--json", &missing], 3, "not_found"),
        (&["get", "--json", &missing], 3, "not_found"),
        (
            &["import", "--json", "absent", "--url", &missing],
            2,
            "usage",
        ),
        (&["stat", "--json"], 2, "usage"),
        (&["nonsense", "--json"], 2, "usage"),
    ] {
        let run = office.run(arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {run:?}");
        assert_eq!(run.stderr, "", "{arguments:?}");
        let shown = run.documents();
        assert_eq!(shown.len(), 1, "{arguments:?}: {run:?}");
        let error = &shown[0]["error"];
        assert_eq!(error["code"], word, "{arguments:?}: {run:?}");
        assert_eq!(error["exit_code"], code, "{arguments:?}: {run:?}");
        assert!(error["message"].is_string(), "{arguments:?}: {run:?}");
    }
    for arguments in [
        &["check-config", "--json", "--set", "cache.max_size=x"][..],
        &["explain", "--json", "nonsense"],
        &["migrate", "--json", "/absent", "/absent"],
        &["scrub", "--json", "--set", "cache.dir=/absent"],
        &["gc", "--json"],
        &["serve", "--json", "--set", "cache.max_size=x"],
    ] {
        let run = millpond(office.folder.path(), arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
        assert_eq!(run.documents()[0]["error"]["code"], "usage", "{run:?}");
    }
    let closed = ["status", "--json", "--gateway", "127.0.0.1:1"];
    let run = millpond(office.folder.path(), &closed);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.documents()[0]["error"]["code"], "failed", "{run:?}");
}

#[test]
fn every_command_has_examples_and_page() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let man = folder.path().join("man");
    fs::create_dir(&man).expect("a folder can be created");
    millpond(folder.path(), &["man", "man"]).assert_success();
    let mut commands: Vec<_> = files_under(&man)
        .iter()
        .filter_map(|page| {
            let name = page.file_stem()?.to_str()?.to_owned();
            let text = fs::read_to_string(page).expect("a page is text");
            assert!(text.contains(".SH NAME"), "{name}");
            name.strip_prefix("millpond-").map(str::to_owned)
        })
        .collect();
    commands.sort();
    assert!(commands.len() >= 18, "{commands:?}");
    for command in &commands {
        let run = millpond(folder.path(), &[command, "--help"]);
        run.assert_success();
        let example = format!("  millpond {command}");
        assert!(
            run.stdout.contains("Examples:\n"),
            "{command}: {}",
            run.stdout
        );
        assert!(run.stdout.contains(&example), "{command}: {}", run.stdout);
        assert!(!run.stdout.contains('\u{1b}'), "{command} is coloured");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = millpond(folder.path(), &["completions", shell]);
        run.assert_success();
        for command in &commands {
            assert!(
                run.stdout.contains(command.as_str()),
                "{command} in {shell}"
            );
        }
    }
    let run = millpond(folder.path(), &["completions", "bash"]);
    fs::write(folder.path().join("bash"), run.stdout).expect("the folder is writable");
    let check = Tool::new("bash", "bash", folder.path())
        .args(&["-n", "bash"])
        .run();
    check.assert_success();
    let help = millpond(folder.path(), &["--help"]);
    assert!(!help.stdout.contains("completions"), "{}", help.stdout);
}
