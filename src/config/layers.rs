//! Layers of configuration: files, environment variables and `--set` flags.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Config, ConfigLoadError};
use crate::model::ConfigError;
use crate::policy::Rule;

/// Prefix of configuration variables. A double underscore separates section and key.
const PREFIX: &str = "MILLPOND_";

/// Setting from an environment variable or a flag.
pub struct Overlay {
    /// Name of the variable, or the flag without its value. Error messages contain it.
    pub source: String,
    pub section: String,
    pub key: String,
    /// Value as text.
    pub value: String,
}

/// File that contains only rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    rules: Vec<Rule>,
}

/// Reads the rules of all files, in order.
pub fn read_rules(paths: &[PathBuf]) -> Result<Vec<Rule>, ConfigLoadError> {
    let files: Vec<RulesFile> = paths
        .iter()
        .map(|path| Ok(parse_file(path)?.0))
        .collect::<Result<_, ConfigLoadError>>()?;
    Ok(files.into_iter().flat_map(|file| file.rules).collect())
}

/// Reads a configuration file. Cross-checks between keys run later, on the complete configuration.
pub fn read_file(path: &Path) -> Result<Table, ConfigLoadError> {
    Ok(parse_file::<Config>(path)?.1)
}

/// Reads and checks a file on its own, because line numbers are only known from its text.
fn parse_file<T: DeserializeOwned>(path: &Path) -> Result<(T, Table), ConfigLoadError> {
    parse_text(path, &read_text(path)?).map_err(|(error, _)| error)
}

/// Reads the text of a file.
pub fn read_text(path: &Path) -> Result<String, ConfigLoadError> {
    std::fs::read_to_string(path).map_err(|error| ConfigLoadError::Unreadable {
        path: path.to_owned(),
        error,
    })
}

/// Parses the text of a file.
///
/// # Errors
/// [`ConfigLoadError`] with the line, and the offset of the mistake in bytes if it is known.
pub fn parse_text<T: DeserializeOwned>(
    path: &Path,
    text: &str,
) -> Result<(T, Table), (ConfigLoadError, Option<usize>)> {
    let line_error = |error: &toml::de::Error| {
        let place = error.span().map(|span| span.start.min(text.len()));
        let line = text[..place.unwrap_or(0)].matches('\n').count() + 1;
        // The value may be a secret, so the message only contains the key. An item of an array may
        // stand on a later line than its key.
        let above: Vec<&str> = text.lines().take(line).collect();
        let has_key = |line: &&&str| line.contains('=') || line.starts_with('[');
        let key_line = above.iter().rev().find(has_key).copied();
        let key = key_line.unwrap_or_default();
        let key = key.split('=').next().unwrap_or_default().trim();
        let error = ConfigLoadError::Line {
            path: path.to_owned(),
            line,
            error: ConfigError::new(key, one_line(error)),
        };
        (error, place)
    };
    let parsed = toml::from_str(text).map_err(|error| line_error(&error))?;
    let table = text.parse().map_err(|error| line_error(&error))?;
    Ok((parsed, table))
}

/// Returns the settings in environment variables. `MILLPOND_CACHE__MAX_SIZE` sets `cache.max_size`.
pub fn variables(
    environment: impl IntoIterator<Item = (String, String)>,
) -> impl Iterator<Item = Overlay> {
    environment.into_iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(PREFIX)?;
        let (section, key) = key.split_once("__")?;
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        Some(Overlay {
            source: name,
            section,
            key,
            value,
        })
    })
}

/// Parses a `--set` flag such as `cache.max_size=50GiB`.
///
/// # Errors
/// [`ConfigError`] if the flag has another form. The text contains no value.
pub fn parse_flag(flag: &str) -> Result<Overlay, ConfigError> {
    // A text that does not look like a key may be a misplaced secret.
    let is_key = |text: &&str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.'))
    };
    let printable = flag.split('=').next().filter(is_key).unwrap_or("…");
    let source = format!("--set {printable}");
    let parts = flag
        .split_once('=')
        .and_then(|(key, value)| Some((key.split_once('.')?, value)));
    match parts {
        Some(((section, key), value)) => Ok(Overlay {
            source,
            section: section.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        None => Err(ConfigError::new(source, "must be like section.key=value")),
    }
}

/// Applies an overlay to a configuration. Its value is parsed with the type of the key's default.
///
/// # Errors
/// [`ConfigError`] with the overlay's source, if the key is unknown or the value is invalid.
pub fn apply(table: &mut Table, overlay: &Overlay) -> Result<(), ConfigError> {
    let Overlay {
        source,
        section,
        key,
        value,
    } = overlay;
    let invalid = |reason: &dyn Display| ConfigError::new(source, reason);
    let defaults = Table::try_from(Config::default()).expect("TOML can represent the defaults");
    let default = defaults
        .get(section)
        .and_then(|section| section.get(key))
        .ok_or_else(|| invalid(&"unknown configuration key"))?;
    let value = parse_value(default, value).map_err(|reason| invalid(&reason))?;
    let section = table
        .entry(section.clone())
        .or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(key.clone(), value);
    }
    // Check here, while the source of the value is known.
    let config: Result<Config, _> = table.clone().try_into();
    config.map(drop).map_err(|error| invalid(&one_line(&error)))
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}

/// Error returned when a text is not a value of the key's type.
#[derive(Debug, thiserror::Error)]
enum ParseValueError {
    #[error("\"{0}\" is not a whole number")]
    Integer(String),
    #[error("\"{0}\" is not a number")]
    Float(String),
    #[error("\"{0}\" is not a boolean; write true or false")]
    Boolean(String),
    #[error("\"{0}\" is not a list")]
    List(String),
    #[error("this key can only be set in a file")]
    OnlyInFile,
}

/// Parses a value with the type of `default`. Lists are TOML arrays or comma-separated words.
fn parse_value(default: &Value, text: &str) -> Result<Value, ParseValueError> {
    let owned = || text.to_owned();
    match default {
        Value::String(_) => Ok(Value::String(owned())),
        Value::Integer(_) => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| ParseValueError::Integer(owned())),
        Value::Float(_) => text
            .parse()
            .map(Value::Float)
            .map_err(|_| ParseValueError::Float(owned())),
        Value::Boolean(_) => text
            .parse()
            .map(Value::Boolean)
            .map_err(|_| ParseValueError::Boolean(owned())),
        Value::Array(_) if text.trim_start().starts_with('[') => {
            let document = format!("list = {text}").parse::<Table>().ok();
            document
                .and_then(|document| document.get("list").cloned())
                .ok_or_else(|| ParseValueError::List(owned()))
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
        Value::Datetime(_) | Value::Table(_) => Err(ParseValueError::OnlyInFile),
    }
}
