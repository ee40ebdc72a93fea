//! `pacman` with a repository whose database is replaced under one name. It validates the database
//! with `If-Modified-Since`. An earlier release is installed by the URL of its file.

use super::archives::{gzip, tar_gz};
use super::mirror::Release;
use super::stage::{Machine, PackageSystem, Route, Site, follow_update, follow_update_directly};
use crate::harness::{Body, sha256};

const REPOSITORY: &str = "/core/os/x86_64";

struct Pacman;

impl Pacman {
    fn run(machine: &Machine, args: &[&str]) {
        for name in ["db/none", "cache/none", "root/none"] {
            machine.write(name, "");
        }
        machine.write(
            "pacman.conf",
            &format!(
                "[options]\nRootDir = {0}/root\nDBPath = {0}/db\nCacheDir = {0}/cache\n\
                 LogFile = {0}/log\nGPGDir = {0}/gpg\nHookDir = {0}/hooks\n\
                 Architecture = x86_64\nSigLevel = Never\nLocalFileSigLevel = Never\n\
                 RemoteFileSigLevel = Never\n\n[core]\nServer = {1}\n",
                machine.folder().display(),
                machine.url("/$repo/os/$arch")
            ),
        );
        machine
            .root_tool("pacman", "pacman-package-manager")
            .args(&["--config", &machine.path("pacman.conf"), "--noconfirm"])
            .args(args)
            .run()
            .assert_success();
    }
}

impl PackageSystem for Pacman {
    fn publish(&self, site: &Site, release: Release) {
        let package = package(release);
        site.put(&self.package_path(release), &package, release);
        let version = release.version();
        let description = format!(
            "%FILENAME%\n{}\n\n%NAME%\ntiny\n\n%VERSION%\n{version}-1\n\n%CSIZE%\n{}\n\n\
             %ISIZE%\n4\n\n%SHA256SUM%\n{}\n\n%ARCH%\nany\n\n%BUILDDATE%\n1704067200\n\n",
            file_name(release),
            package.len(),
            sha256(&package)
        );
        let entry = format!("tiny-{version}-1/desc");
        let database = tar_gz(&[(&entry, description.as_bytes())]);
        site.put(&format!("{REPOSITORY}/core.db"), &database, release);
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        Self::run(machine, &["-Syw", "tiny"]);
        machine.take("cache", ".pkg.tar.gz")
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        let url = machine.url(&self.package_path(Release::First));
        Self::run(machine, &["-Uw", &url]);
        Some(machine.take("cache", ".pkg.tar.gz"))
    }

    fn package_path(&self, release: Release) -> String {
        format!("{REPOSITORY}/{}", file_name(release))
    }

    fn is_index(&self, path: &str) -> bool {
        path.ends_with("/core.db")
    }
}

fn file_name(release: Release) -> String {
    format!("tiny-{}-1-any.pkg.tar.gz", release.version())
}

fn package(release: Release) -> Body {
    let information = format!(
        "pkgname = tiny\npkgbase = tiny\npkgver = {}-1\npkgdesc = Test\n\
         builddate = 1704067200\nsize = 4\narch = any\n",
        release.version()
    );
    let tree = gzip(b"#mtree\n");
    tar_gz(&[
        (".PKGINFO", information.as_bytes()),
        (".MTREE", &tree),
        ("usr/share/tiny", release.version().as_bytes()),
    ])
}

#[test]
fn pacman_fixture_works_without_millpond() {
    follow_update_directly(&Pacman);
}

#[test]
fn pacman_follows_update_through_proxy() {
    follow_update(&Pacman, Route::Proxy);
}

#[test]
fn pacman_follows_update_by_url_prefix() {
    follow_update(&Pacman, Route::UrlPrefix);
}
