//! The configuration file, with all its mistakes and the checks of its values.

#![no_main]

use std::collections::HashSet;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use millpond::config::{Config, examine_text};
use toml::Value;

/// Longest list of mistakes: those of the text, of the values, and one that ends the search.
const MAX_MISTAKES: usize = 201;

/// Returns whether a value names a file that the checks would read.
fn names_file(value: &Value) -> bool {
    match value {
        Value::Table(table) => table.iter().any(|(key, value)| {
            key.ends_with("_file") || key.ends_with("_files") || names_file(value)
        }),
        Value::Array(items) => items.iter().any(names_file),
        _ => false,
    }
}

fuzz_target!(|text: &str| {
    let table: Option<toml::Table> = text.parse().ok();
    if table.is_some_and(|table| names_file(&Value::Table(table))) {
        return;
    }
    match examine_text(Some(Path::new("millpond.toml")), text, [], &[]) {
        Ok(settings) => {
            let mut keys = HashSet::new();
            for setting in &settings {
                assert!(keys.insert(&setting.key), "{} occurs twice", setting.key);
                assert!(!setting.from.to_string().is_empty());
            }
            assert!(toml::from_str::<Config>(text).is_ok());
        }
        Err(mistakes) => {
            assert!((1..=MAX_MISTAKES).contains(&mistakes.len()));
            for mistake in mistakes {
                // Each mistake is one line, which a terminal shows as it is.
                let line = mistake.to_string();
                assert!(!line.is_empty());
                assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
    }
});
