//! `apt-get` with a signed repository, with and without indexes by digest (`Acquire-By-Hash`). It
//! validates `InRelease` with `If-Modified-Since` and `Cache-Control: max-age=0`.

use std::fmt::Write as _;
use std::path::PathBuf;

use md5::{Digest as _, Md5};
use tempfile::TempDir;

use super::archives::gzip;
use super::mirror::Release;
use super::stage::{Machine, PackageSystem, Route, Site, follow_update, follow_update_directly};
use crate::harness::{Body, Tool, marked, sha256};

const SUITE: &str = "/debian/dists/stable";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Indexes {
    ByName,
    ByDigest,
}

struct Apt {
    indexes: Indexes,
    key: SigningKey,
}

impl Apt {
    fn new(indexes: Indexes) -> Self {
        let key = SigningKey::new();
        Self { indexes, key }
    }

    /// Runs `apt-get` with a configuration below the machine's folder.
    fn run(&self, machine: &Machine, args: &[&str]) {
        let folder = machine.path("apt");
        let keyring = self.key.public_file();
        let source = format!(
            "deb [signed-by={} arch=amd64] {} stable main\n",
            keyring.display(),
            machine.url("/debian")
        );
        machine.write("apt/etc/apt/sources.list", &source);
        machine.write(
            "apt.conf",
            &format!(
                "Dir \"{folder}\";\nDir::State::status \"{folder}/status\";\n\
                 Dir::Bin::Methods \"/usr/lib/apt/methods\";\nAPT::Architecture \"amd64\";\n\
                 APT::Sandbox::User \"\";\nAcquire::Languages {{ \"en\"; }};\n\
                 Acquire::Retries \"0\";\n"
            ),
        );
        for name in [
            "status",
            "etc/apt/apt.conf.d/none",
            "etc/apt/preferences.d/none",
            "var/lib/apt/lists/partial/none",
            "var/cache/apt/archives/partial/none",
        ] {
            machine.write(&format!("apt/{name}"), "");
        }
        machine
            .tool("apt-get", "apt")
            .env("APT_CONFIG", &machine.path("apt.conf"))
            .args(args)
            .run()
            .assert_success();
    }
}

impl PackageSystem for Apt {
    fn publish(&self, site: &Site, release: Release) {
        let mut packages = String::new();
        let mut descriptions = String::new();
        for release in release.history() {
            let deb = deb(release);
            site.put(&self.package_path(release), &deb, release);
            packages += &stanza(release, &deb);
            writeln!(
                descriptions,
                "Package: tiny\nDescription-md5: {}\nDescription-en: {}\n",
                description_md5(release),
                description(release)
            )
            .expect("a string can be written");
        }
        let files = [
            ("main/binary-amd64/Packages", packages),
            ("main/i18n/Translation-en", descriptions),
        ];
        let mut index = format!(
            "Origin: Test\nSuite: stable\nCodename: stable\nArchitectures: amd64\n\
             Components: main\nDate: Mon, 0{} Jan 2024 00:00:00 UTC\n",
            release.seed()
        );
        if self.indexes == Indexes::ByDigest {
            index += "Acquire-By-Hash: yes\n";
        }
        index += "SHA256:\n";
        for (name, content) in &files {
            let packed = gzip(content.as_bytes());
            let digest = sha256(&packed);
            site.put(&format!("{SUITE}/{name}.gz"), &packed, release);
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let by_digest = format!("{SUITE}/{folder}/by-hash/SHA256/{digest}");
            site.put(&by_digest, &packed, release);
            // The plain file is listed, and not published, as on the mirrors of Debian.
            let plain = sha256(content.as_bytes());
            writeln!(index, " {digest} {} {name}.gz", packed.len())
                .and_then(|()| writeln!(index, " {plain} {} {name}", content.len()))
                .expect("a string can be written");
        }
        let signed = self.key.sign(&index);
        site.put(&format!("{SUITE}/InRelease"), &signed, release);
    }

    fn download_newest(&self, machine: &Machine) -> Body {
        self.run(machine, &["update"]);
        self.run(machine, &["download", "tiny"]);
        machine.take(".", ".deb")
    }

    fn download_first(&self, machine: &Machine) -> Option<Body> {
        self.run(machine, &["download", "tiny=1.0"]);
        Some(machine.take(".", ".deb"))
    }

    fn package_path(&self, release: Release) -> String {
        let version = release.version();
        format!("/debian/pool/main/t/tiny/tiny_{version}_amd64.deb")
    }

    fn is_index(&self, path: &str) -> bool {
        path.starts_with(SUITE) && !path.contains("/by-hash/")
    }
}

fn deb(release: Release) -> Body {
    marked(b"!<arch>\ndebian-binary   ", release.seed(), 20_000)
}

fn description(release: Release) -> String {
    format!("tiny package, release {}", release.version())
}

fn description_md5(release: Release) -> String {
    hex::encode(Md5::digest(description(release) + "\n"))
}

fn stanza(release: Release, deb: &[u8]) -> String {
    let version = release.version();
    format!(
        "Package: tiny\nVersion: {version}\nArchitecture: amd64\n\
         Maintainer: Test <test@example.org>\nDescription: {}\nDescription-md5: {}\n\
         Filename: pool/main/t/tiny/tiny_{version}_amd64.deb\nSize: {}\nSHA256: {}\n\n",
        description(release),
        description_md5(release),
        deb.len(),
        sha256(deb)
    )
}

/// An OpenPGP key without a passphrase. Its agent ends with it.
struct SigningKey {
    home: TempDir,
}

impl SigningKey {
    fn new() -> Self {
        let key = Self {
            home: tempfile::tempdir().expect("a folder can be made"),
        };
        let user = "test@example.org";
        let generate = ["--quick-gen-key", user, "ed25519", "sign", "never"];
        key.gpg().args(&generate).run().assert_success();
        let public = key.public_file();
        let public = public.to_str().expect("the path is text");
        let export = ["--output", public, "--export", user];
        key.gpg().args(&export).run().assert_success();
        key
    }

    fn gpg(&self) -> Tool {
        let home = self.home.path();
        Tool::new("gpg", "gpg gpg-agent", home)
            .args(&["--homedir", home.to_str().expect("the path is text")])
            .args(&["--batch", "--yes", "--pinentry-mode", "loopback"])
            .args(&["--passphrase", ""])
    }

    fn public_file(&self) -> PathBuf {
        self.home.path().join("public.gpg")
    }

    /// Returns the text with a signature around it.
    fn sign(&self, text: &str) -> Vec<u8> {
        let file = self.home.path().join("text");
        std::fs::write(&file, text).expect("the folder can be written");
        let sign = ["--output", "text.asc", "--clear-sign", "text"];
        self.gpg().args(&sign).run().assert_success();
        std::fs::read(self.home.path().join("text.asc")).expect("gpg wrote the file")
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        let home = self.home.path().to_str().expect("the path is text");
        Tool::new("gpgconf", "gpgconf", self.home.path())
            .args(&["--homedir", home, "--kill", "all"])
            .run();
    }
}

#[test]
fn apt_fixture_works_without_millpond() {
    for indexes in [Indexes::ByName, Indexes::ByDigest] {
        follow_update_directly(&Apt::new(indexes));
    }
}

#[test]
fn apt_follows_update_through_proxy() {
    follow_update(&Apt::new(Indexes::ByName), Route::Proxy);
}

#[test]
fn apt_follows_update_by_url_prefix() {
    follow_update(&Apt::new(Indexes::ByName), Route::UrlPrefix);
}

#[test]
fn apt_by_hash_follows_update_through_proxy() {
    follow_update(&Apt::new(Indexes::ByDigest), Route::Proxy);
}

#[test]
fn apt_by_hash_follows_update_by_url_prefix() {
    follow_update(&Apt::new(Indexes::ByDigest), Route::UrlPrefix);
}

#[test]
fn apt_follows_update_by_host_name() {
    follow_update(&Apt::new(Indexes::ByName), Route::HostName);
}
