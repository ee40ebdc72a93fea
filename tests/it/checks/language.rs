//! The writing rules, as far as a test can hold them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::files_under;

/// Folders whose prose is checked.
const FOLDERS: [&str; 4] = ["src", "tests", "config", "nginx"];

/// Longest line of a comment, in characters.
const MAX_COMMENT_CHARS: usize = 100;

/// Longest name of a test, in words.
const MAX_TEST_NAME_WORDS: usize = 8;

/// A sentence that begins with one of these hides its subject.
const RIDDLES: [&str; 8] = [
    "What", "Who", "Whoever", "Whose", "That", "So many", "Nobody", "Somebody",
];

/// People-words for machines, and words of a private vocabulary, in lower case.
const BANNED: [&str; 62] = [
    "whoever",
    "nobody",
    "somebody",
    "he",
    "his",
    "him",
    "himself",
    "neighbour",
    "neighbours",
    "heir",
    "heirs",
    "rival",
    "rivals",
    "impostor",
    "impostors",
    "flight",
    "flights",
    "rotten",
    "rot",
    "mend",
    "mends",
    "mended",
    "mending",
    "told",
    "tell",
    "tells",
    "telling",
    "hear",
    "hears",
    "heard",
    "hearing",
    "believed",
    "believe",
    "believes",
    "wish",
    "wishes",
    "wished",
    "left alone",
    "gone round",
    "goes round",
    "adrift",
    "custody",
    "crowd",
    "crowds",
    "room",
    "rooms",
    "door",
    "doors",
    "frozen",
    "stray",
    "strays",
    "liar",
    "liars",
    "whose turn",
    "in vain",
    "passed over",
    "spoilt",
    "manners",
    "guest",
    "guests",
    "of ours",
    "turned away",
];

/// Words in which a banned word is right.
const ALLOWED: [&str; 1] = ["in-flight"];

const LOG_MACROS: [&str; 5] = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];

/// One violation, for the message.
type Violation = String;

fn checked_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = FOLDERS
        .iter()
        .flat_map(|folder| files_under(&root.join(folder)))
        .collect();
    files.retain(|file| {
        let is_text = file.extension().is_none_or(|ending| {
            ["rs", "toml", "conf", "md", "template", "sh", "py"]
                .iter()
                .any(|known| ending == *known)
        });
        is_text
            && !file.ends_with("language.rs")
            && !file.components().any(|c| c.as_os_str() == "fixtures")
    });
    assert!(files.len() > 200, "the files are where they were");
    files
}

/// The text of a comment line, if the line is one.
fn comment_of(line: &str, is_rust: bool) -> Option<&str> {
    let line = line.trim_start();
    if is_rust {
        ["///", "//!", "//"]
            .iter()
            .find_map(|start| line.strip_prefix(start))
    } else {
        line.strip_prefix('#').filter(|rest| !rest.starts_with('!'))
    }
}

/// Text without code spans and link targets, in lower case, with single spaces around each word.
fn words_of(text: &str) -> String {
    let mut plain = String::from(" ");
    for (at, part) in text.split('`').enumerate() {
        if at % 2 == 0 {
            plain.push_str(&part.to_lowercase());
        }
        plain.push(' ');
    }
    for allowed in ALLOWED {
        plain = plain.replace(allowed, " ");
    }
    let keep = |c: char| {
        if c.is_alphanumeric() || c == '-' || c == '_' {
            c
        } else {
            ' '
        }
    };
    let words: String = plain.chars().map(keep).collect();
    format!(
        " {} ",
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    )
}

/// Returns the banned words in a text.
pub fn banned_in(text: &str) -> Vec<&'static str> {
    let words = words_of(text);
    BANNED
        .into_iter()
        .filter(|banned| words.contains(&format!(" {banned} ")))
        .collect()
}

/// The sentences that begin in `text`, which continues a sentence unless `is_start`.
pub fn sentences(text: &str, is_start: bool) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices(['.', '!', '?']) {
        if text[at + 1..].starts_with(' ') {
            sentences.push(&text[from..=at]);
            from = at + 2;
        }
    }
    sentences.push(&text[from..]);
    if !is_start {
        sentences.remove(0);
    }
    sentences
}

/// Whether a sentence hides its subject.
pub fn is_riddle(sentence: &str) -> bool {
    let sentence = sentence.trim_start_matches([' ', '-', '*', '>', '#']);
    RIDDLES.iter().any(|riddle| {
        sentence
            .strip_prefix(riddle)
            .is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    })
}

/// The contents of the string literals of a line, as far as they end on it.
fn strings_of(line: &str) -> Vec<&str> {
    line.split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| text.trim().contains(' '))
        .collect()
}

fn check_comments(lines: &[&str], is_rust: bool) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut is_start = true;
    for (at, line) in lines.iter().enumerate() {
        let Some(text) = comment_of(line, is_rust) else {
            is_start = true;
            continue;
        };
        let mut say = |why: &str| found.push(format!("{}: {why}: {}", at + 1, line.trim()));
        if line.chars().count() > MAX_COMMENT_CHARS {
            say("longer than 100 characters");
        }
        for banned in banned_in(text) {
            say(&format!("the word {banned:?}"));
        }
        if sentences(text.trim(), is_start).into_iter().any(is_riddle) {
            say("begins like a riddle");
        }
        let text = text.trim_end();
        is_start = text.is_empty() || text.ends_with(['.', ':', '?', '!']);
    }
    found
}

fn check_strings(lines: &[&str]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut is_log = false;
    for (at, line) in lines.iter().enumerate() {
        if comment_of(line, true).is_some() {
            continue;
        }
        is_log |= LOG_MACROS.iter().any(|log| line.contains(log));
        for text in strings_of(line) {
            let mut say = |why: &str| found.push(format!("{}: {why}: {text}", at + 1));
            for banned in banned_in(text) {
                say(&format!("the word {banned:?}"));
            }
            if is_log && format!(" {text} ").contains(" it ") {
                say("a log message says \"it\"");
            }
        }
        is_log &= !line.contains(");");
    }
    found
}

fn check_test_names(lines: &[&str]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let above = lines[..at].iter().rev().take(3);
        let is_test = above
            .clone()
            .any(|above| above.trim_start().starts_with("#[test"))
            || above
                .clone()
                .any(|above| above.trim_start().starts_with("#[tokio::test"));
        let function = line
            .trim_start()
            .trim_start_matches("async ")
            .strip_prefix("fn ");
        let Some(name) = function
            .filter(|_| is_test)
            .and_then(|rest| rest.split('(').next())
        else {
            continue;
        };
        let words: Vec<_> = name.split('_').collect();
        let begins_badly = ["what", "who", "whoever", "whose", "that"].contains(&words[0]);
        let is_banned = !banned_in(&words.join(" ")).is_empty();
        if begins_badly || is_banned || words.len() > MAX_TEST_NAME_WORDS {
            found.push(format!("{}: the test name {name}", at + 1));
        }
    }
    found
}

fn check(file: &Path) -> Vec<Violation> {
    let Ok(text) = fs::read_to_string(file) else {
        return Vec::new();
    };
    let lines: Vec<_> = text.lines().collect();
    let is_rust = file.extension().is_some_and(|ending| ending == "rs");
    let mut found = check_comments(&lines, is_rust);
    if is_rust {
        found.extend(check_strings(&lines));
        found.extend(check_test_names(&lines));
    }
    found
        .iter()
        .map(|one| format!("{}:{one}", file.display()))
        .collect()
}

#[test]
fn texts_follow_the_writing_rules() {
    let found: Vec<_> = checked_files()
        .iter()
        .flat_map(|file| check(file))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn checker_finds_each_kind_of_violation() {
    let long = format!("// {}", "x".repeat(100));
    for line in [
        "// What is here.",
        "// Fine. What is here.",
        "/// a flight",
        "//! it was told",
        &long,
    ] {
        assert_eq!(check_comments(&[line], true).len(), 1, "{line}");
    }
    for line in [
        "// Whatever happens.",
        "// The in-flight fetch.",
        "// `flight`",
    ] {
        assert!(check_comments(&[line], true).is_empty(), "{line}");
    }
    let continued = ["// A sentence that continues in", "// That way."];
    assert!(check_comments(&continued, true).is_empty());
    assert_eq!(
        check_strings(&["tracing::warn!(\"now it failed\");"]).len(),
        1
    );
    assert_eq!(check_strings(&["panic!(\"nobody asked\");"]).len(), 1);
    let test = ["#[test]", "fn what_is_asked_is_given() {"];
    assert_eq!(check_test_names(&test).len(), 1);
    let test = [
        "#[test]",
        "fn one_two_three_four_five_six_seven_eight_nine() {",
    ];
    assert_eq!(check_test_names(&test).len(), 1);
    assert!(check_test_names(&["#[test]", "fn client_gets_file() {"]).is_empty());
}
