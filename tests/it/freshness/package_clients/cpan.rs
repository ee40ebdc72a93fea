//! `cpanm` with a CPAN mirror, whose index is `modules/02packages.details.txt.gz`. An earlier
//! release is installed by its path below `authors/id`.

use super::archives::{gzip, tar_gz};
use super::mirror::Release;
use super::stage::{Machine, PackageSystem, Route, Site, follow_update, follow_update_directly};
use crate::harness::Body;

struct Cpan;

impl Cpan {
    fn install(machine: &Machine, module: &str) -> Body {
        machine
            .tool("cpanm", "cpanminus")
            .args(&["--mirror", &machine.url("/cpan"), "--mirror-only"])
            .args(&["--notest", "--no-man-pages", "--local-lib-contained", "lib"])
            .args(&["--save-dists", "dists", "--reinstall", module])
            .env("PERL_CPANM_HOME", &machine.path("cpanm"))
            .run()
            .assert_success();
        let library = machine.take("lib", "/Tiny.pm");
        let dist = machine.take("dists", ".tar.gz");
        let version = String::from_utf8_lossy(&library).into_owned();
        let release = [Release::First, Release::Second]
            .into_iter()
            .find(|release| version.contains(&format!("'{}'", release.version())));
        assert_eq!(release.map(distribution), Some(dist.clone()), "{version}");
        dist
    }
}

impl PackageSystem for Cpan {
    fn publish(&self, site: &Site, release: Release) {
        site.put(&self.package_path(release), &distribution(release), release);
        let version = release.version();
        let index = format!(
            "File: 02packages.details.txt\nURL: http://example.org/\nDescription: Test\n\
             Columns: package name, version, path\nIntended-For: Automated fetch routines\n\
             Written-By: Test\nLine-Count: 1\nLast-Updated: Mon, 01 Jan 2024 00:00:00 GMT\n\n\
             Tiny {version} T/TE/TEST/Tiny-{version}.tar.gz\n"
        );
        let index = gzip(index.as_bytes());
        site.put("/cpan/modules/02packages.details.txt.gz", &index, release);
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        Self::install(machine, "Tiny")
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        Some(Self::install(machine, "T/TE/TEST/Tiny-1.0.tar.gz"))
    }

    fn package_path(&self, release: Release) -> String {
        let version = release.version();
        format!("/cpan/authors/id/T/TE/TEST/Tiny-{version}.tar.gz")
    }

    fn is_index(&self, path: &str) -> bool {
        path.starts_with("/cpan/modules/")
    }
}

fn distribution(release: Release) -> Body {
    let version = release.version();
    let folder = format!("Tiny-{version}");
    let path = |name: &str| format!("{folder}/{name}");
    let makefile = "use ExtUtils::MakeMaker;\n\
                    WriteMakefile(NAME => 'Tiny', VERSION_FROM => 'lib/Tiny.pm');\n";
    let module = format!("package Tiny;\nour $VERSION = '{version}';\n1;\n");
    tar_gz(&[
        (&path("MANIFEST"), b"MANIFEST\nMakefile.PL\nlib/Tiny.pm\n"),
        (&path("Makefile.PL"), makefile.as_bytes()),
        (&path("lib/Tiny.pm"), module.as_bytes()),
    ])
}

#[test]
fn cpanm_fixture_works_without_millpond() {
    follow_update_directly(&Cpan);
}

#[test]
fn cpanm_follows_update_through_proxy() {
    follow_update(&Cpan, Route::Proxy);
}

#[test]
fn cpanm_follows_update_by_url_prefix() {
    follow_update(&Cpan, Route::UrlPrefix);
}
