//! The reference pages: their tables are made of the code, so a page cannot differ from it.
//!
//! `UPDATE_DOCS=1 cargo test --test it reference_pages` writes the tables.

mod alerts;
mod api;
mod cli;
mod configuration;
mod http;
mod metrics;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{env, fs};

/// Held while a page is written: a page may have several tables.
static WRITING: Mutex<()> = Mutex::new(());

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(source(name)).expect("a file of the source tree can be read")
}

/// Asserts that the part of a page between its two marks is this text.
#[track_caller]
fn assert_generated(page: &str, part: &str, text: &str) {
    let _writing = WRITING.lock().expect("no test has failed while it wrote");
    let (begin, end) = (
        format!("<!-- generated: {part} -->\n"),
        format!("<!-- end: {part} -->\n"),
    );
    let old = read(page);
    let (head, rest) = old.split_once(&begin).expect("the page has the mark");
    let (_, tail) = rest.split_once(&end).expect("the page has the second mark");
    let new = format!("{head}{begin}\n{}\n\n{end}{tail}", text.trim());
    if new == old {
        return;
    }
    assert!(
        env::var_os("UPDATE_DOCS").is_some(),
        "{page} differs from the code: UPDATE_DOCS=1 cargo test --test it reference_pages"
    );
    fs::write(source(page), new).expect("the page can be written");
}

/// Returns a row of a table.
fn row(cells: &[&str]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Returns the head of a table.
fn head(titles: &[&str]) -> String {
    row(titles) + &row(&vec!["---"; titles.len()])
}

/// Returns a text that begins with a capital letter.
fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}
