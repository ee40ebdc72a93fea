//! Recognition of the index names of package systems.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::index_table::{FORMS, Form, System};
use super::version_marks::is_dated;

/// Suffixes of compressed files. Containers (`.tar`, `.zip`, `.jar`) are part of a name.
const COMPRESSIONS: [&str; 11] = [
    ".gz", ".xz", ".bz2", ".zst", ".lzma", ".lz", ".lz4", ".zck", ".br", ".z", ".rz",
];

/// Hex digits of the shortest digest that may precede a name (MD5).
const MIN_DIGEST_HEX: usize = 32;

/// Systems by those names that need no folder and have no variable part.
static EXACT_NAMES: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let exact = FORMS.iter().filter_map(|(system, form)| match form {
        Form::Name(name) => Some((*name, *system)),
        _ => None,
    });
    exact.collect()
});

/// The other rows of the table, in order.
static PATTERNS: LazyLock<Vec<&(&str, Form)>> = LazyLock::new(|| {
    FORMS
        .iter()
        .filter(|(_, form)| !matches!(form, Form::Name(_)))
        .collect()
});

/// Returns the system whose index has this name.
///
/// `folder` is the path before the name. Both are in lower case.
pub fn find_system(folder: &str, name: &str) -> Option<System> {
    let plain = COMPRESSIONS
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    if let Some(system) = EXACT_NAMES.get(plain) {
        return Some(System(system));
    }
    let row = PATTERNS.iter().find(|(_, form)| match *form {
        Form::Name(index) => plain == index,
        Form::Around(start, end) => is_around(plain, start, end),
        Form::In(parent, index) => plain == index && ends_with_folder(folder, parent),
        Form::Folder(parent) => {
            !name.is_empty() && ends_with_folder(folder, parent) && !begins_with_digest(name)
        }
        Form::Project(parent) => is_project(folder, name, parent),
        Form::Sparse => is_sparse(folder, name),
    });
    row.map(|(system, _)| System(system))
}

fn is_around(name: &str, start: &str, end: &str) -> bool {
    let middle = name
        .strip_prefix(start)
        .and_then(|rest| rest.strip_suffix(end))
        .unwrap_or_default();
    !middle.is_empty() && !middle.contains('.') && !is_dated(middle)
}

fn ends_with_folder(path: &str, folder: &str) -> bool {
    path.strip_suffix(folder)
        .is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

fn begins_with_digest(name: &str) -> bool {
    name.bytes().take_while(u8::is_ascii_hexdigit).count() >= MIN_DIGEST_HEX
}

/// Returns whether a path is `<parent>/`, `<parent>/<project>` or `<parent>/<project>/`.
fn is_project(folder: &str, name: &str, parent: &str) -> bool {
    if name.is_empty() {
        let above = folder.rsplit_once('/').map_or("", |(above, _)| above);
        return ends_with_folder(folder, parent) || ends_with_folder(above, parent);
    }
    !name.contains('.') && ends_with_folder(folder, parent)
}

/// Returns whether the folders of a name are its first letters. Names of three letters and fewer
/// have a folder for their length.
fn is_sparse(folder: &str, name: &str) -> bool {
    if !name.is_ascii() || name.contains('.') || begins_with_digest(name) {
        return false;
    }
    match name.len() {
        0 => false,
        1 | 2 => ends_with_folder(folder, if name.len() == 1 { "1" } else { "2" }),
        3 => ends_with_folder(folder, &format!("3/{}", &name[..1])),
        _ => ends_with_folder(folder, &format!("{}/{}", &name[..2], &name[2..4])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_each_name_once() {
        let names = FORMS
            .iter()
            .filter(|(_, form)| matches!(form, Form::Name(_)));
        assert_eq!(names.count(), EXACT_NAMES.len());
    }

    #[test]
    fn patterns_match_their_folders_only() {
        for (folder, name, system) in [
            ("/simple", "", Some("PyPI")),
            ("/simple", "foo", Some("PyPI")),
            ("/simple/foo", "", Some("PyPI")),
            ("/simple/foo", "foo-1.0.tar.gz", None),
            ("/simple/foo/bar", "", None),
            ("/index/se/rd", "serde", Some("cargo")),
            ("/index/3/f", "foo", Some("cargo")),
            ("/index/1", "a", Some("cargo")),
            ("/pool/se/rd", "serde-1.0.tar.gz", None),
            ("/pool/se/rd", "other", None),
            ("/os/repodata", "primary.xml.gz", Some("rpm-md")),
            ("/os", "primary.xml.gz", None),
            ("", "", None),
        ] {
            let found = find_system(folder, name).map(|system| system.to_string());
            assert_eq!(found.as_deref(), system, "{folder}/{name}");
        }
    }
}
