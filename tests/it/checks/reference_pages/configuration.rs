//! `docs/reference/configuration.md`: all keys with defaults and meanings, as
//! `config/millpond.toml` has them. A unit test compares the keys and defaults of that file with
//! the code.

use std::collections::BTreeSet;

use super::{assert_generated, capitalized, head, read, row};
use crate::harness::millpond;

/// A key of the shipped configuration.
struct Key {
    name: String,
    value: String,
    meaning: String,
}

/// A section of the shipped configuration, with the comment above it.
struct Section {
    name: String,
    intro: Vec<String>,
    keys: Vec<Key>,
}

/// Beginnings of the examples of lists and of tables with free names.
const EXAMPLES: [&str; 2] = ["# [[", "# [registries."];

/// Lines of the shipped configuration. Its examples are comments, from their beginning to the next
/// empty line, and lose the first mark.
fn lines() -> Vec<String> {
    let mut is_example = false;
    let mut lines = Vec::new();
    for line in read("config/millpond.toml").lines() {
        let begins = |start: &&str| line.starts_with(*start);
        is_example = EXAMPLES.iter().any(begins) || is_example && line.len() > 1;
        let kept = if is_example { &line[2..] } else { line };
        lines.push(kept.to_owned());
    }
    lines
}

/// Splits a line in front of its comment.
fn split_comment(line: &str) -> (&str, &str) {
    let mut is_string = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' | '\'' => is_string ^= true,
            '#' if !is_string => return (line[..at].trim(), line[at + 1..].trim()),
            _ => {}
        }
    }
    (line.trim(), "")
}

fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    // Comments above a section or a key.
    let mut above: Vec<String> = Vec::new();
    for line in lines() {
        let (code, comment) = split_comment(&line);
        let comment = comment.to_owned();
        if line.is_empty() {
            above.clear();
        } else if code.starts_with('[') {
            let mut intro = std::mem::take(&mut above);
            if !comment.is_empty() {
                intro.push(format!("{}.", capitalized(&comment)));
            }
            let (name, keys) = (code.to_owned(), Vec::new());
            sections.push(Section { name, intro, keys });
        } else if let Some((name, value)) = code.split_once(" = ") {
            above.push(comment);
            let key = Key {
                name: name.to_owned(),
                value: value.to_owned(),
                meaning: std::mem::take(&mut above).join(" "),
            };
            sections
                .last_mut()
                .expect("there is a section")
                .keys
                .push(key);
        } else if line.starts_with(' ') {
            let key = sections.last_mut().and_then(|last| last.keys.last_mut());
            let meaning = &mut key.expect("the comment of a key goes on").meaning;
            *meaning = format!("{meaning} {comment}");
        } else {
            above.push(comment);
        }
    }
    sections
}

/// Escapes what Markdown would interpret, except within code.
fn escaped(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(at, part)| match at % 2 {
        0 => part.replace('<', "\\<").replace('*', "\\*"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

fn table(section: &Section) -> String {
    let is_list = section.name.starts_with("[[");
    let second = if is_list { "example" } else { "default" };
    let mut text = head(&["key", second, "meaning"]);
    for key in &section.keys {
        let (name, value) = (format!("`{}`", key.name), format!("`{}`", key.value));
        let meaning = key.meaning.trim();
        assert!(!meaning.is_empty(), "{} {}", section.name, key.name);
        text += &row(&[&name, &value, &escaped(meaning)]);
    }
    text
}

#[test]
fn configuration_page_has_all_keys() {
    let mut text = String::new();
    for section in sections() {
        text.extend(["## `", &section.name, "`\n\n"]);
        let intro = escaped(&section.intro.join("\n"));
        if !intro.is_empty() {
            text.extend([intro.trim(), "\n\n"]);
        }
        text += &table(&section);
        text += "\n";
    }
    assert_generated("docs/reference/configuration.md", "keys", &text);
}

/// Asks the binary for the keys of a table: it names them in the error about an unknown one.
fn keys_of_table(header: &str) -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("millpond.toml");
    std::fs::write(&file, format!("{header}\nno_such_key = 1\n")).expect("a file can be written");
    let path = file.to_str().expect("the path is text");
    let run = millpond(folder.path(), &["check-config", "--config", path]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    let line = run.stderr.lines().next().unwrap_or_default();
    let (_, expected) = line
        .split_once("expected")
        .expect("the error lists the keys");
    let quoted = expected.split('`').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

#[test]
fn shipped_configuration_has_keys_of_lists() {
    for header in [
        "[[rules]]",
        "[[parents]]",
        "[[s3.replicas]]",
        "[[hosts]]",
        "[registries.\"registry.example.org\"]",
    ] {
        let sections = sections();
        let section = sections.iter().find(|section| section.name == header);
        let shown = section.expect("the table has an example").keys.iter();
        let shown: BTreeSet<_> = shown.map(|key| key.name.clone()).collect();
        assert_eq!(shown, keys_of_table(header), "{header}");
    }
}

#[test]
fn sections_lead_to_their_pages() {
    let page = read("docs/reference/configuration.md");
    let (table, _) = page
        .split_once("<!-- generated")
        .expect("the page has a generated part");
    for section in sections() {
        assert!(
            table.contains(&format!("`{}`", section.name)),
            "{}",
            section.name
        );
    }
}
