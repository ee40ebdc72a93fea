//! The documents: their links, commands and keys exist, and their texts follow the writing rules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::checks::language::{banned_in, is_riddle, sentences};
use crate::harness::files_under;

const BINARY: &str = env!("CARGO_BIN_EXE_millpond");

/// Longest line, in characters. Tables and code are not wrapped.
const MAX_LINE_CHARS: usize = 100;

/// A newcomer reads this many lines.
const MAX_README_LINES: usize = 150;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All documents, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let mut files = files_under(&root().join("docs"));
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
    ];
    files.extend(top.map(|name| root().join(name)));
    files.push(root().join("benches/RESULTS.md"));
    files.retain(|file| file.extension().is_some_and(|ending| ending == "md"));
    assert!(files.len() > 20, "the documents are where they were");
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a document can be read");
        (file, text)
    };
    files.into_iter().map(read).collect()
}

/// Lines outside of code blocks, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        if !is_code && !is_fence && !line.starts_with("    ") {
            lines.push((at + 1, line));
        }
    }
    lines
}

/// Lines of code blocks.
fn code(text: &str) -> Vec<&str> {
    let prose: BTreeSet<_> = prose(text).into_iter().map(|(at, _)| at).collect();
    let is_code = |(at, _): &(usize, &str)| !prose.contains(&(at + 1));
    let lines = text.lines().enumerate().filter(is_code);
    lines.map(|(_, line)| line).collect()
}

/// The anchor of a heading, as web pages of Git hosts make it.
fn anchor_of(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The targets of the links in a text, `](target)`.
fn links_in(text: &str) -> Vec<String> {
    let lines = prose(text).into_iter().map(|(_, line)| line);
    let text = lines.collect::<Vec<_>>().join("\n");
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut count = 0;
    for (file, text) in pages() {
        for link in links_in(&text) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            if path.contains("://") {
                continue;
            }
            count += 1;
            let folder = file.parent().expect("a file has a folder");
            let target = if path.is_empty() {
                file.clone()
            } else {
                folder.join(path)
            };
            assert!(target.exists(), "{}: {link} does not exist", file.display());
            if !anchor.is_empty() {
                let page = fs::read_to_string(&target).expect("a linked page can be read");
                let headings = page.lines().filter(|line| line.starts_with('#'));
                let has_anchor = headings.map(anchor_of).any(|known| known == anchor);
                assert!(has_anchor, "{}: {link} has no heading", file.display());
            }
        }
    }
    assert!(count > 80, "{count} links");
}

#[test]
fn index_leads_to_each_page() {
    let index = root().join("docs/README.md");
    let text = fs::read_to_string(&index).expect("the index can be read");
    let linked: BTreeSet<_> = links_in(&text)
        .into_iter()
        .filter_map(|link| root().join("docs").join(link).canonicalize().ok())
        .collect();
    for (file, _) in pages() {
        let file = file.canonicalize().expect("a document exists");
        let is_index = file.ends_with("docs/README.md") || file.ends_with("docs/SUMMARY.md");
        assert!(is_index || linked.contains(&file), "{file:?}");
    }
}

#[test]
fn summary_lists_each_page_once() {
    let summary = root().join("docs/SUMMARY.md");
    let text = fs::read_to_string(&summary).expect("the table of contents can be read");
    let mut listed = BTreeSet::new();
    for link in links_in(&text) {
        let file = root().join("docs").join(&link).canonicalize();
        assert!(listed.insert(file.expect("a listed page exists")), "{link}");
    }
    let pages = pages().into_iter().map(|(file, _)| file);
    let pages = pages.map(|file| file.canonicalize().expect("a document exists"));
    let missing: Vec<_> = pages
        .filter(|file| !listed.contains(file) && !file.ends_with("docs/SUMMARY.md"))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn promises_name_existing_tests() {
    let page = root().join("docs/development/testing.md");
    let page = fs::read_to_string(page).expect("the page can be read");
    let sources = ["tests", "src"].map(|folder| files_under(&root().join(folder)));
    let sources = sources.into_iter().flatten();
    let sources: String = sources
        .filter(|file| file.extension().is_some_and(|ending| ending == "rs"))
        .map(|file| fs::read_to_string(file).expect("a source can be read"))
        .collect();
    let sources = sources.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut count = 0;
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.split(" | ").collect();
        let names = cells.last().map_or("", |cell| cell).split('`');
        for name in names.skip(1).step_by(2) {
            let is_test = sources.contains(&format!("#[test] fn {name}("));
            assert!(is_test, "{name} is no test");
            count += 1;
        }
    }
    assert!(count > 80, "{count} tests");
}

#[test]
fn pages_name_their_reader() {
    for (file, text) in pages() {
        let mut paragraphs = text.split("\n\n");
        let heading = paragraphs.next().unwrap_or_default();
        assert!(heading.starts_with("# "), "{}", file.display());
        let first = paragraphs.next().unwrap_or_default();
        let is_readme = file.ends_with("README.md");
        assert!(
            is_readme || first.starts_with("This page is for "),
            "{}",
            file.display()
        );
    }
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    assert!(readme.lines().count() <= MAX_README_LINES);
}

#[test]
fn pages_have_no_markup_of_html() {
    for (file, text) in pages() {
        for (at, line) in prose(&text) {
            // Neither mdBook nor the gateway shows a tag, apart from links and comments.
            let outside: String = line.split('`').step_by(2).collect();
            for (from, _) in outside.match_indices('<') {
                let rest = &outside[from + 1..];
                let is_escaped = outside[..from].ends_with('\\');
                let is_shown = is_escaped || rest.starts_with("http") || rest.starts_with("!--");
                let is_tag = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
                assert!(is_shown || !is_tag, "{}:{at}: {line}", file.display());
            }
        }
    }
}

#[test]
fn documents_follow_the_writing_rules() {
    let mut found = Vec::new();
    for (file, text) in pages() {
        let mut is_start = true;
        for (at, line) in prose(&text) {
            let mut say = |why: &str| found.push(format!("{}:{at}: {why}", file.display()));
            // A table of old names has words that are no longer used.
            let is_table = line.trim_start().starts_with('|');
            if !is_table && line.chars().count() > MAX_LINE_CHARS {
                say("longer than 100 characters");
            }
            for banned in banned_in(line) {
                say(&format!("the word {banned:?}"));
            }
            let plain = line.trim_start_matches([' ', '-', '*', '#']);
            if !is_table && sentences(plain, is_start).into_iter().any(is_riddle) {
                say("begins like a riddle");
            }
            let line = line.trim_end();
            is_start = line.is_empty() || line.ends_with(['.', ':', '?', '!', ';']);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

fn help_of(command: &[&str]) -> String {
    let run = Command::new(BINARY).args(command).arg("--help").output();
    let run = run.expect("the binary can be started");
    assert!(run.status.success(), "millpond {command:?} --help");
    String::from_utf8_lossy(&run.stdout).into_owned()
}

#[test]
fn commands_in_documents_exist() {
    let global = help_of(&[]);
    let mut count = 0;
    for (file, text) in pages() {
        for line in code(&text) {
            let line = line.trim_start().trim_start_matches("$ ");
            let line = line.strip_prefix("ionice -c3 ").unwrap_or(line);
            let Some(rest) = line.strip_prefix("millpond ") else {
                continue;
            };
            // Two spaces separate a comment.
            let call = rest.split("  ").next().unwrap_or_default();
            let mut words: Vec<_> = call.split([' ', '[', ']', '|']).collect();
            words.retain(|word| !word.is_empty());
            let names: Vec<_> = words
                .iter()
                .skip_while(|word| word.starts_with('-') || word.contains(['.', ':', '/']))
                .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
                .filter(|word| !word.starts_with('-'))
                .take(1)
                .copied()
                .collect();
            let help = help_of(&names);
            let nested = names.first().and_then(|first| {
                let after = words.iter().skip_while(|word| *word != first).nth(1)?;
                let is_command = |line: &str| line.trim_start().starts_with(&format!("{after} "));
                let (_, commands) = help.split_once("Commands:")?;
                commands.lines().any(is_command).then_some([*first, after])
            });
            let help = nested.map_or(help, |names| help_of(&names));
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap_or_default();
                let is_known = help.contains(flag) || global.contains(flag);
                assert!(is_known, "{}: {line}: {flag}", file.display());
            }
            count += 1;
        }
    }
    assert!(count > 40, "{count} commands");
}

#[test]
fn configuration_keys_in_documents_exist() {
    let sections = [
        "gateway",
        "proxy",
        "intercept",
        "cache",
        "fetch",
        "policy",
        "limits",
        "dial",
        "s3",
        "notify",
        "dns",
        "mirror",
        "log",
    ];
    let shipped = root().join("config/millpond.toml");
    let shipped = fs::read_to_string(shipped).expect("the configuration can be read");
    let mut known = BTreeSet::new();
    let mut section = "";
    for line in shipped.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(rest) = line.strip_prefix('[') {
            section = rest
                .trim_start_matches('[')
                .split(']')
                .next()
                .unwrap_or_default();
        } else if let Some((key, _)) = line.split_once(" = ") {
            known.insert(format!("{section}.{key}"));
        }
    }
    let mut count = 0;
    for (file, text) in pages() {
        if file.ends_with("CHANGELOG.md") {
            continue;
        }
        let lines = prose(&text).into_iter().map(|(_, line)| line);
        let text = lines.collect::<Vec<_>>().join("\n");
        for span in text.split('`').skip(1).step_by(2) {
            let key = span.split([' ', '=']).next().unwrap_or_default();
            let Some((section, name)) = key.split_once('.') else {
                continue;
            };
            let is_name =
                !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if sections.contains(&section) && is_name {
                assert!(known.contains(key), "{}: {key} is no key", file.display());
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count} keys");
}

#[test]
fn packages_and_changelog_name_version_of_crate() {
    let version = env!("CARGO_PKG_VERSION");
    let read = |name: &str| fs::read_to_string(root().join(name)).expect("the file can be read");
    let changelog = read("CHANGELOG.md");
    let mut headings = changelog.lines().filter(|line| line.starts_with("## "));
    let newest = headings.find(|heading| *heading != "## Unreleased");
    let is_newest = newest.is_some_and(|heading| heading.starts_with(&format!("## {version} - ")));
    assert!(is_newest, "{newest:?}");
    let spec = read("packaging/millpond.spec");
    let default = format!("%global millpond_version {version}}}");
    assert!(spec.contains(&default), "{default}");
    let mut entries = spec.lines().skip_while(|line| *line != "%changelog");
    let entry = entries
        .nth(1)
        .expect("the changelog of the package has an entry");
    assert!(entry.ends_with(&format!(" - {version}-1")), "{entry}");
    let status = format!("Version {version}. ");
    assert!(read("README.md").contains(&status), "{status}");
}
