//! `mvn` with a mirror in its settings. It finds the versions of a parent project in
//! `maven-metadata.xml`, and needs no plugin for it, as it would for most other artifacts.

use std::fmt::Write as _;

use sha1::{Digest as _, Sha1};

use super::mirror::Release;
use super::recorded::{lines, text};
use super::stage::{Machine, PackageSystem, Route, Site, follow_update, follow_update_directly};
use crate::harness::{Body, has_program};

struct Maven;

impl Maven {
    /// Reads a project whose parent has one of these versions, and returns the parent.
    fn download(machine: &Machine, versions: &str) -> Body {
        let (mirror, mut proxy) = (machine.url("/m2"), String::new());
        let mut options = "-Xshare:auto -XX:TieredStopAtLevel=1".to_owned();
        if let (Some(url), Some(ca)) = (machine.https_proxy(), machine.ca_file()) {
            let address = url.trim_start_matches("http://");
            let (host, port) = address.split_once(':').expect("the proxy has a port");
            proxy = format!(
                "<proxies><proxy><protocol>https</protocol><host>{host}</host>\
                 <port>{port}</port></proxy></proxies>"
            );
            let store = machine.path("store");
            drop(std::fs::remove_file(&store));
            machine
                .tool("keytool", "maven")
                .args(&[
                    "-importcert",
                    "-noprompt",
                    "-file",
                    ca,
                    "-alias",
                    "millpond",
                ])
                .args(&["-keystore", &store, "-storepass", "changeit"])
                .run()
                .assert_success();
            let trust = " -Djavax.net.ssl.trustStore";
            write!(options, "{trust}={store}{trust}Password=changeit").expect("it is a string");
        }
        let settings = format!(
            "<settings>{proxy}<mirrors><mirror><id>millpond</id><mirrorOf>*</mirrorOf>\
             <url>{mirror}</url></mirror></mirrors></settings>"
        );
        machine.write("settings.xml", &settings);
        machine.write(
            "project/pom.xml",
            &project("user", "0.1", &parent(versions)),
        );
        machine
            .tool("mvn", "maven")
            .args(&[
                "-B",
                "-q",
                "-U",
                "-C",
                "-s",
                "settings.xml",
                "-f",
                "project",
            ])
            .args(&["-Dmaven.repo.local=repository", "validate"])
            .env("MAVEN_OPTS", &options)
            .run()
            .assert_success();
        let parent = machine.take("repository/org/example", ".pom");
        std::fs::remove_dir_all(machine.path("repository")).expect("mvn made it");
        parent
    }
}

fn project(name: &str, version: &str, content: &str) -> String {
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>org.example</groupId>\
         <artifactId>{name}</artifactId><version>{version}</version>\
         <packaging>pom</packaging>{content}</project>\n"
    )
}

fn parent(versions: &str) -> String {
    format!(
        "<parent><groupId>org.example</groupId><artifactId>base</artifactId>\
         <version>{versions}</version><relativePath/></parent>"
    )
}

/// Publishes a file with its checksum.
fn put(site: &Site, name: &str, content: &[u8], release: Release) {
    let path = format!("/m2/org/example/{name}");
    site.put(&path, content, release);
    let sum = hex::encode(Sha1::digest(content));
    site.put(&format!("{path}.sha1"), &text(&sum), release);
}

impl PackageSystem for Maven {
    fn publish(&self, site: &Site, release: Release) {
        let newest = release.version();
        let versions = lines(release, |version| format!("<version>{version}</version>"));
        let metadata = format!(
            "<metadata><groupId>org.example</groupId><artifactId>base</artifactId><versioning>\
             <release>{newest}</release><versions>{versions}</versions></versioning></metadata>\n"
        );
        put(
            site,
            "base/maven-metadata.xml",
            metadata.as_bytes(),
            release,
        );
        for release in release.history() {
            let version = release.version();
            let base = project("base", version, "");
            let name = format!("base/{version}/base-{version}.pom");
            put(site, &name, base.as_bytes(), release);
        }
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        Self::download(machine, "[1.0,9)")
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        Some(Self::download(machine, Release::First.version()))
    }

    fn package_path(&self, release: Release) -> String {
        let version = release.version();
        format!("/m2/org/example/base/{version}/base-{version}.pom")
    }

    fn is_index(&self, path: &str) -> bool {
        path.contains("/maven-metadata.xml")
    }
}

#[track_caller]
fn follow(route: Route) {
    if has_program("mvn") {
        follow_update(&Maven, route);
    } else {
        eprintln!("skipped: mvn needs hundreds of megabytes");
    }
}

#[test]
fn maven_fixture_works_without_millpond() {
    if has_program("mvn") {
        follow_update_directly(&Maven);
    }
}

#[test]
fn maven_follows_update_by_host_name() {
    follow(Route::HostName);
}

#[test]
fn maven_follows_update_through_interception() {
    follow(Route::InterceptedName);
}
