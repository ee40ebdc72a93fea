//! Finds all mistakes of a configuration at once.
//!
//! Each mistake is taken out of a copy of the configuration before the next one is sought. The main
//! functions are [`in_text`] and [`in_values`].

use std::ops::Range;
use std::path::Path;

use toml::Table;
use toml::de::{DeTable, DeValue};

use super::layers::{self, Overlay};
use super::{Config, ConfigLoadError};
use crate::model::ConfigError;

/// Bound on the mistakes that are sought in one file or in the values. More are of no use.
const MAX_MISTAKES: usize = 100;

/// Returns the tables of a file without its mistakes, and the mistakes.
///
/// # Errors
/// [`ConfigLoadError`] if the text is no TOML, so that its keys are unknown.
pub fn in_text(path: &Path, text: &str) -> Result<(Table, Vec<ConfigLoadError>), ConfigLoadError> {
    let mut rest = text.to_owned();
    let mut mistakes = Vec::new();
    loop {
        let (error, place) = match layers::parse_text::<Config>(path, &rest) {
            Ok((_, table)) => return Ok((table, mistakes)),
            Err(failed) => failed,
        };
        let entry = place.and_then(|place| entry_at(&rest, place));
        match entry {
            Some(entry) if mistakes.len() < MAX_MISTAKES => {
                mistakes.push(error);
                blank(&mut rest, entry);
            }
            _ => return Err(error),
        }
    }
}

/// Returns the bytes of the key and value, or of the table, in which `place` lies.
fn entry_at(text: &str, place: usize) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    if let Some(entry) = entry_in(text, document.get_ref(), place) {
        return Some(entry);
    }
    // An unknown table: its header, and all lines up to the next header.
    let start = text[..place].rfind('\n').map_or(0, |newline| newline + 1);
    if !text[start..].starts_with('[') {
        return None;
    }
    let end = text[place..]
        .find("\n[")
        .map_or(text.len(), |next| place + next);
    Some(start..end)
}

fn entry_in(text: &str, table: &DeTable<'_>, place: usize) -> Option<Range<usize>> {
    table.iter().find_map(|(key, value)| {
        let is_inline = text
            .get(value.span())
            .is_some_and(|value| value.starts_with('{'));
        match value.get_ref() {
            DeValue::Table(inner) if !is_inline => entry_in(text, inner, place),
            DeValue::Array(items) if items.iter().any(|item| is_header_table(text, item)) => {
                items.iter().find_map(|item| match item.get_ref() {
                    DeValue::Table(inner) => entry_in(text, inner, place),
                    _ => None,
                })
            }
            _ => {
                let entry = key.span().start..value.span().end;
                entry.contains(&place).then_some(entry)
            }
        }
    })
}

/// Whether an item of an array is a table of its own, as below `[[rules]]`.
fn is_header_table(text: &str, item: &toml::Spanned<DeValue<'_>>) -> bool {
    let is_inline = text
        .get(item.span())
        .is_some_and(|item| item.starts_with('{'));
    matches!(item.get_ref(), DeValue::Table(_)) && !is_inline
}

/// Replaces a part of a text with spaces. The lines keep their numbers.
fn blank(text: &mut String, part: Range<usize>) {
    let blanked: String = text[part.clone()]
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect();
    text.replace_range(part, &blanked);
}

/// Applies the overlays to `table`, and returns those that are mistakes.
pub fn in_overlays(
    table: &mut Table,
    overlays: impl IntoIterator<Item = Result<Overlay, ConfigError>>,
) -> (Vec<Overlay>, Vec<ConfigLoadError>) {
    let (mut applied, mut mistakes) = (Vec::new(), Vec::new());
    for overlay in overlays {
        let before = table.clone();
        let result = overlay.and_then(|overlay| {
            layers::apply(table, &overlay)?;
            Ok(overlay)
        });
        match result {
            Ok(overlay) => applied.push(overlay),
            Err(error) => {
                *table = before;
                mistakes.push(error.into());
            }
        }
    }
    (applied, mistakes)
}

/// Returns the mistakes of values that are valid by themselves, such as bounds that contradict each
/// other.
pub fn in_values(mut table: Table) -> Vec<ConfigLoadError> {
    let mut removed: Vec<String> = Vec::new();
    let mut mistakes = Vec::new();
    while mistakes.len() < MAX_MISTAKES {
        let error = match Config::from_table(table.clone()) {
            Ok(_) => break,
            Err(ConfigLoadError::Invalid(error)) => error,
            Err(error) => {
                mistakes.push(error);
                break;
            }
        };
        let key = error.key.clone();
        // A removed value may make another one a mistake, which only follows from the first.
        let follows = removed.iter().any(|gone| {
            // The name of a registry, such as one that ends in `.org`, is no name of a key.
            let names_key = !gone.starts_with("registries.")
                && error
                    .reason
                    .contains(gone.rsplit('.').next().unwrap_or(gone));
            *gone == key || gone.strip_suffix("_file") == Some(key.as_str()) || names_key
        });
        if !follows {
            mistakes.push(error.into());
        }
        if !remove(&mut table, &key) {
            break;
        }
        removed.push(key);
    }
    mistakes
}

/// Removes a key, or else the innermost table that should have it. Returns whether something was
/// removed. The name of a table may contain dots.
fn remove(table: &mut Table, key: &str) -> bool {
    if table.remove(key).is_some() {
        return true;
    }
    let is_outer = |name: &str| {
        let rest = key.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let outer = table.keys().filter(|name| is_outer(name));
    let Some(name) = outer.max_by_key(|name| name.len()).cloned() else {
        return false;
    };
    let inner = table.get_mut(&name).and_then(toml::Value::as_table_mut);
    inner.is_some_and(|inner| remove(inner, &key[name.len() + 1..]))
        || table.remove(&name).is_some()
}
