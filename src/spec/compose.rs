//! URLs that macros of distributions compose of several values.
//!
//! The main function is [`compose`].

use super::bounded_text::TextBound;
use super::forge::{ForgeArchive, ForgeFacts};

/// Third part of a version from which KDE calls it unstable.
const FIRST_UNSTABLE_PATCH: u32 = 70;

/// Composes a text of fields that are separated by `|`. The first field is the kind. `None` means
/// that the values do not suffice.
pub fn compose(fields: &str) -> Option<String> {
    let fields: Vec<&str> = fields.split('|').map(str::trim).collect();
    match fields[..] {
        ["crate", base, name, version] => {
            let version = version.replace('~', "-");
            let base = base.trim_end_matches('/');
            Some(format!(
                "{base}/{name}/{version}/download#/{name}-{version}.crate"
            ))
        }
        ["pypi", base, name, version, suffix] => {
            let first = name.chars().next()?;
            let (base, version) = (base.trim_end_matches('/'), version.replace('~', ""));
            Some(format!("{base}/{first}/{name}/{name}-{version}.{suffix}"))
        }
        [
            kind @ ("forge" | "archive"),
            url,
            tag,
            commit,
            branch,
            version,
            suffix,
        ] => {
            let archive = ForgeArchive::new(&ForgeFacts {
                url,
                tag,
                commit,
                branch,
                version,
                suffix,
            })?;
            Some(if kind == "forge" {
                archive.source()
            } else {
                archive.name
            })
        }
        ["stability", version] => {
            let patch = version.split('.').nth(2).and_then(|part| part.parse().ok());
            let is_unstable = patch.is_some_and(|patch: u32| patch >= FIRST_UNSTABLE_PATCH);
            Some(if is_unstable { "unstable" } else { "stable" }.to_owned())
        }
        ["parts", version, count] => {
            let parts = version.split('.').take(count.parse().ok()?);
            Some(parts.collect::<Vec<_>>().join("."))
        }
        ["no_tilde", version, by] => TextBound::LINE.replace(version, "~", by, usize::MAX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_forms_of_distributions() {
        for (fields, expected) in [
            (
                "crate|https://crates.example.org/v1/|x|1.0.0~rc.1",
                Some("https://crates.example.org/v1/x/1.0.0-rc.1/download#/x-1.0.0-rc.1.crate"),
            ),
            (
                "pypi|https://pypi.example.org/source/|Xy|1.0~b1|zip",
                Some("https://pypi.example.org/source/X/Xy/Xy-1.0b1.zip"),
            ),
            (
                "forge|https://github.example.org/o/x|v1.2|||1.2|",
                Some("https://github.example.org/o/x/archive/v1.2/x-1.2.tar.gz"),
            ),
            (
                "archive|https://gitlab.example.org/g/x||||1.2|zip",
                Some("x-1.2"),
            ),
            ("forge|https://example.org/o/x||||1.2|", None),
            ("stability|6.1.80", Some("unstable")),
            ("stability|6.1.3", Some("stable")),
            ("parts|6.1.3|2", Some("6.1")),
            ("no_tilde|1.0~rc1|-", Some("1.0-rc1")),
        ] {
            assert_eq!(compose(fields).as_deref(), expected, "{fields}");
        }
    }
}
