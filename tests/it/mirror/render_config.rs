//! `millpond render-config`: one table of texts for the command, the page at `/` and the document,
//! and clients that run the texts as printed.

use std::fs;
use std::path::Path;

use crate::harness::{
    Body, Gateway, Origin, Reply, Run, Tool, archive, assert_same, files_under, millpond,
};

const EXAMPLE: &str = "http://sources.example.org";

/// Returns the text of a client, for the gateway at a URL.
fn text_for(client: &str, url: &str) -> String {
    let run = render(&[client, "--gateway", url]);
    run.assert_success();
    run.stdout
}

fn render(args: &[&str]) -> Run {
    let folder = tempfile::tempdir().expect("a folder can be made");
    millpond(folder.path(), &[&["render-config"], args].concat())
}

fn names() -> Vec<String> {
    let run = render(&["--json"]);
    run.assert_success();
    let names = run.documents().into_iter();
    names
        .map(|document| {
            document["client"]
                .as_str()
                .expect("a client has a name")
                .to_owned()
        })
        .collect()
}

#[test]
fn unknown_client_lists_known_ones() {
    let known = names();
    assert!(known.len() >= 35, "{known:?}");
    let run = render(&["emacs"]);
    assert_eq!(run.code, Some(2));
    for name in &known {
        assert!(
            run.stderr.contains(&format!(" {name}")),
            "{name} in {}",
            run.stderr
        );
    }
    let json = render(&["emacs", "--json"]);
    assert_eq!(json.code, Some(2));
    assert_eq!(json.documents()[0]["error"]["exit_code"], 2);
    let list = render(&[]).stdout;
    assert_eq!(list.lines().count(), known.len());
}

#[test]
fn document_has_texts_of_command() {
    let printed = render(&["--all", "--gateway", EXAMPLE]).stdout;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides/clients.md");
    let document = fs::read_to_string(path).expect("the document can be read");
    assert!(
        document == printed,
        "docs/guides/clients.md differs from: millpond render-config --all --gateway {EXAMPLE}"
    );
    for name in names() {
        let text = text_for(&name, EXAMPLE);
        let line = text.lines().last().expect("a text has lines");
        assert!(document.contains(&format!("    {line}\n")), "{name}");
    }
}

#[test]
fn page_has_texts_of_command() {
    let gateway = Gateway::builder().start();
    let page = |accept: &str| {
        let request = gateway
            .request("GET", "/")
            .header("Host", "sources.example.org");
        request.header("Accept", accept).send().text()
    };
    let (plain, html) = (page("*/*"), page("text/html"));
    for name in names() {
        for line in text_for(&name, EXAMPLE).lines() {
            assert!(plain.contains(line), "{name}: {line}");
            let escaped = line.replace('&', "&amp;").replace('<', "&lt;");
            assert!(
                html.contains(&escaped.replace('>', "&gt;")),
                "{name}: {line}"
            );
        }
    }
}

/// A gateway whose target `https://example.org/` is a local origin.
struct Stage {
    origin: Origin,
    gateway: Gateway,
    body: Body,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let origin = Origin::start();
        let body = archive(1, 300_000);
        origin.serve("/x-1.0.tar.gz", Reply::file(&body));
        let canonical = origin.url("/{path}");
        let gateway = Gateway::builder()
            .origin(&origin)
            .port(443)
            .relay()
            .rule(&format!(
                "host = \"example.org\"\npath_prefix = \"/\"\ncanonical_url = \"{canonical}\""
            ))
            .start();
        let folder = tempfile::tempdir().expect("a folder can be made");
        Self {
            origin,
            gateway,
            body,
            folder,
        }
    }

    fn text(&self, client: &str) -> String {
        text_for(client, &self.gateway.url(""))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("the folder can be written");
    }

    fn shell(&self, script: &str) -> Run {
        Tool::new("sh", "dash", self.folder.path())
            .args(&["-c", script])
            .run()
    }

    /// Asserts that the file is there, and that the origin was asked once in all.
    #[track_caller]
    fn assert_fetched(&self, name: &str) {
        let files = files_under(self.folder.path());
        let file = files.iter().find(|file| file.ends_with(name));
        let file = file.unwrap_or_else(|| panic!("{name} in {files:?}"));
        assert_same(&fs::read(file).expect("the file can be read"), &self.body);
        fs::remove_file(file).expect("the file can be removed");
        assert_eq!(self.origin.count("/x-1.0.tar.gz"), 1);
    }
}

#[test]
fn download_commands_run_as_printed() {
    let stage = Stage::new();
    for client in ["wget", "curl", "aria2", "curl"] {
        stage.shell(&stage.text(client)).assert_success();
        stage.assert_fetched("x-1.0.tar.gz");
    }
}

#[test]
fn makepkg_agents_run_as_printed() {
    let stage = Stage::new();
    stage.write("makepkg.conf", &stage.text("makepkg"));
    // makepkg runs an agent so: see download_file in its libmakepkg.
    let script = ". ./makepkg.conf
for agent in \"${DLAGENTS[@]}\"; do
    case $agent in https::*) command=${agent#*::} ;; esac
done
command=${command//%o/x-1.0.tar.gz.part}
command=${command//%u/https://example.org/x-1.0.tar.gz}
eval \"$command\" && mv x-1.0.tar.gz.part x-1.0.tar.gz";
    Tool::new("bash", "bash", stage.folder.path())
        .args(&["-c", script])
        .run()
        .assert_success();
    stage.assert_fetched("x-1.0.tar.gz");
}

#[test]
fn rpmbuild_fetches_sources_as_printed() {
    let stage = Stage::new();
    stage
        .origin
        .serve("/download?id=0123abc", Reply::file(&stage.body));
    let spec = format!(
        "Name: x\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\n{}\n%description\nx\n",
        stage.text("rpm-spec")
    );
    stage.write("x.spec", &spec);
    fs::create_dir(stage.folder.path().join("SOURCES")).expect("the folder can be written");
    let folder = stage.folder.path().to_str().expect("the path is text");
    Tool::new("rpmbuild", "rpm", stage.folder.path())
        .args(&["-bs", "--nodeps", "--define", &format!("_topdir {folder}")])
        .args(&["--undefine=_disable_source_fetch", "x.spec"])
        .run()
        .assert_success();
    stage.assert_fetched("y-1.0.tar.gz");
    stage.assert_fetched("x-1.0.tar.gz");
}
