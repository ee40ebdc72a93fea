//! Imports and definitions of the source tree, read as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::files_under;

/// Bound on the re-exports that one path goes through.
const MAX_REEXPORTS: usize = 5;

/// A path of a `use`, or in code, as its segments.
type ImportPath = Vec<String>;

/// One source file.
pub struct SourceFile {
    pub path: PathBuf,
    /// Segments of its module path.
    pub module: Vec<String>,
    /// Code without comments and unit tests.
    pub code: String,
    /// Paths that it uses itself.
    used: Vec<ImportPath>,
    /// Paths that it re-exports.
    reexported: Vec<ImportPath>,
}

/// All source files by module path.
pub struct SourceTree {
    pub files: BTreeMap<Vec<String>, SourceFile>,
}

impl SourceTree {
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut paths = files_under(&root);
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "rs"));
        assert!(paths.len() > 100, "the sources are where they were");
        let files = paths.iter().map(|path| SourceFile::read(path, &root));
        Self {
            files: files.map(|file| (file.module.clone(), file)).collect(),
        }
    }

    /// The files that each file depends on. Re-exports are followed to the file that defines the
    /// name.
    pub fn edges(&self) -> BTreeMap<&[String], BTreeSet<&[String]>> {
        let of = |file: &SourceFile| {
            let targets = file
                .used
                .iter()
                .filter_map(|path| self.resolve(&self.absolute(file, path)?, 0));
            targets.filter(|target| *target != file.module).collect()
        };
        self.files
            .values()
            .map(|file| (file.module.as_slice(), of(file)))
            .collect()
    }

    /// The modules that each module names.
    pub fn module_uses(&self) -> BTreeSet<(String, String)> {
        let mut uses = BTreeSet::new();
        for file in self.files.values() {
            for path in file.used.iter().chain(&file.reexported) {
                let named = self
                    .absolute(file, path)
                    .and_then(|path| path.into_iter().next());
                uses.extend(named.map(|named| (file.module[0].clone(), named)));
            }
        }
        uses.retain(|(_, named)| self.files.contains_key(std::slice::from_ref(named)));
        uses
    }

    /// The groups of files that depend on each other.
    pub fn cycles(&self) -> Vec<Vec<String>> {
        let edges = self.edges();
        let reachable: BTreeMap<_, _> = edges
            .keys()
            .map(|from| (*from, reach(&edges, from)))
            .collect();
        let mut cycles = BTreeSet::new();
        for (from, reached) in &reachable {
            let members: Vec<_> = reached
                .iter()
                .filter(|to| reachable[*to].contains(from))
                .map(|to| self.name(to))
                .collect();
            if members.len() > 1 {
                cycles.insert(members);
            }
        }
        cycles.into_iter().collect()
    }

    fn name(&self, module: &[String]) -> String {
        self.files[module].path.display().to_string()
    }

    /// The path from the crate's root, for a path that names something of the crate.
    fn absolute(&self, file: &SourceFile, path: &[String]) -> Option<ImportPath> {
        let first = path.first()?.as_str();
        match first {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([file.module.as_slice(), &path[1..]].concat()),
            "super" => {
                let ups = path
                    .iter()
                    .take_while(|segment| *segment == "super")
                    .count();
                let above = file.module.len().checked_sub(ups)?;
                Some([&file.module[..above], &path[ups..]].concat())
            }
            _ => {
                let child = [file.module.as_slice(), &path[..1]].concat();
                self.files
                    .contains_key(&child)
                    .then(|| [file.module.as_slice(), path].concat())
            }
        }
    }

    /// The module of the file that defines what a path names.
    fn resolve(&self, path: &[String], depth: usize) -> Option<&[String]> {
        let length = (1..=path.len())
            .rev()
            .find(|length| self.files.contains_key(&path[..*length]))?;
        let file = &self.files[&path[..length]];
        let rest = &path[length..];
        if let Some(name) = rest.first()
            && depth < MAX_REEXPORTS
        {
            let reexport = file
                .reexported
                .iter()
                .find(|reexported| reexported.last() == Some(name));
            let target = reexport.and_then(|reexported| self.absolute(file, reexported));
            if let Some(found) =
                target.and_then(|target| self.resolve(&target, depth + 1).map(<[_]>::to_vec))
            {
                return self
                    .files
                    .get_key_value(&found)
                    .map(|(module, _)| module.as_slice());
            }
        }
        Some(file.module.as_slice())
    }
}

fn reach<'a>(
    edges: &BTreeMap<&'a [String], BTreeSet<&'a [String]>>,
    from: &'a [String],
) -> BTreeSet<&'a [String]> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        for to in &edges[next] {
            if reached.insert(*to) {
                open.push(to);
            }
        }
    }
    reached
}

impl SourceFile {
    fn read(path: &Path, root: &Path) -> Self {
        let inside = path
            .strip_prefix(root)
            .expect("a source is in src")
            .with_extension("");
        let mut module: Vec<_> = inside
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        let text = fs::read_to_string(path).expect("a source can be read");
        let code: Vec<_> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let code = code.join("\n");
        let code = code
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default()
            .to_owned();
        let (mut used, mut reexported) = (Vec::new(), Vec::new());
        for (is_public, tree) in use_statements(&code) {
            let paths = expand(&tree);
            if is_public {
                reexported.extend(paths);
            } else {
                used.extend(paths);
            }
        }
        used.extend(qualified_paths(&code));
        Self {
            path: inside,
            module,
            code,
            used,
            reexported,
        }
    }

    /// Names of the types that the file defines.
    pub fn types(&self) -> Vec<String> {
        let lines = self
            .code
            .lines()
            .map(str::trim_start)
            .map(without_visibility);
        let name = |line: &str| {
            ["struct ", "enum ", "trait "]
                .iter()
                .find_map(|kind| line.strip_prefix(kind).map(word))
        };
        lines.filter_map(name).collect()
    }

    /// Names of the types that the file has inherent `impl` blocks of.
    pub fn inherent_impls(&self) -> Vec<String> {
        let mut types = Vec::new();
        for line in self
            .code
            .lines()
            .filter(|line| line.starts_with("impl") && !line.contains(" for "))
        {
            let rest = line.trim_start_matches("impl");
            let rest = if rest.starts_with('<') {
                after_generics(rest)
            } else {
                rest
            };
            types.push(word(rest.trim_start()));
        }
        types
    }
}

fn after_generics(text: &str) -> &str {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[at + 1..];
        }
    }
    ""
}

fn without_visibility(line: &str) -> &str {
    match line.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ").map_or(rest, |(_, rest)| rest),
        None => line.strip_prefix("pub ").unwrap_or(line),
    }
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The trees of the `use` statements of a file, each with whether it is public.
fn use_statements(code: &str) -> Vec<(bool, String)> {
    let mut statements = Vec::new();
    let mut offset = 0;
    for line in code.lines() {
        let statement = without_visibility(line.trim_start());
        if let Some(tree) = statement.strip_prefix("use ") {
            let begins = offset + line.len() - tree.len();
            let tree = code[begins..].split(';').next().unwrap_or_default();
            statements.push((
                line.trim_start().starts_with("pub"),
                tree.replace('\n', " "),
            ));
        }
        offset += line.len() + 1;
    }
    statements
}

/// The paths of a `use` tree.
fn expand(tree: &str) -> Vec<ImportPath> {
    let tree = tree.trim();
    let segments = |text: &str| -> ImportPath {
        let text = text.split(" as ").next().unwrap_or_default();
        text.split("::")
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let Some((head, group)) = tree.split_once('{') else {
        return vec![segments(tree)];
    };
    let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
    let head = segments(head);
    members(group)
        .iter()
        .flat_map(|member| expand(member))
        .map(|path| [head.clone(), path].concat())
        .collect()
}

/// The members of a `use` group, at its own depth.
fn members(group: &str) -> Vec<String> {
    let mut members = vec![String::new()];
    let mut depth = 0;
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if character == ',' && depth == 0 {
            members.push(String::new());
        } else {
            members.last_mut().expect("there is one").push(character);
        }
    }
    members.retain(|member| !member.trim().is_empty());
    members
}

/// Paths in code that begin with `crate::` or `super::`.
fn qualified_paths(code: &str) -> Vec<ImportPath> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let is_inside =
                code[..at].ends_with(|c: char| c == ':' || c.is_alphanumeric() || c == '_');
            let text: String = code[at..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
                .collect();
            let path: ImportPath = text
                .split("::")
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect();
            if !is_inside && path.len() > 1 {
                paths.push(path);
            }
        }
    }
    paths
}
