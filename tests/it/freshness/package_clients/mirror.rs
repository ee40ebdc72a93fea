//! A static mirror of a package system, which publishes two releases. It answers as nginx does:
//! with validators, conditions and ranges, and without a lifetime. It knows no package system.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::harness::{Authority, Body, DATE, DAY_AFTER, Origin, Reply, files_under, sha256};

/// A release of the test package `tiny`, in order of publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    First,
    Second,
}

impl Release {
    pub fn version(self) -> &'static str {
        match self {
            Self::First => "1.0",
            Self::Second => "2.0",
        }
    }

    /// Returns the number for deterministic contents.
    pub fn seed(self) -> u64 {
        self as u64 + 1
    }

    /// Returns this release and those before it.
    pub fn history(self) -> impl Iterator<Item = Self> {
        [Self::First, Self::Second]
            .into_iter()
            .filter(move |release| *release <= self)
    }

    fn last_modified(self) -> &'static str {
        match self {
            Self::First => DATE,
            Self::Second => DAY_AFTER,
        }
    }
}

/// A mirror at a loopback address of its own. No later listener gets the port of a stopped mirror.
pub struct Mirror {
    origin: Origin,
    files: Mutex<BTreeMap<String, Body>>,
}

impl Mirror {
    pub fn start() -> Self {
        static STARTED: AtomicU8 = AtomicU8::new(1);
        let number = STARTED.fetch_add(1, Ordering::SeqCst);
        Self {
            origin: Origin::start_at(&format!("127.80.0.{number}")),
            files: Mutex::default(),
        }
    }

    /// Starts a mirror for https at the name `localhost`.
    pub fn start_tls(authority: &Authority) -> Self {
        Self {
            origin: Origin::start_tls(authority),
            files: Mutex::default(),
        }
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the URL of the mirror, without a slash at its end.
    pub fn url(&self) -> String {
        if self.origin.url("").starts_with("https:") {
            self.origin.named_url("")
        } else {
            self.origin.url("")
        }
    }

    /// Publishes a file. A file with the same content keeps its date.
    pub fn put(&self, path: &str, content: &[u8], release: Release) {
        self.put_with(path, content, release, &[]);
    }

    /// Publishes a file whose responses have further header fields.
    pub fn put_with(&self, path: &str, content: &[u8], release: Release, fields: &[(&str, &str)]) {
        assert!(path.starts_with('/'), "{path} is a path");
        let mut files = self.files();
        if files.get(path).is_some_and(|known| **known == *content) {
            return;
        }
        let body: Body = content.into();
        let reply = Reply::ok(&body)
            .header("Content-Type", content_type(path))
            .header("Last-Modified", release.last_modified())
            .header("ETag", &format!("\"{}\"", &sha256(&body)[..16]))
            .ranges()
            .conditional();
        let reply = fields
            .iter()
            .fold(reply, |reply, (name, value)| reply.header(name, value));
        self.origin.serve(path, reply);
        files.insert(path.to_owned(), body);
    }

    /// Publishes all files under a folder, below a path.
    pub fn put_folder(&self, path: &str, folder: &Path, release: Release) {
        for file in files_under(folder) {
            let name = file.strip_prefix(folder).expect("the file is in it");
            let content = std::fs::read(&file).expect("the file can be read");
            let name = name.to_str().expect("the name is text");
            self.put(&format!("{path}/{name}"), &content, release);
        }
    }

    /// Returns the content of a published file.
    pub fn file(&self, path: &str) -> Option<Body> {
        self.files().get(path).cloned()
    }

    /// Returns the published files that clients have fetched so far.
    pub fn fetched(&self) -> Vec<(String, Body)> {
        let files = self.files();
        let fetched = files.iter().filter(|(path, _)| {
            let asked = self.origin.requests(path);
            asked.iter().any(|request| request.method == "GET")
        });
        fetched
            .map(|(path, body)| (path.clone(), body.clone()))
            .collect()
    }

    /// Stops the mirror: closes its connections and its port.
    pub fn stop(&self) {
        self.origin.shut_down();
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Body>> {
        self.files.lock().expect("no thread panicked with the lock")
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit(['/', '.']).next() {
        Some("" | "html") => "text/html",
        Some("xml" | "pom") => "text/xml",
        Some("json") => "application/json",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    }
}
