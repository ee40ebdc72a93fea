//! `cargo` with a sparse registry, whose `config.json` names the base URL of the route for the
//! files. It validates the entry of a crate with `If-None-Match` and `If-Modified-Since`.

use std::fmt::Write as _;
use std::path::Path;

use super::archives::tar_gz;
use super::mirror::Release;
use super::stage::{Machine, PackageSystem, Route, Site, follow_update, follow_update_directly};
use crate::harness::{Body, sha256};

/// The program that builds the tests. The one in PATH may need the caller's home folder.
const CARGO: &str = env!("CARGO");

struct Cargo;

impl Cargo {
    fn fetch(machine: &Machine, requirement: &str) -> Body {
        let manifest = format!(
            "[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n\
             [dependencies]\ntiny = {{ version = \"{requirement}\", registry = \"test\" }}\n"
        );
        machine.write("project/Cargo.toml", &manifest);
        machine.write("project/src/lib.rs", "");
        machine.write(
            "home/config.toml",
            &format!(
                "[registries.test]\nindex = \"sparse+{}\"\n\n[net]\nretry = 0\n",
                machine.url("/index/")
            ),
        );
        let compiler = Path::new(CARGO).with_file_name("rustc");
        let project = machine.path("project/Cargo.toml");
        machine
            .tool(CARGO, "cargo")
            .args(&["fetch", "--manifest-path", &project])
            .env("CARGO_HOME", &machine.path("home"))
            .env("RUSTC", compiler.to_str().expect("the path is text"))
            .run()
            .assert_success();
        let content = machine.take("home/registry/cache", ".crate");
        std::fs::remove_file(machine.path("project/Cargo.lock")).expect("cargo wrote the file");
        content
    }
}

impl PackageSystem for Cargo {
    fn publish(&self, site: &Site, release: Release) {
        let config = format!("{{\"dl\":\"{}/crates\",\"api\":null}}", site.base);
        site.put("/index/config.json", config.as_bytes(), Release::First);
        let mut entries = String::new();
        for release in release.history() {
            let content = package(release);
            site.put(&self.package_path(release), &content, release);
            writeln!(
                entries,
                "{{\"name\":\"tiny\",\"vers\":\"{}\",\"deps\":[],\"cksum\":\"{}\",\
                 \"features\":{{}},\"yanked\":false}}",
                version(release),
                sha256(&content)
            )
            .expect("a string can be written");
        }
        site.put("/index/ti/ny/tiny", entries.as_bytes(), release);
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        Self::fetch(machine, "*")
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        Some(Self::fetch(machine, "=1.0.0"))
    }

    fn package_path(&self, release: Release) -> String {
        format!("/crates/tiny/{}/download", version(release))
    }

    fn is_index(&self, path: &str) -> bool {
        path.starts_with("/index/")
    }
}

fn version(release: Release) -> String {
    format!("{}.0", release.version())
}

fn package(release: Release) -> Body {
    let version = version(release);
    let folder = format!("tiny-{version}");
    let manifest = format!("[package]\nname = \"tiny\"\nversion = \"{version}\"\n");
    tar_gz(&[
        (&format!("{folder}/Cargo.toml"), manifest.as_bytes()),
        (&format!("{folder}/src/lib.rs"), b""),
    ])
}

#[test]
fn cargo_fixture_works_without_millpond() {
    follow_update_directly(&Cargo);
}

#[test]
fn cargo_follows_update_through_proxy() {
    follow_update(&Cargo, Route::Proxy);
}

#[test]
fn cargo_follows_update_by_url_prefix() {
    follow_update(&Cargo, Route::UrlPrefix);
}

#[test]
fn cargo_follows_update_by_host_name() {
    follow_update(&Cargo, Route::HostName);
}

#[test]
fn cargo_follows_update_through_interception() {
    follow_update(&Cargo, Route::Intercepted);
}
