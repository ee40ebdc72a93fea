//! The page docs/guides/specs.md: its examples run, and print what it shows.

use std::fs;
use std::path::Path;

use crate::harness::{Tool, millpond};

/// Options of all commands.
const GENERAL: [&str; 7] = [
    "--help",
    "--version",
    "--json",
    "--gateway",
    "--token-file",
    "--config",
    "--set",
];

/// Reads a page by its path in the repository.
pub fn read_page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).expect("the page can be read")
}

fn page() -> String {
    read_page("docs/guides/specs.md")
}

/// Returns the blocks of code of a language.
pub fn blocks(page: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}\n");
    let parts = page.split(&start).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn examples_print_what_page_shows() {
    let page = page();
    let folder = tempfile::tempdir().expect("a folder can be created");
    let specs = blocks(&page, "spec");
    fs::write(folder.path().join("tree.spec"), &specs[0]).expect("the folder is writable");
    let mut shown = 0;
    for block in blocks(&page, "console") {
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ ").expect("a command comes first");
            let mut expected = String::new();
            while let Some(output) = lines.next_if(|line| !line.starts_with("$ ")) {
                expected += output;
                expected.push('\n');
            }
            let arguments: Vec<&str> = command.split(' ').collect();
            let run = match arguments[0] {
                "millpond" => millpond(folder.path(), &arguments[1..]),
                tool => Tool::new(tool, "coreutils", folder.path())
                    .args(&arguments[1..])
                    .run(),
            };
            run.assert_success();
            assert_eq!(run.stdout + &run.stderr, expected, "{command}");
            shown += 1;
        }
    }
    assert!(shown >= 4, "the page shows commands");
}

#[test]
fn page_names_all_options() {
    let (page, folder) = (page(), std::env::temp_dir());
    for command in ["list", "ensure", "rewrite", "import"] {
        let help = millpond(&folder, &["spec", command, "--help"]).stdout;
        let words = help.split([' ', ',', '\n', '[', ']']);
        for option in words.filter(|word| word.starts_with("--") && word.len() > 2) {
            let is_general = GENERAL.contains(&option);
            if !is_general {
                assert!(page.contains(option), "spec {command} {option}");
            }
        }
    }
}
