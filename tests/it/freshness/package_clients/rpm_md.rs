//! `dnf` with a repository of `createrepo_c`, whose metadata files are named by their digests or
//! without them. It asks for `repomd.xml` with `Cache-Control: no-cache`.

use tempfile::TempDir;

use super::mirror::Release;
use super::stage::{Machine, PackageSystem, Route, Site, follow_update, follow_update_directly};
use crate::harness::{Body, Tool};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Plain,
    ByDigest,
}

struct Dnf {
    names: Names,
    folder: TempDir,
}

impl Dnf {
    fn new(names: Names) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        Self { names, folder }
    }

    fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("the path is text").to_owned()
    }

    fn build_rpm(&self, release: Release) {
        let spec = format!(
            "Name: tiny\nVersion: {}\nRelease: 1\nSummary: Test\nLicense: MIT\n\
             BuildArch: noarch\n%description\nTest.\n%files\n",
            release.version()
        );
        std::fs::write(self.path("tiny.spec"), spec).expect("the folder can be written");
        Tool::new("rpmbuild", "rpm", self.folder.path())
            .args(&["-bb", "--quiet", "--define"])
            .arg(&format!("_topdir {}", self.path("build")))
            .args(&["--define", &format!("_rpmdir {}", self.path("repo"))])
            .arg("tiny.spec")
            .run()
            .assert_success();
    }

    /// Downloads a package by its name or by name and version.
    fn download(machine: &Machine, package: &str) -> Body {
        let [packages, root] = ["packages", "root"].map(|name| machine.path(name));
        machine.write(
            "dnf.conf",
            &format!(
                "[main]\nreposdir={0}/none\ncachedir={0}/cache\npersistdir={0}/state\n\
                 logdir={0}/log\ngpgcheck=0\nretries=1\nzchunk=0\n{1}\n\
                 [test]\nname=test\nbaseurl={2}\n",
                machine.folder().display(),
                machine
                    .http_proxy()
                    .map_or(String::new(), |proxy| format!("proxy={proxy}\n")),
                machine.url("/repo/")
            ),
        );
        machine
            .root_tool("dnf", "dnf")
            .args(&[
                "--config",
                &machine.path("dnf.conf"),
                "--refresh",
                "--assumeyes",
            ])
            .args(&["--installroot", &root, "--releasever=1", "install"])
            .args(&["--downloadonly", "--destdir", &packages, package])
            .run()
            .assert_success();
        machine.take("packages", ".rpm")
    }
}

impl PackageSystem for Dnf {
    fn publish(&self, site: &Site, release: Release) {
        self.build_rpm(release);
        let names = match self.names {
            Names::Plain => "--simple-md-filenames",
            Names::ByDigest => "--unique-md-filenames",
        };
        Tool::new("createrepo_c", "createrepo-c", self.folder.path())
            .args(&["--no-database", "--quiet", names, "repo"])
            .run()
            .assert_success();
        let folder = self.folder.path().join("repo");
        site.mirror.put_folder("/repo", &folder, release);
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        Self::download(machine, "tiny")
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        Some(Self::download(machine, "tiny-1.0"))
    }

    fn package_path(&self, release: Release) -> String {
        format!("/repo/noarch/tiny-{}-1.noarch.rpm", release.version())
    }

    fn is_index(&self, path: &str) -> bool {
        match self.names {
            Names::Plain => path.starts_with("/repo/repodata/"),
            Names::ByDigest => path.ends_with("/repomd.xml"),
        }
    }
}

#[test]
fn dnf_fixture_works_without_millpond() {
    for names in [Names::Plain, Names::ByDigest] {
        follow_update_directly(&Dnf::new(names));
    }
}

#[test]
fn dnf_follows_update_through_proxy() {
    follow_update(&Dnf::new(Names::ByDigest), Route::Proxy);
}

#[test]
fn dnf_follows_update_by_url_prefix() {
    follow_update(&Dnf::new(Names::ByDigest), Route::UrlPrefix);
}

#[test]
fn dnf_plain_names_follow_update_through_proxy() {
    follow_update(&Dnf::new(Names::Plain), Route::Proxy);
}

#[test]
fn dnf_plain_names_follow_update_by_url_prefix() {
    follow_update(&Dnf::new(Names::Plain), Route::UrlPrefix);
}

#[test]
fn dnf_follows_update_by_host_name() {
    follow_update(&Dnf::new(Names::ByDigest), Route::HostName);
}
