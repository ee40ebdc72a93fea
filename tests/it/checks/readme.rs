//! The README: its quick start runs, and prints what it shows.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{Gateway, Origin, Reply, Tool, archive, sha256};

const BINARY: &str = env!("CARGO_BIN_EXE_millpond");

/// Commands that the test replaces by a gateway of its own.
const START: [&str; 2] = [
    "millpond serve &",
    "export MILLPOND_URL=http://127.0.0.1:8080",
];

/// Returns the lines of the quick start that a reader types or sees.
fn quick_start() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(path).expect("the README can be read");
    let (_, rest) = readme
        .split_once("## Quick start")
        .expect("there is a quick start");
    let (section, _) = rest.split_once("In a spec file").expect("the samples end");
    let lines = section.lines().filter_map(|line| line.strip_prefix("    "));
    lines.map(str::to_owned).collect()
}

#[test]
fn quick_start_prints_what_readme_shows() {
    let (commands, shown): (Vec<_>, Vec<_>) = quick_start()
        .into_iter()
        .partition(|line| line.starts_with("$ "));
    let commands: Vec<_> = commands.iter().map(|line| &line[2..]).collect();
    assert_eq!(commands[..2], START);
    assert!(commands.len() >= 6 && shown.len() >= 3, "{commands:?}");

    let origin = Origin::start();
    let body = archive(1, 20_000);
    origin.serve("/x-1.0.tar.gz", Reply::file(&body));
    let canonical = origin.url("/{path}");
    let gateway = Gateway::builder()
        .origin(&origin)
        .port(443)
        .text("gateway.name", "node-1")
        .rule(&format!(
            "host = \"example.org\"\npath_prefix = \"/\"\ncanonical_url = \"{canonical}\""
        ))
        .start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let programs = folder.path().join("bin");
    fs::create_dir(&programs).expect("the folder can be written");
    symlink(BINARY, programs.join("millpond")).expect("a link can be made");
    let script = format!(
        "set -e\nPATH={}:$PATH\n{}",
        programs.display(),
        commands[2..].join("\n")
    );
    let run = Tool::new("bash", "bash", folder.path())
        .args(&["-c", &script])
        .env("MILLPOND_URL", &gateway.url(""))
        .run();
    run.assert_success();
    let printed: Vec<_> = run.stdout.lines().map(str::trim_end).collect();
    let shown: Vec<_> = shown
        .iter()
        .map(|line| line.replace("<64 hex digits>", &sha256(&body)))
        .collect();
    assert_eq!(printed, shown);
    assert_eq!(origin.count("/x-1.0.tar.gz"), 1);
}
