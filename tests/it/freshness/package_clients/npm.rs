//! `npm` with a registry whose links name another host, as those of a public registry do. npm puts
//! the host of its own registry in their place.

use serde_json::{Map, Value, json};

use super::archives::tar_gz;
use super::mirror::Release;
use super::stage::{Machine, PackageSystem, Route, Site, follow_update, follow_update_directly};
use crate::harness::{Body, has_program};
use crate::mirror::indexes::integrity;

/// Names of the packages, and the paths by which npm asks for them.
const PACKAGES: [(&str, &str); 2] = [("tiny", "/tiny"), ("@scope/base", "/@scope%2fbase")];

struct Npm;

impl Npm {
    /// Installs a project that needs these versions, and returns the tarball of the newest one.
    fn install(machine: &Machine, wanted: &str) -> Body {
        let settings = format!(
            "registry={}/\nreplace-registry-host=always\naudit=false\nfund=false\n\
             update-notifier=false\nfetch-retries=0\ncache={}\n",
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
        // The dependency has a name with a scope.
        machine.take("project/node_modules/@scope/base", "index.js");
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
            site.put(path, package.to_string().as_bytes(), release);
        }
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        Self::install(machine, "*")
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        Some(Self::install(machine, &version(Release::First)))
    }

    fn package_path(&self, release: Release) -> String {
        tarball_path("tiny", release)
    }

    fn is_index(&self, path: &str) -> bool {
        !path.ends_with(".tgz")
    }
}

fn tarball_path(name: &str, release: Release) -> String {
    let file = name.rsplit('/').next().expect("a name has a last part");
    format!("/{name}/-/{file}-{}.tgz", version(release))
}

#[track_caller]
fn follow(route: Route) {
    if has_program("npm") {
        follow_update(&Npm, route);
    } else {
        eprintln!("skipped: npm needs hundreds of megabytes");
    }
}

#[test]
fn npm_fixture_works_without_millpond() {
    if has_program("npm") {
        follow_update_directly(&Npm);
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
