//! `millpond spec` with files that are strange, change, are read-only, or contradict each other.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::thread;

use crate::harness::{Run, Tool, archive, assert_same, millpond, sha256};
use crate::specs::spec_commands::SpecDesk;

/// Uid and gid that no user of the machine has.
const FOREIGN: u32 = 61_234;

/// Returns the names in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("the entry can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn pipe(desk: &SpecDesk, name: &str) {
    Tool::new("mkfifo", "coreutils", desk.folder.path())
        .arg(name)
        .run()
        .assert_success();
}

fn stderr(run: &Run) -> Vec<&str> {
    run.stderr.lines().collect()
}

#[test]
fn rewrite_keeps_mode_owner_and_links() {
    let desk = SpecDesk::new();
    desk.spec("real/x.spec", "Source0: ORIGIN/x-1.0.tar.gz");
    let real = desk.path("real/x.spec");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("the mode can be set");
    let is_root = chown(&real, Some(FOREIGN), Some(FOREIGN)).is_ok();
    symlink("real/x.spec", desk.path("link.spec")).expect("a link can be created");
    let before = fs::metadata(&real).expect("the spec exists");
    // Two names of one file are one file.
    let run = desk.run(&["spec", "rewrite", "link.spec", "real"]);
    run.assert_success();
    assert_eq!(
        stderr(&run),
        ["millpond: 1 URLs in 1 specs changed, 0 left"]
    );
    let after = fs::metadata(&real).expect("the spec exists");
    assert_ne!(after.ino(), before.ino(), "the file is replaced at once");
    assert_eq!(after.mode(), before.mode());
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert_eq!(is_root, after.uid() == FOREIGN);
    assert!(desk.path("link.spec").is_symlink());
    let text = String::from_utf8(desk.read("link.spec")).expect("the spec is UTF-8");
    let rewritten = format!("Source0: {}", desk.gateway.url("/http://"));
    assert!(text.contains(&rewritten), "{text}");
    assert!(text.ends_with("/x-1.0.tar.gz"), "no line end is added");
    assert_eq!(names(&desk.path("real")), ["x.spec"]);
}

#[test]
fn read_only_spec_leaves_all_unchanged() {
    let desk = SpecDesk::new();
    for name in ["specs/a.spec", "specs/b.spec"] {
        desk.spec(name, "Source0: ORIGIN/x-1.0.tar.gz\n");
    }
    let locked = fs::Permissions::from_mode(0o444);
    fs::set_permissions(desk.path("specs/b.spec"), locked).expect("the mode can be set");
    let before = desk.read("specs/a.spec");
    let run = desk.run(&["spec", "rewrite", "specs"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let [line] = stderr(&run)[..] else {
        panic!("one line: {run:?}");
    };
    assert!(
        line.ends_with("b.spec: it is read-only; no spec was changed"),
        "{line}"
    );
    assert_same(&desk.read("specs/a.spec"), &before);
    assert_eq!(names(&desk.path("specs")), ["a.spec", "b.spec"]);
}

#[test]
fn spec_changed_during_rewrite_stays() {
    let desk = SpecDesk::new();
    for name in ["specs/a.spec", "specs/b.spec"] {
        desk.spec(name, "Source0: ORIGIN/x-1.0.tar.gz\n");
    }
    let before = desk.read("specs/a.spec");
    // The command reads the pipe behind the other specs, and waits there.
    pipe(&desk, "pipe");
    let (folder, url) = (desk.folder.path().to_owned(), desk.gateway.url(""));
    let command = thread::spawn(move || {
        millpond(
            &folder,
            &["spec", "rewrite", "specs", "pipe", "--gateway", &url],
        )
    });
    let mut pipe = fs::OpenOptions::new()
        .write(true)
        .open(desk.path("pipe"))
        .expect("the command opens the pipe");
    desk.write("specs/b.spec", "Name: other\n");
    std::io::Write::write_all(&mut pipe, b"Name: x\n").expect("the command reads the pipe");
    drop(pipe);
    let run = command.join().expect("the command ends");
    assert_eq!(run.code, Some(1), "{run:?}");
    let [line] = stderr(&run)[..] else {
        panic!("one line: {run:?}");
    };
    let end = "b.spec: it was changed meanwhile; no spec was changed";
    assert!(line.ends_with(end), "{line}");
    assert_same(&desk.read("specs/a.spec"), &before);
    assert_eq!(desk.read("specs/b.spec"), b"Name: other\n");
    assert_eq!(names(&desk.path("specs")), ["a.spec", "b.spec"]);
}

#[test]
fn strange_files_are_one_line_each() {
    let desk = SpecDesk::new();
    desk.spec("specs/a.spec", "Source0: ORIGIN/a-1.0.tar.gz\n");
    fs::create_dir(desk.path("specs/d.spec")).expect("a folder can be created");
    desk.spec("specs/d.spec/e.spec", "Source0: ORIGIN/e-1.0.tar.gz\n");
    let link = |to: &str, name: &str| {
        symlink(to, desk.path(name)).expect("a link can be created");
    };
    link("loop.spec", "specs/loop.spec");
    link("gone", "specs/gone.spec");
    link(".", "specs/folder.spec");
    link("user@host.1:2", "specs/.#a.spec");
    pipe(&desk, "specs/pipe.spec");
    let large = fs::File::create(desk.path("specs/z.spec")).expect("a file can be created");
    large.set_len(100 << 20).expect("the file can grow");
    let run = desk.run(&["spec", "list", "specs"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stdout.lines().count(), 2, "{run:?}");
    let reasons: Vec<&str> = stderr(&run)
        .into_iter()
        .filter_map(|line| line.strip_prefix("millpond: specs/"))
        .collect();
    assert_eq!(
        reasons,
        [
            "gone.spec: No such file or directory (os error 2)",
            "loop.spec: Too many levels of symbolic links (os error 40)",
            "pipe.spec: is no regular file",
            "z.spec: a spec has at most 33554432 bytes",
        ]
    );
    let run = desk.run(&["spec", "rewrite", "specs"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let end = "millpond: no spec was changed, as not all could be read";
    assert_eq!(stderr(&run).last(), Some(&end));
}

#[test]
fn folder_without_permission_is_one_line() {
    let desk = SpecDesk::new();
    desk.spec("specs/a.spec", "Source0: ORIGIN/a-1.0.tar.gz\n");
    desk.spec("specs/locked/b.spec", "Source0: ORIGIN/b-1.0.tar.gz\n");
    let set = |name: &str, mode: u32| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(desk.path(name), mode).expect("the mode can be set");
    };
    set("specs/locked", 0);
    let program = env!("CARGO_BIN_EXE_millpond");
    let tool = if chown(desk.path("specs/locked"), Some(0), None).is_ok() {
        Tool::new("setpriv", "util-linux", desk.folder.path()).args(&[
            // Root reads each folder otherwise.
            "--bounding-set=-dac_override,-dac_read_search",
            program,
        ])
    } else {
        Tool::new(program, "millpond", desk.folder.path())
    };
    let run = tool.args(&["spec", "list", "specs"]).run();
    set("specs/locked", 0o755);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
    assert_eq!(
        stderr(&run)[0],
        "millpond: specs/locked: Permission denied (os error 13)"
    );
}

#[test]
fn wrong_sources_file_concerns_one_spec() {
    let desk = SpecDesk::new();
    let body = desk.serve("/a-1.0.tar.gz", 1);
    desk.spec("a/a.spec", "Source0: ORIGIN/a-1.0.tar.gz\n");
    desk.spec("b/b.spec", "Source0: ORIGIN/b-1.0.tar.gz\n");
    desk.write("b/sources", "\n<html>\n");
    let run = desk.run(&["spec", "ensure", "."]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let line = "millpond: ./b/b.spec: ./b/sources:2: a line is \"DIGEST  NAME\" or \
                \"ALGORITHM (NAME) = DIGEST\"";
    assert_eq!(stderr(&run)[0], line);
    let url = desk.origin.url("/a-1.0.tar.gz");
    desk.gateway
        .assert_serves(&url, &body)
        .assert_cache(&["hit"]);
    assert_eq!(desk.origin.count("/b-1.0.tar.gz"), 0, "without its digest");
}

#[test]
fn shared_source_is_imported_once() {
    let desk = SpecDesk::new();
    let (shared, other) = (archive(1, 30_000), archive(2, 30_000));
    for name in ["a", "b", "c"] {
        let spec = format!("{name}/{name}.spec");
        desk.spec(
            &spec,
            "Source0: ORIGIN/get?id=7#/shared-1.0.tar.gz\nSource1: ORIGIN/y-1.0.tar.gz\n",
        );
        desk.write(&format!("{name}/shared-1.0.tar.gz"), &shared);
    }
    desk.write("a/y-1.0.tar.gz", &shared);
    desk.write("b/y-1.0.tar.gz", &other);
    let run = desk.run(&["spec", "import", "a", "b", "c"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let sum = format!("sha256:{}", sha256(&shared));
    assert_eq!(run.stdout.matches(&sum).count(), 2, "{run:?}");
    let y = desk.origin.url("/y-1.0.tar.gz");
    let line = format!(
        "millpond: b/y-1.0.tar.gz: a/y-1.0.tar.gz has other bytes, and the same URL {y}; none is \
         imported"
    );
    assert!(stderr(&run).contains(&&line[..]), "{run:?}");
    // Upstream has lost both. The name of the first one has no version.
    let url = desk.origin.url("/get?id=7");
    desk.gateway
        .assert_serves(&url, &shared)
        .assert_cache(&["hit"]);
    assert_eq!(desk.origin.total(), 0);
    desk.gateway.get(&y).send().assert_status(404);
    // The digest that one of the specs states holds for the shared file.
    desk.write(
        "c/sources",
        format!("{}  shared-1.0.tar.gz\n", "0".repeat(64)),
    );
    let run = desk.run(&["spec", "import", "b", "c"]);
    assert_eq!(run.code, Some(4), "{run:?}");
}
