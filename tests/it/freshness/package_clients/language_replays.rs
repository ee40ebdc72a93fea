//! Package systems of languages whose clients are not in Debian, or need hundreds of megabytes
//! there. Each test sends the fields of the real client, and validates as that one does.

use sha1::{Digest as _, Sha1};

use super::archives::{tar, tar_gz, zip};
use super::mirror::Release;
use super::recorded::{Naming, Requests, Validation, follow, lines, suffix, text};
use crate::harness::Body;

/// Returns a package that holds its version.
fn zipped(release: Release) -> Body {
    zip(&[("version", release.version().as_bytes())])
}

fn sha1_of(content: &[u8]) -> Body {
    text(&hex::encode(Sha1::digest(content)))
}

/// Apache Maven 3.8.7. It sends `no-cache` also for versioned files, and checks `.sha1` files.
fn maven() -> Requests {
    fn content(path: &str, _: &str, release: Release) -> Body {
        match path.strip_suffix(".sha1") {
            Some(path) => sha1_of(&file(path, release)),
            None => file(path, release),
        }
    }
    fn file(path: &str, release: Release) -> Body {
        let version = release.version();
        if suffix(path) == "jar" {
            return zipped(release);
        }
        if suffix(path) == "pom" {
            return text(&format!(
                "<project><modelVersion>4.0.0</modelVersion><groupId>org.example</groupId>\
                 <artifactId>tiny</artifactId><version>{version}</version></project>\n"
            ));
        }
        let versions = lines(release, |version| format!("<version>{version}</version>"));
        text(&format!(
            "<metadata><groupId>org.example</groupId><artifactId>tiny</artifactId><versioning>\
             <release>{version}</release><versions>{versions}</versions></versioning></metadata>\n"
        ))
    }
    Requests {
        fields: &[
            ("Cache-control", "no-cache"),
            ("Pragma", "no-cache"),
            (
                "User-Agent",
                "Apache-Maven/3.8.7 (Java 17.0.15; Linux 6.1.0)",
            ),
            ("Accept-Encoding", "gzip,deflate"),
        ],
        validation: Validation::None,
        naming: Naming::Versioned,
        indexes: &[
            "/m2/org/example/tiny/maven-metadata.xml",
            "/m2/org/example/tiny/maven-metadata.xml.sha1",
        ],
        mark: |release| format!("<release>{}<", release.version()),
        packages: |release| {
            let version = release.version();
            let file = format!("/m2/org/example/tiny/{version}/tiny-{version}");
            ["jar", "jar.sha1", "pom", "pom.sha1"]
                .map(|suffix| format!("{file}.{suffix}"))
                .to_vec()
        },
        content,
    }
}

#[test]
fn maven_follows_update() {
    follow(maven);
}

/// npm 11. The field `npm-auth-type` is no credential: each request without a login has it.
fn npm() -> Requests {
    fn content(path: &str, base: &str, release: Release) -> Body {
        let version = format!("{}.0", release.version());
        if suffix(path) == "tgz" {
            let manifest = format!("{{\"name\":\"tiny\",\"version\":\"{version}\"}}\n");
            return tar_gz(&[("package/package.json", manifest.as_bytes())]);
        }
        let versions: Vec<_> = release
            .history()
            .map(|release| {
                let version = format!("{}.0", release.version());
                format!(
                    "\"{version}\":{{\"name\":\"tiny\",\"version\":\"{version}\",\"dist\":\
                     {{\"tarball\":\"{base}/npm/tiny/-/tiny-{version}.tgz\"}}}}"
                )
            })
            .collect();
        text(&format!(
            "{{\"name\":\"tiny\",\"dist-tags\":{{\"latest\":\"{version}\"}},\
             \"versions\":{{{}}}}}",
            versions.join(",")
        ))
    }
    Requests {
        fields: &[
            ("accept", "application/json"),
            ("npm-auth-type", "web"),
            ("npm-command", "install"),
            ("pacote-req-type", "packument"),
            ("pacote-version", "21.5.1"),
            (
                "user-agent",
                "npm/11.19.1 node/v20.20.2 linux x64 workspaces/false",
            ),
            ("Accept-Encoding", "gzip,deflate"),
        ],
        validation: Validation::TagAndDate,
        naming: Naming::Versioned,
        indexes: &["/npm/tiny"],
        mark: |release| format!("\"latest\":\"{}.0\"", release.version()),
        packages: |release| {
            let version = release.version();
            vec![format!("/npm/tiny/-/tiny-{version}.0.tgz")]
        },
        content,
    }
}

#[test]
fn npm_follows_update() {
    follow(npm);
}

/// Go 1.22 with a module proxy (`GOPROXY`).
fn go() -> Requests {
    fn content(path: &str, _: &str, release: Release) -> Body {
        let version = format!("v{}.0", release.version());
        match suffix(path) {
            "zip" => {
                let name = format!("example.org/tiny@{version}/tiny.go");
                zip(&[(&name, format!("package tiny // {version}\n").as_bytes())])
            }
            "mod" => text(&format!("module example.org/tiny // {version}\n")),
            "list" => text(&lines(release, |version| format!("v{version}.0\n"))),
            _ => text(&format!(
                "{{\"Version\":\"{version}\",\"Time\":\"2024-01-01T00:00:00Z\"}}"
            )),
        }
    }
    Requests {
        fields: &[
            ("User-Agent", "Go-http-client/1.1"),
            ("Accept-Encoding", "gzip"),
        ],
        validation: Validation::None,
        naming: Naming::Versioned,
        indexes: &[
            "/go/example.org/tiny/@v/list",
            "/go/example.org/tiny/@latest",
        ],
        mark: |release| format!("v{}.0", release.version()),
        packages: |release| {
            ["zip", "mod", "info"]
                .map(|suffix| {
                    let version = release.version();
                    format!("/go/example.org/tiny/@v/v{version}.0.{suffix}")
                })
                .to_vec()
        },
        content,
    }
}

#[test]
fn go_follows_update() {
    follow(go);
}

/// conda 24, which keeps both validators of `repodata.json` beside it.
fn conda() -> Requests {
    fn content(path: &str, _: &str, release: Release) -> Body {
        if suffix(path) == "conda" {
            return zipped(release);
        }
        let packages: Vec<_> = release
            .history()
            .map(|release| {
                let version = release.version();
                format!(
                    "\"tiny-{version}-0.conda\":{{\"name\":\"tiny\",\"version\":\"{version}\"}}"
                )
            })
            .collect();
        text(&format!(
            "{{\"info\":{{\"subdir\":\"noarch\"}},\"packages.conda\":{{{}}}}}",
            packages.join(",")
        ))
    }
    Requests {
        fields: &[
            (
                "User-Agent",
                "conda/24.7.1 requests/2.32.3 CPython/3.12.4 Linux/6.1.0",
            ),
            ("Accept-Encoding", "gzip, deflate, br, zstd"),
            ("Accept", "*/*"),
        ],
        validation: Validation::TagAndDate,
        naming: Naming::Versioned,
        indexes: &[
            "/conda/noarch/current_repodata.json",
            "/conda/noarch/repodata.json",
        ],
        mark: |release| format!("tiny-{}-0.conda", release.version()),
        packages: |release| vec![format!("/conda/noarch/tiny-{}-0.conda", release.version())],
        content,
    }
}

#[test]
fn conda_follows_update() {
    follow(conda);
}

/// Bundler 2 with the compact index, which only grows: it fetches the new end of a known file.
fn bundler() -> Requests {
    fn content(path: &str, _: &str, release: Release) -> Body {
        if suffix(path) == "gem" {
            return tar(&[("metadata", release.version().as_bytes())]);
        }
        if path == "/versions" {
            let rows = lines(release, |version| {
                format!("tiny {version} 0123456789abcdef\n")
            });
            return text(&format!("created_at: 2024-01-01T00:00:00Z\n---\n{rows}"));
        }
        let rows = lines(release, |version| {
            format!("{version} |checksum:0123456789abcdef\n")
        });
        text(&format!("---\n{rows}"))
    }
    Requests {
        fields: &[
            (
                "User-Agent",
                "bundler/2.4.20 rubygems/3.4.20 ruby/3.2.2 (x86_64-linux)",
            ),
            ("Accept-Encoding", "identity"),
            ("Accept", "*/*"),
        ],
        validation: Validation::TagAndTail,
        naming: Naming::Versioned,
        indexes: &["/versions", "/info/tiny"],
        mark: |release| format!("{} |checksum", release.version()),
        packages: |release| vec![format!("/gems/tiny-{}.gem", release.version())],
        content,
    }
}

#[test]
fn bundler_follows_update() {
    follow(bundler);
}
