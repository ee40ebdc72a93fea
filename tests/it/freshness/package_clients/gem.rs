//! `gem` with the index of compressed lists (`specs.4.8.gz`). It validates them with the date of
//! its own file in `If-Modified-Since`, which is later than the origin's `Last-Modified`.

use tempfile::TempDir;

use super::mirror::Release;
use super::stage::{Machine, PackageSystem, Route, Site, follow_update, follow_update_directly};
use crate::harness::{Body, Tool};

/// Ruby's own format of serialized objects is written by Ruby.
const INDEX_SCRIPT: &str = r#"
require "rubygems/package"
specs = ARGV.map { |version| Gem::Package.new("site/gems/tiny-#{version}.gem").spec }
lists = { "specs" => specs, "latest_specs" => specs.last(1), "prerelease_specs" => [] }
lists.each do |name, listed|
  rows = listed.map { |spec| [spec.name, spec.version, "ruby"] }
  Gem::Util.gzip(Marshal.dump(rows)).then { |data| File.binwrite("site/#{name}.4.8.gz", data) }
end
specs.each do |spec|
  data = Gem::deflate(Marshal.dump(spec))
  File.binwrite("site/quick/Marshal.4.8/#{spec.full_name}.gemspec.rz", data)
end
"#;

struct Gem {
    folder: TempDir,
}

impl Gem {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for name in ["site/gems", "site/quick/Marshal.4.8"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("a folder can be made");
        }
        Self { folder }
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).expect("the folder can be written");
    }

    fn build(&self, release: Release) {
        let version = release.version();
        self.write(
            "tiny.gemspec",
            &format!(
                "Gem::Specification.new {{ |s| s.name = 'tiny'; s.version = '{version}'; \
                 s.summary = 'Test'; s.authors = ['Test']; s.files = [] }}\n"
            ),
        );
        Tool::new("gem", "ruby", self.folder.path())
            .args(&["build", "--force", "tiny.gemspec", "--output"])
            .arg(&format!("site/gems/tiny-{version}.gem"))
            .env("SOURCE_DATE_EPOCH", "1704067200")
            .run()
            .assert_success();
    }

    fn download(machine: &Machine, version: &str) -> Body {
        machine
            .tool("gem", "ruby")
            .args(&["install", "--no-document", "--install-dir", "gems"])
            .args(&["--clear-sources", "--source", &machine.url("/")])
            .args(&["--remote", "tiny", "--version", version])
            .run()
            .assert_success();
        let gem = machine.take("gems/cache", ".gem");
        std::fs::remove_dir_all(machine.folder().join("gems")).expect("gem wrote the folder");
        gem
    }
}

impl PackageSystem for Gem {
    fn publish(&self, site: &Site, release: Release) {
        self.build(release);
        let versions: Vec<_> = release.history().map(Release::version).collect();
        self.write("index.rb", INDEX_SCRIPT);
        Tool::new("ruby", "ruby", self.folder.path())
            .args(&["index.rb"])
            .args(&versions)
            .run()
            .assert_success();
        let folder = self.folder.path().join("site");
        site.mirror.put_folder("", &folder, release);
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        Self::download(machine, ">= 0")
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        Some(Self::download(machine, "1.0"))
    }

    fn package_path(&self, release: Release) -> String {
        format!("/gems/tiny-{}.gem", release.version())
    }

    fn is_index(&self, path: &str) -> bool {
        !path.starts_with("/gems/") && !path.starts_with("/quick/")
    }
}

#[test]
fn gem_fixture_works_without_millpond() {
    follow_update_directly(&Gem::new());
}

#[test]
fn gem_follows_update_through_proxy() {
    follow_update(&Gem::new(), Route::Proxy);
}

#[test]
fn gem_follows_update_by_url_prefix() {
    follow_update(&Gem::new(), Route::UrlPrefix);
}

#[test]
fn gem_follows_update_through_interception() {
    follow_update(&Gem::new(), Route::Intercepted);
}
