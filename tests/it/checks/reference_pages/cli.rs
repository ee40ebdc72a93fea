//! `docs/reference/cli.md`: the options of all commands, as `--help` prints them.

use super::{assert_generated, read};
use crate::harness::millpond;

/// Commands that help of the program does not list.
const HIDDEN: [&str; 2] = ["completions", "man"];

fn help(command: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = millpond(folder.path(), &[command, &["--help"]].concat());
    run.assert_success();
    run.stdout.trim_end().to_owned()
}

/// Returns the names of the commands that a help lists.
fn commands_in(help: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once("\nCommands:\n") else {
        return Vec::new();
    };
    let lines = rest.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names
        .filter(|name| !name.is_empty() && *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Adds the help of a command and of those below it.
fn describe(command: &[&str], text: &mut String) {
    let help = help(command);
    let name = [&["millpond"], command].concat().join(" ");
    let level = "#".repeat(command.len().max(1) + 2);
    let section = format!("{level} `{name}`\n\n```\n{help}\n```\n\n");
    text.push_str(&section);
    for below in commands_in(&help) {
        describe(&[command, &[&below]].concat(), text);
    }
}

#[test]
fn cli_page_has_all_options() {
    let mut text = String::new();
    describe(&[], &mut text);
    for hidden in HIDDEN {
        describe(&[hidden], &mut text);
    }
    assert_generated("docs/reference/cli.md", "options", &text);
}

#[test]
fn overview_names_each_command() {
    let page = read("docs/reference/cli.md");
    let (overview, _) = page
        .split_once("<!-- generated")
        .expect("the page has a generated part");
    for command in commands_in(&help(&[])) {
        assert!(overview.contains(&command), "{command}");
    }
}
