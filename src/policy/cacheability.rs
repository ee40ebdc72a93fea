//! The built-in table of what is kept: names that mean the same bytes for ever, and names that do
//! not.

use crate::model::Target;

use super::Class;
use super::mutability::Mutability;

/// Endings of names that are published once.
const IMMUTABLE_SUFFIXES: [&str; 41] = [
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

pub fn class_of(target: &Target) -> Class {
    // A signed or authenticated answer belongs to whoever asked for it.
    if target.has_credentials() || target.is_signed() {
        return Class::PassThrough;
    }
    if Mutability::of(target).is_some() {
        return Class::PassThrough;
    }
    let path = target.path().to_ascii_lowercase();
    let path = path.strip_suffix("/download").unwrap_or(&path);
    let name = path.rsplit('/').next().unwrap_or_default();
    if IMMUTABLE_SUFFIXES
        .iter()
        .any(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
        || is_forge_archive(path)
    {
        return Class::Immutable;
    }
    Class::PassThrough
}

/// The forges' archives without a suffix: `/<owner>/<repository>/tar.gz/<ref>`, `/legacy.tar.gz/`,
/// `/zip/`.
fn is_forge_archive(path: &str) -> bool {
    let mut segments = path.split('/').skip(3);
    let form = segments.next().unwrap_or_default();
    matches!(form, "tar.gz" | "legacy.tar.gz" | "zip" | "legacy.zip")
        && segments.next().is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FileType;

    fn class(path: &str) -> Class {
        class_of(&Target::parse(&format!("https://example.org{path}")).unwrap())
    }

    #[test]
    fn names_of_releases_are_frozen() {
        for path in [
            "/pool/main/l/linux/linux_6.1.176.orig.tar.xz",
            "/x-1.0.tar.gz",
            "/X-1.0.TAR.GZ",
            "/main/head/trunk/x-1.0.zip",
            "/repo.git/snapshot/repo-1.0.tar.gz",
            "/owner/repo/archive/refs/tags/v1.0.tar.gz",
            "/owner/repo/tar.gz/v1.0",
            "/owner/repo/legacy.tar.gz/0123abc",
            "/projects/x/files/x-1.0.tar.gz/download",
            "/x-1.0.tar.gz.asc",
            "/0001-fix.patch",
            "/x-1.0.tar.gz?download=1",
        ] {
            assert_eq!(class(path), Class::Immutable, "{path}");
        }
    }

    #[test]
    fn whatever_is_kept_by_its_name_is_held_against_it() {
        for suffix in IMMUTABLE_SUFFIXES {
            assert_ne!(
                FileType::of_path(&format!("/x-1.0{suffix}")),
                FileType::Unchecked,
                "{suffix}"
            );
        }
    }

    #[test]
    fn names_that_mean_something_else_tomorrow_are_passed() {
        for path in [
            "/",
            "/index.html",
            "/x.tar.gz/",
            "/owner/repo/archive/refs/heads/main.tar.gz",
            "/owner/repo/archive/master.zip",
            "/group/repo/-/archive/master/repo-master.tar.gz",
            "/owner/repo/tar.gz/main",
            "/owner/repo/releases/latest/download/x.tar.gz",
            "/x-latest.tar.gz",
            "/nightly/x-1.0.tar.gz",
            "/debian/dists/stable/main/source/Sources.xz",
            "/.gz",
            "/x-1.0.tar.gz?X-Amz-Signature=abc",
            "/x-1.0.tar.gz?private_token=abc",
        ] {
            assert_eq!(class(path), Class::PassThrough, "{path}");
        }
    }
}
