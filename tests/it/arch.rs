//! The structure of the source tree: dependencies between modules and files, sizes, and where types
//! are defined.

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use imports::SourceTree;

use crate::harness::files_under;

const MAX_FILE_LINES: usize = 400;

/// The width that rustfmt keeps to where it can: string literals are broken by hand.
const MAX_LINE_COLUMNS: usize = 100;

/// Files with `impl` blocks of one type.
const MAX_IMPL_FILES: usize = 3;

/// The modules from the top down, and what each may use. Modules that wire may use everything.
const MODULES: &[(&str, &[&str])] = &[
    (
        "http",
        &[
            "ui",
            "jobs",
            "gateway",
            "admin",
            "client_setup",
            "dialects",
            "registry",
            "catalog",
            "dns",
            "health",
            "events",
            "notify",
            "logging",
            "intercept",
            "passthrough",
            "migrate",
            "cluster",
            "fetch",
            "cache",
            "policy",
            "limits",
            "metrics",
            "users",
            "freshness",
            "indexes",
            "lockfile",
            "metalink",
            "torrent",
            "spec",
            "model",
        ],
    ),
    (
        "ui",
        &[
            "jobs",
            "admin",
            "notify",
            "cluster",
            "fetch",
            "cache",
            "policy",
            "metrics",
            "freshness",
            "model",
        ],
    ),
    (
        "jobs",
        &["admin", "registry", "gateway", "scrub", "migrate", "model"],
    ),
    (
        "admin",
        &[
            "gateway",
            "catalog",
            "fetch",
            "cache",
            "policy",
            "limits",
            "freshness",
            "model",
        ],
    ),
    (
        "adopt",
        &["registry", "catalog", "fetch", "cache", "policy", "model"],
    ),
    ("registry", &["gateway", "policy", "limits", "model"]),
    (
        "gateway",
        &[
            "catalog",
            "fetch",
            "passthrough",
            "cache",
            "cluster",
            "policy",
            "origin",
            "limits",
            "freshness",
            "model",
        ],
    ),
    ("dialects", &["catalog", "model"]),
    ("catalog", &["cache", "model"]),
    ("indexes", &["model"]),
    ("scrub", &["fetch", "cache", "disk", "model"]),
    (
        "maintenance",
        &["fetch", "cache", "disk", "bucket", "model"],
    ),
    (
        "migrate",
        &["fetch", "cluster", "cache", "disk", "bucket", "model"],
    ),
    ("dns", &["health", "cache", "retry", "model"]),
    ("health", &["cache", "model"]),
    (
        "fetch",
        &[
            "origin",
            "cluster",
            "cache",
            "policy",
            "limits",
            "metrics",
            "freshness",
            "retry",
            "model",
        ],
    ),
    (
        "cache",
        &["disk", "bucket", "limits", "freshness", "retry", "model"],
    ),
    (
        "passthrough",
        &["origin", "dial", "policy", "limits", "model"],
    ),
    ("intercept", &["model"]),
    ("notify", &["dial", "retry", "model"]),
    (
        "cluster",
        &["shared_index", "origin", "dial", "policy", "model"],
    ),
    ("shared_index", &["dial", "retry", "model"]),
    ("origin", &["dial", "policy", "metrics", "model"]),
    ("dial", &["policy", "limits", "metrics", "model"]),
    ("disk", &["freshness", "model"]),
    ("bucket", &["policy", "metrics", "retry", "model"]),
    ("policy", &["limits", "model"]),
    ("limits", &["model"]),
    ("client_setup", &[]),
    ("users", &["model"]),
    ("events", &["model"]),
    ("logging", &["model"]),
    ("metrics", &["model"]),
    ("retry", &["model"]),
    ("lockfile", &["model"]),
    ("metalink", &["model"]),
    ("torrent", &["model"]),
    ("spec", &["model"]),
    ("freshness", &["model"]),
    ("model", &[]),
];

const WIRING: [&str; 7] = [
    "main",
    "lib",
    "documents",
    "cli",
    "app",
    "config",
    "services",
];

/// Names that more than one module may give to a type: each is used with its module's name.
const COMMON_TYPE_NAMES: [&str; 1] = ["Config"];

/// The module that a file belongs to.
fn module_of(path: &[String]) -> &str {
    &path[0]
}

#[test]
fn dependencies_run_downwards() {
    let allowed: BTreeMap<_, _> = MODULES.iter().copied().collect();
    let mut wrong = BTreeSet::new();
    for (from, to) in SourceTree::read().module_uses() {
        let Some(allowed) = allowed.get(from.as_str()) else {
            continue;
        };
        if from != to && !allowed.contains(&to.as_str()) {
            wrong.insert(format!("{from} must not use {to}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn architecture_page_has_the_module_table() {
    let page = read_page("ARCHITECTURE.md");
    for (module, uses) in MODULES {
        let uses: Vec<_> = uses.iter().filter(|used| **used != "model").collect();
        let uses = uses.iter().map(ToString::to_string).collect::<Vec<_>>();
        let uses = if uses.is_empty() {
            "–".to_owned()
        } else {
            uses.join(", ")
        };
        let is_row = |line: &str| {
            line.starts_with(&format!("| `{module}` |")) && line.ends_with(&format!("| {uses} |"))
        };
        assert!(page.lines().any(is_row), "{module} uses {uses}");
    }
}

#[test]
fn architecture_pages_name_existing_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = read_page("ARCHITECTURE.md") + &read_page("docs/development/walkthroughs.md");
    let names = page.split('`').skip(1).step_by(2);
    let paths: Vec<_> = names
        .filter(|name| name.contains('/') && Path::new(name).extension() == Some("rs".as_ref()))
        .collect();
    assert!(paths.len() > 100, "the page names files");
    for path in paths {
        let is_file = ["src", "."]
            .iter()
            .any(|at| root.join(at).join(path).is_file());
        assert!(is_file, "{path} does not exist");
    }
}

/// Reads a page without its blocks of code.
fn read_page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let page = fs::read_to_string(path).expect("the page can be read");
    // Quotes in a code block have no pairs.
    let outside = page.split("```").step_by(2);
    outside.collect()
}

#[test]
fn modules_are_in_table() {
    let known: BTreeSet<_> = MODULES
        .iter()
        .map(|(name, _)| *name)
        .chain(WIRING)
        .collect();
    for module in SourceTree::read().files.keys() {
        assert!(
            known.contains(module_of(module)),
            "{module:?} is in no table"
        );
    }
}

#[test]
fn module_table_has_no_cycle() {
    for (row, (module, allowed)) in MODULES.iter().enumerate() {
        for below in *allowed {
            let at = MODULES
                .iter()
                .position(|(name, _)| name == below)
                .expect("the table has a row for it");
            assert!(at > row, "{module} stands above {below}");
        }
    }
}

#[test]
fn files_have_no_import_cycle() {
    let cycles = SourceTree::read().cycles();
    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn types_are_implemented_in_few_files() {
    let tree = SourceTree::read();
    let mut files: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for file in tree.files.values() {
        for name in file.inherent_impls() {
            let of = (module_of(&file.module).to_owned(), name);
            files
                .entry(of)
                .or_default()
                .insert(file.path.display().to_string());
        }
    }
    files.retain(|_, files| files.len() > MAX_IMPL_FILES);
    assert!(files.is_empty(), "{files:#?}");
}

#[test]
fn type_names_are_unique() {
    let tree = SourceTree::read();
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in tree.files.values() {
        for name in file.types() {
            places
                .entry(name)
                .or_default()
                .push(file.path.display().to_string());
        }
    }
    places.retain(|name, places| places.len() > 1 && !COMMON_TYPE_NAMES.contains(&name.as_str()));
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn only_http_uses_server_library() {
    for (module, file) in SourceTree::read().files {
        if module_of(&module) != "http" && !WIRING.contains(&module_of(&module)) {
            for name in ["actix_web", "actix_http"] {
                assert!(
                    !file.code.contains(name),
                    "{}: only http uses {name}",
                    file.path.display()
                );
            }
        }
    }
}

#[test]
fn only_bucket_uses_sdk() {
    for (module, file) in SourceTree::read().files {
        let is_bucket = module_of(&module) == "bucket";
        assert!(
            is_bucket || !file.code.contains("aws_sdk"),
            "{}: only bucket uses the SDK",
            file.path.display()
        );
    }
}

#[test]
fn modules_begin_with_their_purpose() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (module, _) in MODULES {
        let text = fs::read_to_string(src.join(module).join("mod.rs"));
        assert!(
            text.is_ok_and(|text| text.starts_with("//! ")),
            "{module}/mod.rs does not say what it is for"
        );
    }
}

#[test]
fn files_are_short() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lines_of = |path: &Path| {
        let text = fs::read_to_string(src.join(path).with_extension("rs"));
        text.expect("a source can be read").lines().count()
    };
    let files = SourceTree::read().files.into_values();
    let mut long: Vec<_> = files
        .map(|file| (lines_of(&file.path), file.path))
        .collect();
    long.retain(|(lines, _)| *lines > MAX_FILE_LINES);
    assert!(long.is_empty(), "{long:#?}");
    assert!(lines_of(Path::new("main.rs")) <= 60, "main is thin");
}

#[test]
fn lines_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wide = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz/targets"] {
        for file in files_under(&root.join(folder)) {
            if file.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a source can be read");
            let lines = text.lines().enumerate();
            let found = lines.filter(|(_, line)| line.chars().count() > MAX_LINE_COLUMNS);
            wide.extend(found.map(|(number, _)| format!("{}:{}", file.display(), number + 1)));
        }
    }
    assert!(wide.is_empty(), "{wide:#?}");
}
