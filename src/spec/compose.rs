//! URLs that macros of distributions compose of several values.
//!
//! The main function is [`compose`].

use super::bounded_text::TextBound;

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
        ["forge", url, tag, commit, version, suffix] => {
            let reference = ArchiveRef::new(tag, commit, version)?;
            forge_archive(url.trim_end_matches('/'), &reference, suffix)
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

/// Tag or commit of an archive.
struct ArchiveRef {
    name: String,
    is_commit: bool,
}

impl ArchiveRef {
    fn new(tag: &str, commit: &str, version: &str) -> Option<Self> {
        let (name, is_commit) = match (tag, commit, version) {
            ("", "", "") => return None,
            ("", "", version) => (format!("v{}", version.replace('~', "-")), false),
            ("", commit, _) => (commit.to_owned(), true),
            (tag, ..) => (tag.to_owned(), false),
        };
        Some(Self { name, is_commit })
    }

    /// Returns the reference in a file name.
    fn in_file(&self) -> String {
        self.name.replace('/', "-")
    }

    /// Returns the reference in a file name, without the `v` in front of a number.
    fn without_v(&self) -> String {
        let name = self.in_file();
        match name.strip_prefix('v') {
            Some(rest) if !self.is_commit && rest.starts_with(|c: char| c.is_ascii_digit()) => {
                rest.to_owned()
            }
            _ => name,
        }
    }
}

/// Returns the archive that a forge makes of a reference, by the forms of known forges. The name of
/// the host identifies the forge.
fn forge_archive(url: &str, reference: &ArchiveRef, suffix: &str) -> Option<String> {
    let (host, path) = url.split_once("://")?.1.split_once('/')?;
    let path = path.strip_suffix(".git").unwrap_or(path);
    let url = url.strip_suffix(".git").unwrap_or(url);
    let repository = path.rsplit('/').next()?;
    let has_label = |label: &str| host.split('.').any(|found| found == label);
    let (name, of) = (&reference.name, |default| {
        if suffix.is_empty() { default } else { suffix }
    });
    if has_label("github") || has_label("codeberg") || has_label("gitea") {
        // A module of Go may be a folder of the repository.
        let root: Vec<&str> = path.split('/').take(2).collect();
        let [owner, repository] = root[..] else {
            return None;
        };
        let (scheme, file, suffix) = (
            url.split("://").next()?,
            reference.without_v(),
            of("tar.gz"),
        );
        return Some(if has_label("github") {
            format!(
                "{scheme}://{host}/{owner}/{repository}/archive/{name}/\
                 {repository}-{file}.{suffix}"
            )
        } else {
            format!(
                "{scheme}://{host}/{owner}/{repository}/archive/{name}.{suffix}\
                 #/{repository}-{file}.{suffix}"
            )
        });
    }
    let file = reference.in_file();
    if has_label("gitlab") {
        let suffix = of("tar.bz2");
        return Some(format!(
            "{url}/-/archive/{name}/{repository}-{file}.{suffix}"
        ));
    }
    if has_label("bitbucket") {
        let suffix = of("tar.bz2");
        return Some(format!(
            "{url}/get/{name}.{suffix}#/{repository}-{file}.{suffix}"
        ));
    }
    if has_label("pagure") {
        let suffix = of("tar.gz");
        return Some(format!("{url}/archive/{name}/{repository}-{file}.{suffix}"));
    }
    if has_label("sr") {
        let suffix = of("tar.gz");
        return Some(format!(
            "{url}/archive/{name}.{suffix}#/{repository}-{file}.{suffix}"
        ));
    }
    None
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
                "forge|https://github.example.org/o/x|||1.2|",
                Some("https://github.example.org/o/x/archive/v1.2/x-1.2.tar.gz"),
            ),
            (
                "forge|https://github.example.org/o/x/v2/sub|||1.2|",
                Some("https://github.example.org/o/x/archive/v1.2/x-1.2.tar.gz"),
            ),
            (
                "forge|https://gitlab.example.org/g/sub/x|rel/1||1.2|",
                Some("https://gitlab.example.org/g/sub/x/-/archive/rel/1/x-rel-1.tar.bz2"),
            ),
            (
                "forge|https://github.example.org/o/x||abc123|1.2|zip",
                Some("https://github.example.org/o/x/archive/abc123/x-abc123.zip"),
            ),
            ("forge|https://example.org/o/x|||1.2|", None),
            ("stability|6.1.80", Some("unstable")),
            ("stability|6.1.3", Some("stable")),
            ("parts|6.1.3|2", Some("6.1")),
            ("no_tilde|1.0~rc1|-", Some("1.0-rc1")),
        ] {
            assert_eq!(compose(fields).as_deref(), expected, "{fields}");
        }
    }
}
