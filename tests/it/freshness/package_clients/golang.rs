//! `go` with a module proxy (`GOPROXY`). It asks for the list of versions, and then for three files
//! of one version. It uses no HTTP proxy for `localhost`.

use super::archives::zip;
use super::mirror::Release;
use super::recorded::{lines, text};
use super::stage::{Machine, PackageSystem, Route, Site, follow_update, follow_update_directly};
use crate::harness::{Body, has_program};

const MODULE: &str = "example.org/tiny";

struct Go;

impl Go {
    fn download(machine: &Machine, version: &str) -> Body {
        machine
            .tool("go", "golang-go")
            .args(&["mod", "download", &format!("{MODULE}@{version}")])
            .env("GOPROXY", &machine.url("/goproxy"))
            .env("GOSUMDB", "off")
            .env("GOFLAGS", "-modcacherw")
            .env("GOMODCACHE", &machine.path("modules"))
            .env("GOCACHE", &machine.path("builds"))
            .run()
            .assert_success();
        let content = machine.take("modules/cache/download", ".zip");
        std::fs::remove_dir_all(machine.path("modules")).expect("go wrote the folder");
        content
    }
}

fn version(release: Release) -> String {
    // From 2 on, the major version would be a part of the name.
    format!("v1.{}", release.version())
}

impl PackageSystem for Go {
    fn publish(&self, site: &Site, release: Release) {
        let folder = format!("/goproxy/{MODULE}/@v");
        let list = lines(release, |version| format!("v1.{version}\n"));
        site.put(&format!("{folder}/list"), &text(&list), release);
        for release in release.history() {
            let version = version(release);
            let info = format!("{{\"Version\":\"{version}\",\"Time\":\"2024-01-01T00:00:00Z\"}}");
            let file = |suffix: &str| format!("{folder}/{version}.{suffix}");
            site.put(&file("info"), &text(&info), release);
            site.put(&file("mod"), &text(&format!("module {MODULE}\n")), release);
            let name = format!("{MODULE}@{version}/tiny.go");
            let source = format!("package tiny // {version}\n");
            site.put(&file("zip"), &zip(&[(&name, source.as_bytes())]), release);
        }
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        Self::download(machine, "latest")
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        Some(Self::download(machine, &version(Release::First)))
    }

    fn package_path(&self, release: Release) -> String {
        format!("/goproxy/{MODULE}/@v/{}.zip", version(release))
    }

    fn is_index(&self, path: &str) -> bool {
        path.ends_with("/list")
    }
}

#[track_caller]
fn follow(route: Route) {
    if has_program("go") {
        follow_update(&Go, route);
    } else {
        eprintln!("skipped: go needs hundreds of megabytes");
    }
}

#[test]
fn go_fixture_works_without_millpond() {
    if has_program("go") {
        follow_update_directly(&Go);
    }
}

#[test]
fn go_follows_update_by_url_prefix() {
    follow(Route::UrlPrefix);
}

#[test]
fn go_follows_update_by_host_name() {
    follow(Route::HostName);
}

#[test]
fn go_follows_update_through_interception() {
    follow(Route::InterceptedName);
}
