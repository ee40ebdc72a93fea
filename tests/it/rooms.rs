//! Structure of the source tree: allowed dependencies between modules, length of files, and
//! module documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::files_under;

const MAX_FILE_LINES: usize = 400;

/// Modules that each module may use. The files at the crate's root and the wiring modules
/// may use every module.
const ROOMS: [(&str, &[&str]); 12] = [
    ("http", &["gateway", "care", "fetch", "store", "policy", "notify", "logging", "model"]),
    ("gateway", &["fetch", "relay", "store", "policy", "model"]),
    ("care", &["fetch", "store", "model"]),
    ("fetch", &["origin", "store", "policy", "model"]),
    ("relay", &["origin", "dial", "policy", "model"]),
    ("origin", &["dial", "policy", "model"]),
    ("dial", &["policy", "model"]),
    ("store", &["model"]),
    ("policy", &["model"]),
    ("notify", &["model"]),
    ("logging", &[]),
    ("model", &[]),
];

const WIRING: [&str; 4] = ["main", "cli", "app", "config"];

fn sources() -> Vec<PathBuf> {
    let mut files = files_under(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    assert!(files.len() > 20, "the sources are in src");
    files
}

/// Returns the module of a source file: its top folder, or its own name at the root.
fn room_of(file: &Path) -> String {
    let inside = file.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("a source is in src");
    let first = inside.components().next().expect("a source has a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Returns the modules that a text names as `crate::module`, alone or in a group.
fn named_rooms(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(group_members(group)),
            None => rooms.extend([word(rest)]),
        }
    }
    rooms
}

/// Returns the first words of the members of a `use` group, without its opening brace.
fn group_members(group: &str) -> BTreeSet<String> {
    let mut members = BTreeSet::new();
    let (mut depth, mut at_start) = (0, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && c.is_alphabetic() => {
                members.insert(word(&group[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    members
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Returns the text of a source file without comment lines.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a source can be read");
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

#[test]
fn dependencies_run_downwards_only() {
    let allowed: BTreeMap<_, _> = ROOMS.into_iter().collect();
    let mut wrong = Vec::new();
    for file in sources() {
        let room = room_of(&file);
        let Some(allowed) = allowed.get(room.as_str()) else { continue };
        for named in named_rooms(&code_of(&file)) {
            let is_room = ROOMS.iter().any(|(room, _)| *room == named) || WIRING.contains(&named.as_str());
            if is_room && named != room && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{}: {room} must not use {named}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_is_in_the_table() {
    for file in sources() {
        let room = room_of(&file);
        let known = ROOMS.iter().any(|(name, _)| *name == room) || WIRING.contains(&room.as_str()) || room == "lib";
        assert!(known, "{}: module {room} is missing in the table", file.display());
    }
}

#[test]
fn module_table_has_no_cycles() {
    for (row, (room, allowed)) in ROOMS.iter().enumerate() {
        for below in *allowed {
            let place = ROOMS.iter().position(|(name, _)| name == below).expect("the table has a row for each module");
            assert!(place > row, "{room} must stand above {below}");
        }
    }
}

#[test]
fn only_http_module_uses_actix() {
    for file in sources() {
        let room = room_of(&file);
        if room != "http" && !WIRING.contains(&room.as_str()) {
            let code = code_of(&file);
            for name in ["actix_web", "actix_http"] {
                assert!(!code.contains(name), "{}: only the module http may use {name}", file.display());
            }
        }
    }
}

#[test]
fn only_bucket_module_uses_the_sdk() {
    for file in sources() {
        let is_bucket = file.parent().is_some_and(|folder| folder.ends_with("store/bucket"));
        assert!(
            is_bucket || !code_of(&file).contains("aws_sdk"),
            "{}: only the module store/bucket may use the SDK",
            file.display()
        );
    }
}

#[test]
fn every_module_has_a_description() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rooms: BTreeSet<_> =
        sources().iter().filter(|file| file.parent() != Some(&src)).map(|file| room_of(file)).collect();
    assert!(rooms.contains("model") && rooms.contains("store"), "the modules are in src: {rooms:?}");
    for room in rooms {
        let file = src.join(&room).join("mod.rs");
        let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("module {room} has no mod.rs"));
        assert!(text.starts_with("//! "), "{} does not begin with a description of the module", file.display());
    }
}

#[test]
fn no_source_file_exceeds_line_limit() {
    for file in sources() {
        let lines = fs::read_to_string(&file).expect("a source can be read").lines().count();
        assert!(lines <= MAX_FILE_LINES, "{} has {lines} lines", file.display());
    }
    let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs");
    assert!(
        fs::read_to_string(main).expect("main.rs can be read").lines().count() <= 60,
        "main.rs has at most 60 lines"
    );
}

#[test]
fn use_groups_and_paths_are_both_found() {
    let text = "use crate::{model::{Key, Target}, store};\nfn f() { crate::policy::admit() }\nuse crate::dial;";
    let found: Vec<_> = named_rooms(text).into_iter().collect();
    assert_eq!(found, ["dial", "model", "policy", "store"]);
}
