//! `docs/reference/http.md`: the statuses that the endpoints send.

use std::collections::BTreeSet;

use reqwest::StatusCode;

use super::{read, source};
use crate::harness::files_under;

/// Statuses of no documented use: `/metrics` cannot be rendered.
const INTERNAL: [u16; 1] = [500];

/// Statuses of errors that `src/http` names.
fn sent_statuses() -> BTreeSet<u16> {
    let sources: String = files_under(&source("src/http"))
        .iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "rs"))
        .map(|file| std::fs::read_to_string(file).expect("a source can be read"))
        .collect();
    let is_named = |status: &StatusCode| {
        status.canonical_reason().is_some_and(|name| {
            let name = name.to_uppercase().replace([' ', '-'], "_");
            sources.contains(&format!("StatusCode::{name}"))
        })
    };
    let all = (400..600).filter_map(|code| StatusCode::from_u16(code).ok());
    all.filter(is_named).map(|status| status.as_u16()).collect()
}

#[test]
fn http_page_has_all_error_statuses() {
    let page = read("docs/reference/http.md");
    let (_, table) = page
        .split_once("## Status codes")
        .expect("the page has the table");
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let documented: BTreeSet<u16> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split(|c: char| !c.is_ascii_digit()))
        .filter_map(|number| number.parse().ok())
        .collect();
    let sent = sent_statuses();
    assert!(sent.len() > 10, "{sent:?}");
    let missing: Vec<_> = sent
        .difference(&documented)
        .filter(|status| !INTERNAL.contains(status))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
