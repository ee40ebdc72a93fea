//! Package systems of operating systems whose clients are not in Debian, and Nix. Each test sends
//! the fields of the real client, and validates as that one does.

use super::archives::{gzip, tar_gz};
use super::mirror::Release;
use super::recorded::{Naming, Requests, Validation, follow, lines, suffix, text};
use crate::harness::{Body, marked};

const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";

fn version(release: Release) -> String {
    release.version().to_owned()
}

/// Nix 2.8 with a channel of a mirror. Each release has the same file name in its own folder.
fn nix() -> Requests {
    fn content(path: &str, _: &str, release: Release) -> Body {
        let version = release.version();
        if path == "/channels/tiny" {
            return text(&format!("<!DOCTYPE html>\n<title>tiny {version}</title>\n"));
        }
        if path.ends_with("/git-revision") {
            return text(&format!("{version}-0123456789abcdef\n"));
        }
        marked(XZ_MAGIC, release.seed(), 2000)
    }
    Requests {
        fields: &[("User-Agent", "curl/7.85.0 Nix/2.8.0"), ("Accept", "*/*")],
        validation: Validation::None,
        naming: Naming::Constant,
        indexes: &[
            "/channels/tiny",
            "/channels/tiny/nixexprs.tar.xz",
            "/channels/tiny/git-revision",
        ],
        mark: version,
        packages: |release| {
            vec![format!(
                "/releases/tiny-{}/nixexprs.tar.xz",
                release.version()
            )]
        },
        content,
    }
}

#[test]
fn nix_channel_follows_update() {
    follow(nix);
}

/// opkg of OpenWrt, which fetches with `uclient-fetch` and checks `Packages.sig`.
fn opkg() -> Requests {
    fn content(path: &str, _: &str, release: Release) -> Body {
        if suffix(path) == "ipk" {
            return tar_gz(&[(
                "./debian-binary",
                format!("{}\n", release.version()).as_bytes(),
            )]);
        }
        if suffix(path) == "sig" {
            let signature = format!("RWQ{:053}", release.seed());
            return text(&format!("untrusted comment: signed by key\n{signature}\n"));
        }
        let packages = lines(release, |version| {
            format!("Package: tiny\nVersion: {version}\nFilename: tiny_{version}_all.ipk\n\n")
        });
        gzip(packages.as_bytes())
    }
    Requests {
        fields: &[("User-Agent", "uclient-fetch")],
        validation: Validation::None,
        naming: Naming::Versioned,
        indexes: &["/openwrt/base/Packages.gz", "/openwrt/base/Packages.sig"],
        mark: |release| format!("Version: {}\n", release.version()),
        packages: |release| vec![format!("/openwrt/base/tiny_{}_all.ipk", release.version())],
        content,
    }
}

#[test]
fn opkg_follows_update() {
    follow(opkg);
}

/// FreeBSD pkg 1.21, which requires `Last-Modified` and sends it back in each later update.
fn freebsd_pkg() -> Requests {
    fn content(path: &str, _: &str, release: Release) -> Body {
        if path.ends_with("meta.conf") {
            let revision = release.seed();
            return text(&format!(
                "version = 2;\npacking_format = \"tzst\"; # {revision}\n"
            ));
        }
        if path.contains("/All/") {
            return marked(ZSTD_MAGIC, release.seed() + 100, 2000);
        }
        let mark = [ZSTD_MAGIC, b"tiny-", release.version().as_bytes()].concat();
        marked(&mark, release.seed(), 2000)
    }
    Requests {
        fields: &[("User-Agent", "pkg/1.21.3"), ("Accept", "*/*")],
        validation: Validation::Date,
        naming: Naming::Versioned,
        indexes: &[
            "/FreeBSD:14:amd64/quarterly/meta.conf",
            "/FreeBSD:14:amd64/quarterly/data.pkg",
            "/FreeBSD:14:amd64/quarterly/packagesite.pkg",
        ],
        mark: |release| format!("tiny-{}", release.version()),
        packages: |release| {
            let version = release.version();
            vec![format!(
                "/FreeBSD:14:amd64/quarterly/All/tiny-{version}.pkg"
            )]
        },
        content,
    }
}

#[test]
fn freebsd_pkg_follows_update() {
    follow(freebsd_pkg);
}
