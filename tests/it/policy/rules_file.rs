//! The shipped rules file: effect of each rule on a target, and loading of rules files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Builder, Gateway, Origin, Reply, archive, eventually, millpond};

/// URLs that are requested for a target if no source has it. All use http, so that a test
/// proxy sees the requests.
const ROWS: [(&str, &[&str]); 22] = [
    ("http://www.kernel.org/pub/linux/x-1.0.tar.xz", &KERNEL),
    (
        "http://mirrors.edge.kernel.org/pub/linux/x-1.0.tar.xz",
        &KERNEL,
    ),
    ("http://cdn.kernel.org/pub/linux/x-1.0.tar.xz", &KERNEL),
    ("http://ftpmirror.gnu.org/gnu/x/x-1.0.tar.gz", &GNU),
    ("http://ftpmirror.gnu.org/x/x-1.0.tar.gz", &GNU),
    ("http://mirrors.kernel.org/gnu/x/x-1.0.tar.gz", &GNU),
    ("http://ftp.gnu.org/pub/gnu/x/x-1.0.tar.gz", &GNU),
    ("http://ftp.gnu.org/gnu/x/x-1.0.tar.gz", &GNU),
    (
        "http://download.savannah.nongnu.org/releases/x/x-1.0.tar.gz",
        &SAVANNAH,
    ),
    (
        "http://download.savannah.gnu.org/releases/x/x-1.0.tar.gz",
        &SAVANNAH,
    ),
    ("http://www.apache.org/dist/x/x-1.0.tar.gz", &APACHE),
    ("http://downloads.apache.org/x/x-1.0.tar.gz", &APACHE),
    ("http://dlcdn.apache.org/x/x-1.0.tar.gz", &APACHE),
    (
        "http://downloads.sourceforge.net/project/x/x-1.0.tar.gz?use_mirror=near&ts=1",
        &["http://downloads.sourceforge.net/project/x/x-1.0.tar.gz"],
    ),
    (
        "http://sourceforge.net/projects/x/files/x-1.0.tar.gz/download?r=&viasf=1",
        &["http://sourceforge.net/projects/x/files/x-1.0.tar.gz/download"],
    ),
    (
        "http://ftp.gnome.org/pub/GNOME/sources/x/x-1.0.tar.xz",
        &GNOME,
    ),
    (
        "http://ftp.gnome.org/pub/gnome/sources/x/x-1.0.tar.xz",
        &GNOME,
    ),
    (
        "http://download.kde.org/stable/x/1.0/x-1.0.tar.xz",
        &[
            "http://download.kde.org/Attic/x/1.0/x-1.0.tar.xz",
            "http://download.kde.org/stable/x/1.0/x-1.0.tar.xz",
        ],
    ),
    (
        "http://xorg.freedesktop.org/archive/individual/lib/x-1.0.tar.xz",
        &XORG,
    ),
    (
        "http://xorg.freedesktop.org/releases/individual/lib/x-1.0.tar.xz",
        &XORG,
    ),
    (
        "http://www.x.org/archive/individual/lib/x-1.0.tar.xz",
        &XORG,
    ),
    (
        "http://www.x.org/releases/individual/lib/x-1.0.tar.xz",
        &XORG,
    ),
];

const KERNEL: [&str; 2] = [
    "http://cdn.kernel.org/pub/linux/x-1.0.tar.xz",
    "http://mirrors.edge.kernel.org/pub/linux/x-1.0.tar.xz",
];
const GNU: [&str; 4] = [
    "http://ftp.gnu.org/gnu/x/x-1.0.tar.gz",
    "http://ftp.gnu.org/old-gnu/x/x-1.0.tar.gz",
    "http://ftpmirror.gnu.org/gnu/x/x-1.0.tar.gz",
    "http://mirrors.kernel.org/gnu/x/x-1.0.tar.gz",
];
const SAVANNAH: [&str; 2] = [
    "http://download-mirror.savannah.gnu.org/releases/x/x-1.0.tar.gz",
    "http://download.savannah.gnu.org/releases/x/x-1.0.tar.gz",
];
const APACHE: [&str; 3] = [
    "http://archive.apache.org/dist/x/x-1.0.tar.gz",
    "http://dlcdn.apache.org/x/x-1.0.tar.gz",
    "http://downloads.apache.org/x/x-1.0.tar.gz",
];
const GNOME: [&str; 1] = ["http://download.gnome.org/sources/x/x-1.0.tar.xz"];
const XORG: [&str; 2] = [
    "http://www.x.org/releases/individual/lib/x-1.0.tar.xz",
    "http://xorg.freedesktop.org/archive/individual/lib/x-1.0.tar.xz",
];

/// Targets whose content changes. No shipped rule makes them immutable.
const MUTABLE: [&str; 2] = [
    "http://cdn.kernel.org/pub/linux/sha256sums.asc",
    "http://raw.githubusercontent.com/x/y/main/fix.patch",
];

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules.toml")
}

fn list(file: &Path) -> String {
    format!("[{:?}]", file.to_str().expect("the path is text"))
}

/// Returns a gateway with the shipped rules, changed to http, and one egress proxy.
fn with_shipped_rules(proxy: &Origin) -> Builder {
    let builder = Gateway::builder()
        .port(80)
        .relay()
        .one_attempt()
        .text("fetch.egress_proxy", &proxy.url(""));
    let file = builder.folder().join("rules.toml");
    let text = fs::read_to_string(shipped())
        .expect("the rules can be read")
        .replace("https://", "http://");
    fs::write(&file, text).expect("the folder can be written");
    builder.set("policy.rules_files", &list(&file))
}

#[test]
fn shipped_rules_select_expected_sources() {
    for (target, wanted) in ROWS {
        let proxy = Origin::start();
        let gateway = with_shipped_rules(&proxy).start();
        gateway.get(target).send().assert_problem(404);
        assert_eq!(proxy.asked(), wanted, "{target}");
    }
}

#[test]
fn changed_mutable_name_is_served_at_once() {
    let proxy = Origin::start();
    let gateway = with_shipped_rules(&proxy).start();
    for target in MUTABLE {
        for generation in 1..=2 {
            proxy.serve(target, Reply::ok(&archive(generation, 100)));
            gateway.assert_serves(target, &archive(generation, 100));
        }
    }
    assert!(gateway.records().is_empty(), "no name is immutable");
}

#[test]
fn every_shipped_rule_has_a_test() {
    let text = fs::read_to_string(shipped()).expect("the rules can be read");
    let table: toml::Table = text.parse().expect("the rules are TOML");
    let tested: BTreeSet<&str> = ROWS
        .iter()
        .map(|(target, _)| *target)
        .chain(MUTABLE)
        .collect();
    for rule in table["rules"].as_array().expect("`rules` is an array") {
        let value = |key: &str| {
            rule.get(key)
                .and_then(toml::Value::as_str)
                .unwrap_or_default()
        };
        let fits = |target: &&&str| {
            let (host, path) = target["http://".len()..]
                .split_once('/')
                .expect("a target has a path");
            let is_host = match value("host").strip_prefix('.') {
                Some(domain) => host.ends_with(domain),
                None => host == value("host"),
            };
            is_host
                && format!("/{path}").starts_with(value("path_prefix"))
                && path.ends_with(value("path_suffix"))
        };
        assert!(
            tested.iter().any(|target| fits(&target)),
            "no test for {rule}"
        );
    }
}

#[test]
fn shipped_rules_pass_check_config() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let setting = format!("policy.rules_files={}", list(&shipped()));
    millpond(folder.path(), &["check-config", "--set", &setting]).assert_success();
}

#[test]
fn configured_rules_precede_rules_files() {
    let origin = Origin::start();
    let body = archive(2, 5000);
    for path in ["/a-1.0.gz", "/b-1.0.gz"] {
        origin.serve(path, Reply::file(&body));
    }
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .rule("path_prefix = \"/a\"\nclass = \"immutable\"");
    let file = builder.folder().join("more.toml");
    fs::write(&file, "[[rules]]\nclass = \"pass\"\n").expect("the folder can be written");
    let gateway = builder.set("policy.rules_files", &list(&file)).start();
    gateway
        .assert_serves(&origin.url("/a-1.0.gz"), &body)
        .assert_cache(&["stored"]);
    gateway
        .assert_serves(&origin.url("/b-1.0.gz"), &body)
        .assert_cache(&["fwd=bypass"]);
}

#[test]
fn reload_rereads_rules_and_keeps_them_on_error() {
    let origin = Origin::start();
    let body = archive(3, 5000);
    origin.serve("/x-1.0.gz", Reply::file(&body));
    let builder = Gateway::builder().origin(&origin).relay();
    let file = builder.folder().join("more.toml");
    let write = |text: &str| fs::write(&file, text).expect("the folder can be written");
    write("[[rules]]\nclass = \"pass\"\n");
    let mut gateway = builder.set("policy.rules_files", &list(&file)).start();
    gateway
        .assert_serves(&origin.url("/x-1.0.gz"), &body)
        .assert_cache(&["fwd=bypass"]);
    let told = |gateway: &Gateway, text: &str| {
        eventually("the log contains the text", || {
            gateway.log().text().contains(text).then_some(())
        });
    };
    write("[[rules]]\nclas = \"immutable\"\n");
    gateway.reload(|builder| builder);
    told(&gateway, "more.toml:2");
    gateway
        .assert_serves(&origin.url("/x-1.0.gz"), &body)
        .assert_cache(&["fwd=bypass"]);
    write("[[rules]]\nclass = \"immutable\"\n");
    gateway.reload(|builder| builder);
    told(&gateway, "the configuration was reloaded");
    gateway
        .assert_serves(&origin.url("/x-1.0.gz"), &body)
        .assert_cache(&["stored"]);
}

#[test]
fn missing_or_invalid_rules_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("rules.toml");
    fs::write(&file, "[fetch]\nattempts = 1\n").expect("the folder can be written");
    for (file, part) in [
        (file, "rules.toml:1"),
        (folder.path().join("nowhere.toml"), "nowhere.toml"),
    ] {
        let setting = format!("policy.rules_files={}", list(&file));
        let run = millpond(folder.path(), &["check-config", "--set", &setting]);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
}
