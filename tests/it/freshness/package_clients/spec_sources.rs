//! `rpmbuild` that fetches the sources of a spec: all forms of source URLs are there again while
//! their origin is away.

use std::fmt::Write as _;

use super::archives::{tar_gz, zip};
use super::mirror::Release;
use super::stage::{Machine, Route, Stage};
use crate::harness::Body;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Class of a source by its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Immutable,
    Revalidate,
}

/// A source of the spec.
struct Source {
    /// Path and query at the origin.
    path: String,
    /// Name of the file, which a fragment states if the URL does not end with it.
    file: &'static str,
    class: Class,
    content: Body,
}

impl Source {
    /// Returns the URL of the source in the spec.
    fn url(&self, machine: &Machine) -> String {
        let url = machine.url(&self.path);
        if self.path.ends_with(&format!("/{}", self.file)) {
            url
        } else {
            format!("{url}#/{}", self.file)
        }
    }
}

fn immutable(path: &str, file: &'static str, content: &Body) -> Source {
    Source {
        path: path.replace("COMMIT", COMMIT),
        file,
        class: Class::Immutable,
        content: content.clone(),
    }
}

fn revalidated(path: &str, file: &'static str, content: &Body) -> Source {
    Source {
        class: Class::Revalidate,
        ..immutable(path, file, content)
    }
}

fn text(content: &str) -> Body {
    content.as_bytes().into()
}

fn patch(name: &str) -> Body {
    text(&format!(
        "diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-a\n+b\n"
    ))
}

fn armored(kind: &str) -> Body {
    text(&format!(
        "-----BEGIN PGP {kind}-----\n\niQEzBAABCAAdFiEE\n=abcd\n-----END PGP {kind}-----\n"
    ))
}

fn sources() -> Vec<Source> {
    let tarball = |name: &str| tar_gz(&[(&format!("{name}/README"), name.as_bytes())]);
    vec![
        immutable("/pub/x-1.0.tar.gz", "x-1.0.tar.gz", &tarball("x")),
        immutable(
            "/pub/x-1.0.tar.gz.asc",
            "x-1.0.tar.gz.asc",
            &armored("SIGNATURE"),
        ),
        immutable(
            "/o/x/archive/v1.0.tar.gz",
            "x-archive.tar.gz",
            &tarball("archive"),
        ),
        immutable(
            "/o/x/archive/refs/tags/v1.0.tar.gz",
            "x-tag.tar.gz",
            &tarball("tag"),
        ),
        immutable(
            "/o/x/archive/COMMIT.zip",
            "x-commit.zip",
            &zip(&[("x", b"commit")]),
        ),
        immutable("/o/x/tarball/v1.0", "x-tarball.tar.gz", &tarball("tarball")),
        immutable(
            "/p/get.php?file=y-1.0.tar.gz",
            "y-1.0.tar.gz",
            &tarball("y"),
        ),
        immutable(
            "/releases/download/v1.0/notes-1.0.txt",
            "notes-1.0.txt",
            &text("Notes.\n"),
        ),
        immutable(
            "/m2/org/x/x/1.0/x-1.0.pom",
            "x-1.0.pom",
            &text("<project></project>\n"),
        ),
        immutable(
            "/api/v1/crates/x/1.0.0/download",
            "x-1.0.0.crate",
            &tarball("crate"),
        ),
        immutable("/o/x/raw/COMMIT/fix.patch", "raw.patch", &patch("raw")),
        immutable("/o/x/commit/COMMIT.patch", "commit.patch", &patch("commit")),
        immutable("/cgit/x/patch/?id=COMMIT", "cgit.patch", &patch("cgit")),
        immutable(
            "/pub/0001-x-1.0-fix.patch",
            "0001-x-1.0-fix.patch",
            &patch("fix"),
        ),
        revalidated("/keys/x.keyring", "x.keyring", &armored("PUBLIC KEY BLOCK")),
        revalidated("/doc/LICENSE.txt", "LICENSE.txt", &text("License.\n")),
        revalidated(
            "/pub/SHA256SUMS",
            "SHA256SUMS",
            &text(&format!("{:064}  x-1.0\n", 1)),
        ),
        revalidated(
            "/o/x/archive/main.tar.gz",
            "x-main.tar.gz",
            &tarball("main"),
        ),
        revalidated(
            "/o/x/raw/main/moving.patch",
            "moving.patch",
            &patch("moving"),
        ),
    ]
}

/// Fetches all sources of a new spec, and asserts their contents.
#[track_caller]
fn build_source_package(machine: &Machine, sources: &[Source]) {
    let mut spec = "Name: x\nVersion: 1.0\nRelease: 1\nSummary: Test\nLicense: MIT\n\
                    BuildArch: noarch\n"
        .to_owned();
    for (number, source) in sources.iter().enumerate() {
        let suffix = source.file.rsplit('.').next();
        let tag = if suffix == Some("patch") {
            "Patch"
        } else {
            "Source"
        };
        writeln!(spec, "{tag}{number}: {}", source.url(machine)).expect("a string can be written");
    }
    spec += "%description\nTest.\n%prep\n%build\n%files\n";
    machine.write("x.spec", &spec);
    machine.write("top/SOURCES/none", "");
    machine
        .tool("rpmbuild", "rpm")
        .args(&["-bs", "--undefine=_disable_source_fetch", "--define"])
        .arg(&format!("_topdir {}", machine.path("top")))
        .arg("x.spec")
        .run()
        .assert_success();
    for source in sources {
        let found = machine.take("top/SOURCES", &format!("/{}", source.file));
        assert_eq!(found, source.content, "{}", source.file);
    }
}

#[track_caller]
fn build_without_origin(route: Route) {
    let stage = Stage::new(route);
    let sources = sources();
    for source in &sources {
        let mirror = &stage.site.mirror;
        mirror.put(&source.path, &source.content, Release::First);
    }
    build_source_package(&stage.machine(), &sources);
    for source in &sources {
        stage.await_stored(&source.path);
        if source.class == Class::Immutable {
            let asked = stage.site.mirror.origin().count(&source.path);
            assert_eq!(asked, 1, "requests for {}", source.path);
        }
    }
    stage.site.mirror.stop();
    build_source_package(&stage.machine(), &sources);
    for source in &sources {
        let is_revalidated = source.class == Class::Revalidate;
        stage.assert_served(&source.path, &source.content, is_revalidated);
    }
}

#[test]
fn rpmbuild_gets_sources_through_proxy_without_origin() {
    build_without_origin(Route::Proxy);
}

#[test]
fn rpmbuild_gets_sources_by_prefix_without_origin() {
    build_without_origin(Route::UrlPrefix);
}
