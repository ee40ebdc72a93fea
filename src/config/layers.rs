//! Layers of configuration: files, environment variables and `--set` flags.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Config, ConfigError};
use crate::policy::Rule;

/// Prefix of configuration variables. A double underscore separates section and key.
const PREFIX: &str = "MILLPOND_";

/// Setting from a variable or a flag: its source, its key or an error, and its value as text.
type Overlay = (String, Result<Vec<String>, ConfigError>, String);

/// File that contains only rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    rules: Vec<Rule>,
}

/// Reads the rules of all files, in order.
pub fn read_rules(paths: &[PathBuf]) -> Result<Vec<Rule>, ConfigError> {
    let files: Vec<RulesFile> = paths
        .iter()
        .map(|path| Ok(parse_file(path)?.0))
        .collect::<Result<_, ConfigError>>()?;
    Ok(files.into_iter().flat_map(|file| file.rules).collect())
}

/// Reads a configuration file. Cross-checks between keys run later, on the complete configuration.
pub fn read_file(path: &Path) -> Result<Table, ConfigError> {
    Ok(parse_file::<Config>(path)?.1)
}

/// Reads and checks a file on its own, because line numbers are only known from its text.
fn parse_file<T: DeserializeOwned>(path: &Path) -> Result<(T, Table), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|why| ConfigError::Unreadable {
        path: path.to_owned(),
        why,
    })?;
    let complain = |error: &toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text[..start.min(text.len())].matches('\n').count() + 1;
        // The value may be a secret, so the message only contains the key.
        let key = text
            .lines()
            .nth(line - 1)
            .unwrap_or_default()
            .split('=')
            .next()
            .unwrap_or_default()
            .trim();
        let why = format!("{key}: {}", error.message().replace('\n', " "));
        ConfigError::Line {
            path: path.to_owned(),
            line,
            why,
        }
    };
    let parsed = toml::from_str(&text).map_err(|error| complain(&error))?;
    let table = text.parse().map_err(|error| complain(&error))?;
    Ok((parsed, table))
}

/// Returns the settings in environment variables. `MILLPOND_CACHE__MAX_SIZE` sets `cache.max_size`.
pub fn variables(
    environment: impl IntoIterator<Item = (String, String)>,
) -> impl Iterator<Item = Overlay> {
    environment.into_iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(PREFIX)?;
        let (section, key) = key.split_once("__")?;
        let path = vec![section.to_ascii_lowercase(), key.to_ascii_lowercase()];
        Some((name, Ok(path), value))
    })
}

/// Parses `--set` flags such as `cache.max_size=50GiB`.
pub fn settings(settings: &[String]) -> impl Iterator<Item = Overlay> {
    settings.iter().map(|setting| {
        // A text that does not look like a key may be a misplaced secret.
        let is_key = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.'))
        };
        let key = setting
            .split('=')
            .next()
            .filter(|key| is_key(key))
            .unwrap_or("…");
        let source = format!("--set {key}");
        let split = setting
            .split_once('=')
            .and_then(|(key, value)| Some((key.split_once('.')?, value)));
        if let Some(((section, key), value)) = split {
            return (
                source,
                Ok(vec![section.to_owned(), key.to_owned()]),
                value.to_owned(),
            );
        }
        let why = "must be like section.key=value".to_owned();
        (
            source.clone(),
            Err(ConfigError::Setting {
                source_name: source,
                why,
            }),
            String::new(),
        )
    })
}

/// Sets a value, parsed with the type of the key's default.
pub fn set(table: &mut Table, source: &str, key: &[String], text: &str) -> Result<(), ConfigError> {
    let [section, name] = key else {
        return Err(ConfigError::UnknownKey(source.to_owned()));
    };
    let defaults = Table::try_from(Config::default()).expect("TOML can represent the defaults");
    let default = defaults.get(section).and_then(|section| section.get(name));
    let default = default.ok_or_else(|| ConfigError::UnknownKey(source.to_owned()))?;
    let value = read_as(default, text).map_err(|why| ConfigError::Setting {
        source_name: source.to_owned(),
        why,
    })?;
    let section = table
        .entry(section.clone())
        .or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(name.clone(), value);
    }
    // Check here, while the source of the value is known.
    let config: Result<Config, _> = table.clone().try_into();
    match config {
        Ok(_) => Ok(()),
        Err(error) => {
            let why = error.message().replace('\n', " ");
            Err(ConfigError::Setting {
                source_name: source.to_owned(),
                why,
            })
        }
    }
}

/// Parses a value with the type of `default`. Lists are TOML arrays or comma-separated words.
fn read_as(default: &Value, text: &str) -> Result<Value, String> {
    let no = |what: &str| format!("\"{text}\" is not a {what}");
    match default {
        Value::String(_) => Ok(Value::String(text.to_owned())),
        Value::Integer(_) => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| no("whole number")),
        Value::Float(_) => text.parse().map(Value::Float).map_err(|_| no("number")),
        Value::Boolean(_) => text
            .parse()
            .map(Value::Boolean)
            .map_err(|_| no("boolean; write true or false")),
        Value::Array(_) if text.trim_start().starts_with('[') => {
            let document: Table = format!("list = {text}").parse().map_err(|_| no("list"))?;
            document.get("list").cloned().ok_or_else(|| no("list"))
        }
        Value::Array(items) => {
            let words = text
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty());
            let item = |word: &str| match items.first() {
                Some(Value::Integer(_)) => word
                    .parse()
                    .map_or_else(|_| Value::String(word.to_owned()), Value::Integer),
                _ => Value::String(word.to_owned()),
            };
            Ok(Value::Array(words.map(item).collect()))
        }
        Value::Datetime(_) | Value::Table(_) => {
            Err("this key can only be set in a file".to_owned())
        }
    }
}
