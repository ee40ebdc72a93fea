//! Recognition of the index names of package systems.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::index_table::{FORMS, Form, System};
use super::version_marks::is_dated;

/// Suffixes of compressed files. Containers (`.tar`, `.zip`, `.jar`) are part of a name.
const COMPRESSIONS: [&str; 11] = [
    "gz", "xz", "bz2", "zst", "lzma", "lz", "lz4", "zck", "br", "z", "rz",
];

/// Hex digits of the shortest digest that may precede a name (MD5).
const MIN_DIGEST_HEX: usize = 32;

/// The table, arranged for a fast search.
static ROWS: LazyLock<IndexRows> = LazyLock::new(IndexRows::new);

/// Row of the table. Rows are ordered as in the table.
type Row = (usize, System, Form);

/// Rows of the table by the part of a name that they need. Few rows are left to compare.
#[derive(Default)]
struct IndexRows {
    /// Systems of names that need no folder and have no variable part.
    exact: HashMap<&'static str, System>,
    /// Names that need a folder.
    in_folder: HashMap<&'static str, Vec<Row>>,
    /// Names with a prefix, by its first byte.
    with_prefix: ByteRows,
    /// Names with a suffix and no prefix, by its last byte.
    with_suffix: ByteRows,
    /// All names in a folder, by the last byte of the folder.
    whole_folders: ByteRows,
    others: Vec<Row>,
}

/// Rows by a byte that a name or its folder must have.
struct ByteRows([Vec<Row>; 256]);

impl Default for ByteRows {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Vec::new()))
    }
}

impl ByteRows {
    /// Returns the rows of a byte. `None` is that of an empty text.
    fn of(&self, byte: Option<&u8>) -> &[Row] {
        byte.map_or(&[], |byte| &self.0[usize::from(*byte)])
    }

    fn entry(&mut self, byte: Option<&u8>) -> &mut Vec<Row> {
        let byte = byte.expect("the table has no empty prefix, suffix or folder");
        &mut self.0[usize::from(*byte)]
    }
}

impl IndexRows {
    fn new() -> Self {
        let mut rows = Self::default();
        for (index, (system, form)) in FORMS.iter().enumerate() {
            let row = (index, System(system), *form);
            let same_kind = match form {
                Form::Name(name) => {
                    rows.exact.insert(*name, System(system));
                    continue;
                }
                Form::In(_, name) => rows.in_folder.entry(*name).or_default(),
                Form::Around("", end) => rows.with_suffix.entry(end.as_bytes().last()),
                Form::Around(start, _) => rows.with_prefix.entry(start.as_bytes().first()),
                Form::Folder(parent) => rows.whole_folders.entry(parent.as_bytes().last()),
                Form::Project(_) | Form::Sparse => &mut rows.others,
            };
            same_kind.push(row);
        }
        rows
    }

    /// Returns the rows that may match a name in a folder, apart from exact names. `plain` is the
    /// name without the suffix of a compression.
    fn candidates(&self, folder: &str, plain: &str) -> impl Iterator<Item = &Row> {
        let in_folder = self.in_folder.get(plain).into_iter().flatten();
        let plain = plain.as_bytes();
        in_folder
            .chain(self.with_prefix.of(plain.first()))
            .chain(self.with_suffix.of(plain.last()))
            .chain(self.whole_folders.of(folder.as_bytes().last()))
            .chain(&self.others)
    }
}

/// Returns the system whose index has this name.
///
/// `folder` is the path before the name. Both are in lower case.
pub fn find_system(folder: &str, name: &str) -> Option<System> {
    let plain = without_compression(name);
    if let Some(system) = ROWS.exact.get(plain) {
        return Some(*system);
    }
    ROWS.candidates(folder, plain)
        .filter(|(_, _, form)| is_index(form, folder, name, plain))
        .min_by_key(|(index, ..)| *index)
        .map(|(_, system, _)| *system)
}

fn without_compression(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((plain, suffix)) if COMPRESSIONS.contains(&suffix) => plain,
        _ => name,
    }
}

/// Returns whether a row matches a name. `plain` is the name without the suffix of a compression.
fn is_index(form: &Form, folder: &str, name: &str, plain: &str) -> bool {
    match *form {
        Form::Name(index) => plain == index,
        Form::Around(start, end) => is_around(plain, start, end),
        Form::In(parent, index) => plain == index && ends_with_folder(folder, parent),
        Form::Folder(parent) => {
            !name.is_empty() && ends_with_folder(folder, parent) && !begins_with_digest(name)
        }
        Form::Project(parent) => is_project(folder, name, parent),
        Form::Sparse => is_sparse(folder, name),
    }
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
        assert_eq!(names.count(), ROWS.exact.len());
    }

    /// Compares a name with all rows of the table, one after another.
    fn find_in_order(folder: &str, name: &str) -> Option<System> {
        let plain = without_compression(name);
        let is_exact = |form: &Form| matches!(form, Form::Name(_));
        let (exact, others): (Vec<_>, Vec<_>) = FORMS.iter().partition(|(_, form)| is_exact(form));
        let mut rows = exact.into_iter().chain(others);
        let row = rows.find(|(_, form)| is_index(form, folder, name, plain));
        row.map(|(system, _)| System(system))
    }

    #[test]
    fn search_finds_first_row_of_table() {
        let digest = "ab".repeat(32);
        let mut names = ["", "1", "abc", "abcdef", "x-1.0", &digest]
            .map(str::to_owned)
            .to_vec();
        let mut folders = ["", "1", "3/a", "ab/cd", "x"].map(str::to_owned).to_vec();
        for (_, form) in FORMS {
            match *form {
                Form::Name(name) => names.push(name.to_owned()),
                Form::Around(start, end) => {
                    names.extend(["a", "2030-01-31"].map(|middle| format!("{start}{middle}{end}")));
                }
                Form::In(parent, name) => {
                    folders.push(parent.to_owned());
                    names.push(name.to_owned());
                }
                Form::Folder(parent) | Form::Project(parent) => folders.push(parent.to_owned()),
                Form::Sparse => {}
            }
        }
        folders.dedup();
        for name in names
            .iter()
            .flat_map(|name| [name.clone(), format!("{name}.gz")])
        {
            for folder in folders.iter().map(|folder| format!("/{folder}")) {
                let (found, first) = (find_system(&folder, &name), find_in_order(&folder, &name));
                assert_eq!(found, first, "{folder}/{name}");
            }
        }
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
