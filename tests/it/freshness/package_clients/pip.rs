//! `pip` with a simple repository (PEP 503) whose links are relative. It keeps the project page,
//! and validates it with `If-None-Match` and `Cache-Control: max-age=0`.

use std::fmt::Write as _;

use super::archives::zip;
use super::mirror::Release;
use super::stage::{Machine, PackageSystem, Route, Site, follow_update, follow_update_directly};
use crate::harness::{Body, sha256};

struct Pip;

impl Pip {
    fn download(machine: &Machine, requirement: &str) -> Body {
        let url = machine.url("/simple/");
        let host = url.split([':', '/']).nth(3).expect("the URL has a host");
        // Only responses of trusted hosts are cached.
        let trust = match machine.ca_file() {
            Some(file) => ["--cert", file],
            None => ["--trusted-host", host],
        };
        // The interpreter of Debian: another one in PATH may have no pip.
        machine
            .tool("/usr/bin/python3", "python3-pip")
            .args(&["-m", "pip", "--isolated", "--disable-pip-version-check"])
            .args(&["--cache-dir", &machine.path("cache"), "--retries", "0"])
            .args(&["download", "--no-deps", "--dest", "wheels"])
            .args(&trust)
            .args(&["--index-url", &url, requirement])
            .run()
            .assert_success();
        machine.take("wheels", ".whl")
    }
}

impl PackageSystem for Pip {
    fn publish(&self, site: &Site, release: Release) {
        let mut page = "<!DOCTYPE html>\n<html><body>\n".to_owned();
        for release in release.history() {
            let wheel = wheel(release);
            site.put(&self.package_path(release), &wheel, release);
            let name = file_name(release);
            let digest = sha256(&wheel);
            let link = format!("../../files/{name}#sha256={digest}");
            writeln!(page, "<a href=\"{link}\">{name}</a>").expect("a string can be written");
        }
        page += "</body></html>\n";
        site.put("/simple/tiny/", page.as_bytes(), release);
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        Self::download(machine, "tiny")
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        Some(Self::download(machine, "tiny==1.0"))
    }

    fn package_path(&self, release: Release) -> String {
        format!("/files/{}", file_name(release))
    }

    fn is_index(&self, path: &str) -> bool {
        path.starts_with("/simple/")
    }
}

fn file_name(release: Release) -> String {
    format!("tiny-{}-py3-none-any.whl", release.version())
}

fn wheel(release: Release) -> Body {
    let version = release.version();
    let folder = format!("tiny-{version}.dist-info");
    let path = |name: &str| format!("{folder}/{name}");
    let metadata = format!("Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n");
    let wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let record = format!("tiny.py,,\n{folder}/METADATA,,\n{folder}/WHEEL,,\n{folder}/RECORD,,\n");
    zip(&[
        ("tiny.py", version.as_bytes()),
        (&path("METADATA"), metadata.as_bytes()),
        (&path("WHEEL"), wheel.as_bytes()),
        (&path("RECORD"), record.as_bytes()),
    ])
}

#[test]
fn pip_fixture_works_without_millpond() {
    follow_update_directly(&Pip);
}

#[test]
fn pip_follows_update_through_proxy() {
    follow_update(&Pip, Route::Proxy);
}

#[test]
fn pip_follows_update_by_url_prefix() {
    follow_update(&Pip, Route::UrlPrefix);
}

#[test]
fn pip_follows_update_by_host_name() {
    follow_update(&Pip, Route::HostName);
}

#[test]
fn pip_follows_update_through_interception() {
    follow_update(&Pip, Route::Intercepted);
}
