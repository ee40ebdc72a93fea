//! A gateway, and a folder of sources beside it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Body, Builder, Gateway, Origin, Run, gzip, millpond, sha256};

/// A gateway, its origin, and a folder of sources.
pub struct Depot {
    pub origin: Origin,
    pub gateway: Gateway,
    pub folder: TempDir,
}

impl Depot {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// Starts a depot whose gateway has other settings.
    pub fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let origin = Origin::start();
        let builder = Gateway::builder().origin(&origin).relay().one_attempt();
        // The targets of files without a URL are https URLs.
        let gateway = change(builder.port(443)).start();
        let folder = tempfile::tempdir().expect("a folder can be created");
        let depot = Self {
            origin,
            gateway,
            folder,
        };
        fs::create_dir(depot.path("sources")).expect("a folder can be created");
        depot
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let parent = path.parent().expect("the path has a parent");
        fs::create_dir_all(parent).expect("a folder can be created");
        fs::write(&path, bytes).expect("the folder is writable");
        path
    }

    /// Writes an archive below `sources`, and returns its body.
    pub fn source(&self, name: &str, seed: u64) -> Body {
        let body = tarball(seed);
        self.write(&format!("sources/{name}"), &body);
        body
    }

    /// Returns the arguments that adopt the folder `sources`.
    pub fn arguments(&self, more: &[&str]) -> Vec<String> {
        let file = self.gateway.file();
        let file = file.to_str().expect("the path is text");
        let own = ["adopt", "sources", "--config", file];
        let all = own.iter().chain(more);
        all.map(|argument| (*argument).to_owned()).collect()
    }

    pub fn adopt(&self, more: &[&str]) -> Run {
        let arguments = self.arguments(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        millpond(self.folder.path(), &arguments)
    }

    /// Adopts with `--json`, and returns the exit code and the documents.
    #[track_caller]
    pub fn adopt_json(&self, more: &[&str]) -> (Option<i32>, Vec<Value>) {
        let run = self.adopt(&[more, &["--json"]].concat());
        (run.code, run.documents())
    }

    /// Asserts that a file is found by its name and by its digest, without a request to an origin.
    #[track_caller]
    pub fn assert_found(&self, name: &str, body: &[u8]) {
        let hex = sha256(body);
        for path in [
            format!("/mirror/buildroot/{name}"),
            format!("/mirror/gentoo/distfiles/{name}"),
            format!("/mirror/nix/sha256/{hex}"),
            format!("/mirror/conan/{hex}"),
            format!("/api/v1/objects/sha256/{hex}"),
        ] {
            self.gateway
                .request("GET", &path)
                .send()
                .assert_body(200, body);
        }
        assert_eq!(self.origin.total(), 0);
    }
}

/// Returns a complete gzip file, another one for each seed.
pub fn tarball(seed: u64) -> Body {
    gzip(format!("content of {seed}").repeat(200).as_bytes())
}

/// Returns the document of a file.
#[track_caller]
pub fn of_file<'a>(documents: &'a [Value], file: &str) -> &'a Value {
    let found = documents.iter().find(|document| document["file"] == file);
    found.unwrap_or_else(|| panic!("{file} is missing: {documents:#?}"))
}
