//! The built-in table of what is kept: names that mean the same bytes for ever, and names that do not.

use crate::model::Target;

use super::rules::Class;

/// Endings of names that are published once.
const FROZEN_SUFFIXES: [&str; 41] = [
    ".tar",
    ".tgz",
    ".tbz",
    ".tbz2",
    ".txz",
    ".tzst",
    ".zip",
    ".7z",
    ".gz",
    ".bz2",
    ".xz",
    ".zst",
    ".lz",
    ".lzma",
    ".z",
    ".jar",
    ".whl",
    ".gem",
    ".crate",
    ".deb",
    ".udeb",
    ".dsc",
    ".rpm",
    ".apk",
    ".egg",
    ".nupkg",
    ".iso",
    ".cab",
    ".patch",
    ".diff",
    ".sig",
    ".asc",
    ".sign",
    ".minisig",
    ".md5",
    ".sha1",
    ".sha256",
    ".sha512",
    ".md5sum",
    ".sha256sum",
    ".sha512sum",
];

/// Path segments that stand for something else tomorrow.
const MUTABLE_SEGMENTS: [&str; 8] = ["latest", "head", "main", "master", "trunk", "nightly", "snapshot", "snapshots"];

/// File names that are indexes of a place, whatever their ending.
const MUTABLE_NAMES: [&str; 14] = [
    "packages.gz",
    "packages.xz",
    "packages.bz2",
    "packages.zst",
    "sources.gz",
    "sources.xz",
    "sources.bz2",
    "apkindex.tar.gz",
    "contents.gz",
    "repomd.xml.asc",
    "01-index.tar.gz",
    "index.tar.gz",
    "release.gpg",
    "ls-lr.gz",
];

pub fn class_of(target: &Target) -> Class {
    // A signed or authenticated answer belongs to whoever asked for it.
    if target.has_credentials() || target.is_signed() {
        return Class::Passed;
    }
    let path = target.path().to_ascii_lowercase();
    let path = path.strip_suffix("/download").unwrap_or(&path);
    let name = path.rsplit('/').next().unwrap_or_default();
    if is_mutable(path, name) {
        return Class::Passed;
    }
    if FROZEN_SUFFIXES.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix)) || is_generated(path) {
        return Class::Frozen;
    }
    Class::Passed
}

fn is_mutable(path: &str, name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    path.contains("/refs/heads/")
        || path.split('/').any(|segment| MUTABLE_SEGMENTS.contains(&segment))
        || MUTABLE_SEGMENTS.contains(&stem)
        || MUTABLE_NAMES.contains(&name)
}

/// The forges' archives without a suffix: `/<owner>/<repository>/tar.gz/<ref>`, `/legacy.tar.gz/`, `/zip/`.
fn is_generated(path: &str) -> bool {
    let mut segments = path.split('/').skip(3);
    let form = segments.next().unwrap_or_default();
    matches!(form, "tar.gz" | "legacy.tar.gz" | "zip" | "legacy.zip")
        && segments.next().is_some_and(|name| !name.is_empty())
}
