//! `npm` with a registry whose links name another host, as those of a public registry do. npm puts
//! the host of its own registry in their place. Each run is that of a machine without installed
//! packages, and the dependency has a name with a scope.

use serde_json::{Map, Value, json};

use super::archives::{integrity, tar_gz};
use super::mirror::Release;
use super::stage::{
    Machine, PackageSystem, Route, Site, Stage, follow_update, follow_update_directly,
};
use crate::harness::{Body, assert_same, can_replace_system_files, eventually, has_program};

/// Names of the packages, and the paths by which npm asks for them.
const PACKAGES: [(&str, &str); 2] = [("tiny", "/tiny"), ("@scope/base", "/@scope%2fbase")];

/// npm, and its registry.
#[derive(Default)]
struct Npm {
    /// `Cache-Control` of the documents that list the versions.
    cache_control: Option<&'static str>,
}

impl Npm {
    /// Installs a project that needs these versions, and returns the tarball of the newest one.
    fn install(&self, machine: &Machine, wanted: &str) -> Body {
        // Without `prefer-online`, npm gives a document without a lifetime one of its own, by the
        // age of the document (RFC 9111, section 4.2.2).
        let settings = format!(
            "registry={}/\nreplace-registry-host=always\naudit=false\nfund=false\n\
             update-notifier=false\nfetch-retries=0\nprefer-online=true\ncache={}\n",
            machine.url(""),
            machine.path("cache")
        );
        let ca = machine.ca_file().map(|ca| format!("cafile={ca}\n"));
        machine.write(".npmrc", &[settings, ca.unwrap_or_default()].concat());
        let root = json!({"name": "user", "version": "1.0.0", "dependencies": {"tiny": wanted}});
        machine.write("project/package.json", &root.to_string());
        let npm = |arguments: &[&str]| {
            let npm = machine.tool("npm", "npm").args(arguments);
            npm.run().assert_success();
        };
        npm(&["install", "--prefix", &machine.path("project")]);
        let base = machine.take("project/node_modules/@scope/base", "index.js");
        let tiny = machine.take("project/node_modules/tiny", "index.js");
        // Each document has a lifetime of its own.
        if wanted == "*" && self.cache_control.is_none() {
            assert_same(&base, &tiny);
        }
        std::fs::remove_dir_all(machine.path("project")).expect("npm made it");
        npm(&["pack", &format!("tiny@{wanted}")]);
        machine.take(".", ".tgz")
    }
}

fn version(release: Release) -> String {
    format!("{}.0", release.version())
}

fn tarball(name: &str, release: Release) -> Body {
    let manifest = json!({"name": name, "version": version(release)}).to_string();
    tar_gz(&[
        ("package/package.json", manifest.as_bytes()),
        ("package/index.js", version(release).as_bytes()),
    ])
}

impl PackageSystem for Npm {
    fn publish(&self, site: &Site, release: Release) {
        for (name, path) in PACKAGES {
            let dependencies = match name {
                "tiny" => json!({"@scope/base": "*"}),
                _ => json!({}),
            };
            let mut versions = Map::new();
            for release in release.history() {
                let (version, tarball) = (version(release), tarball(name, release));
                let path = tarball_path(name, release);
                site.put(&path, &tarball, release);
                let dist = json!({
                    "tarball": format!("https://registry.example.org{path}"),
                    "integrity": integrity(&tarball),
                });
                let of_version = json!({"name": name, "version": version,
                    "dependencies": dependencies, "dist": dist});
                versions.insert(version, of_version);
            }
            let package = json!({"name": name, "dist-tags": {"latest": version(release)},
                "versions": Value::Object(versions)});
            let fields = self.cache_control.map(|value| ("Cache-Control", value));
            let package = package.to_string();
            let (mirror, fields) = (&site.mirror, fields.as_slice());
            mirror.put_with(path, package.as_bytes(), release, fields);
        }
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        self.install(machine, "*")
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        Some(self.install(machine, &version(Release::First)))
    }

    fn package_path(&self, release: Release) -> String {
        tarball_path("tiny", release)
    }

    fn is_index(&self, path: &str) -> bool {
        !path.contains("/-/")
    }
}

fn tarball_path(name: &str, release: Release) -> String {
    let file = name.rsplit('/').next().expect("a name has a last part");
    format!("/{name}/-/{file}-{}.tgz", version(release))
}

#[track_caller]
fn follow(route: Route) {
    if has_program("npm") {
        follow_update(&Npm::default(), route);
    } else {
        eprintln!("skipped: npm is not installed");
    }
}

#[test]
fn npm_fixture_works_without_millpond() {
    if has_program("npm") {
        follow_update_directly(&Npm::default());
    }
}

#[test]
fn npm_follows_update_by_host_name() {
    follow(Route::HostName);
}

#[test]
fn npm_follows_update_through_interception() {
    follow(Route::InterceptedName);
}

#[test]
fn npm_sees_update_after_age_of_registry() {
    if !has_program("npm") || !can_replace_system_files() {
        eprintln!("skipped: npm is not installed, or this is not root");
        return;
    }
    let npm = Npm {
        cache_control: Some("public, max-age=2"),
    };
    let stage = Stage::new(Route::HostName);
    npm.publish(&stage.site, Release::First);
    let published = |release| stage.site.mirror.file(&npm.package_path(release));
    let first = published(Release::First).expect("the package is published");
    assert_same(&npm.download_newest(&stage.machine()), &first);
    npm.publish(&stage.site, Release::Second);
    let second = published(Release::Second).expect("the package is published");
    eventually("npm installs the second release", || {
        let found = npm.download_newest(&stage.machine());
        (found == second).then_some(())
    });
    let asked = stage.site.mirror.origin().requests("/tiny");
    let condition = asked
        .iter()
        .find_map(|request| request.header("if-none-match"));
    assert!(condition.is_some(), "the origin was asked conditionally");
}
