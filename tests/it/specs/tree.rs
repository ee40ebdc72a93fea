//! The page docs/guides/spec-tree.md: a tree of ten specs is stored, rewritten, and built while
//! upstream is away. The commands of the page run, and print what it shows.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Body, Reply, Tool};
use crate::specs::page::{blocks, read_page};
use crate::specs::spec_commands::SpecDesk;

/// Names in the page, in place of addresses on loopback.
const UPSTREAM: &str = "https://upstream.example.org";
const GATEWAY: &str = "https://sources.example.org";

/// Returns the files below a folder, without links.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("the entry can be read").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Copies the tree, in which the address of the origin takes the place of upstream's name.
fn copy_tree(desk: &SpecDesk) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spec-tree");
    let origin = desk.origin.url("");
    for path in files_below(&from) {
        let name = path.strip_prefix(&from).expect("the file is in the folder");
        let to = desk.path("tree").join(name);
        fs::create_dir_all(to.parent().expect("the path has a parent")).expect("it is writable");
        fs::copy(&path, &to).expect("the file can be copied");
        if to.extension().is_some_and(|ending| ending == "spec") {
            let spec = fs::read_to_string(&to).expect("the spec can be read");
            let spec = spec.replace(UPSTREAM, origin.trim_end_matches('/'));
            fs::write(&to, spec).expect("the spec is writable");
        }
    }
}

fn serve_upstream(desk: &SpecDesk) {
    let folder = desk.path("tree/upstream");
    for path in files_below(&folder) {
        let name = path
            .strip_prefix(&folder)
            .expect("the file is in the folder");
        let body = Body::from(fs::read(&path).expect("the file can be read"));
        desk.origin
            .serve(&format!("/{}", name.display()), Reply::file(&body));
    }
}

/// Runs a command as a shell does, with the names of the page in its output.
fn run(desk: &SpecDesk, command: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_millpond"));
    let programs = binary.parent().expect("the binary is in a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let gateway = desk.gateway.url("");
    let run = Tool::new("sh", "dash", desk.folder.path())
        .env("PATH", &format!("{}:{path}", programs.display()))
        .env("MILLPOND_URL", &gateway)
        .env("MILLPOND_TOKEN", &desk.gateway.token())
        .args(&["-c", command])
        .run();
    run.assert_success();
    let upstream = desk.origin.url("");
    let warnings = run.stderr.lines();
    // RPM reports each download.
    let warnings = warnings.filter(|line| !line.starts_with("warning: Downloading"));
    let shown: String = warnings.flat_map(|line| [line, "\n"]).collect();
    (run.stdout + &shown)
        .replace(upstream.trim_end_matches('/'), UPSTREAM)
        .replace(gateway.trim_end_matches('/'), GATEWAY)
}

#[test]
fn tree_builds_while_upstream_is_stopped() {
    let page = read_page("docs/guides/spec-tree.md");
    let desk = SpecDesk::new();
    copy_tree(&desk);
    let mut shown = 0;
    for block in blocks(&page, "console") {
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ ").expect("a command comes first");
            let mut expected = String::new();
            while let Some(output) = lines.next_if(|line| !line.starts_with("$ ")) {
                expected += output;
                expected.push('\n');
            }
            if command == "tree/build-all" {
                desk.origin.shut_down();
            }
            assert_eq!(run(&desk, command), expected, "{command}");
            if command == "tree/make-upstream" {
                serve_upstream(&desk);
            }
            shown += 1;
        }
    }
    assert!(shown >= 12, "the page shows all steps");
}
