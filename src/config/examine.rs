//! Examination of a configuration: the effective value of each key with its source, or all
//! mistakes.
//!
//! The main type is [`Setting`].

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::de::DeTable;
use toml::{Table, Value};

use super::layers::{self, Overlay};
use super::{Config, ConfigLoadError, mistakes};
use crate::model::Target;

/// One key with its effective value.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// Section and key, such as `cache.max_size`. Rules and parents have a number.
    pub key: String,
    /// Value, without secrets.
    pub value: Value,
    pub from: SettingSource,
}

/// Place that a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SettingSource {
    Default,
    File {
        path: PathBuf,
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
    },
    Environment {
        name: String,
    },
    Flag,
}

impl fmt::Display for SettingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment { name } => f.write_str(name),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// Reads the layers as [`Config::load`] does, and returns the effective settings.
///
/// # Errors
/// All mistakes of the file, of variables and of flags. Only if there is none, all values that
/// contradict each other.
pub fn examine(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    settings: &[String],
) -> Result<Vec<Setting>, Vec<ConfigLoadError>> {
    let text = match file {
        None => String::new(),
        Some(path) => layers::read_text(path).map_err(|error| vec![error])?,
    };
    examine_text(file, &text, environment, settings)
}

/// Examines a configuration as [`examine`] does, with `text` as that of the file.
///
/// # Errors
/// As [`examine`].
pub fn examine_text(
    file: Option<&Path>,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
    settings: &[String],
) -> Result<Vec<Setting>, Vec<ConfigLoadError>> {
    let path = file.unwrap_or(Path::new(""));
    let (mut table, mut found) = mistakes::in_text(path, text).map_err(|error| vec![error])?;
    let lines = line_numbers(text);
    let in_file = table.clone();
    let overlays = layers::variables(environment).map(Ok);
    let overlays = overlays.chain(settings.iter().map(|flag| layers::parse_flag(flag)));
    let (applied, wrong) = mistakes::in_overlays(&mut table, overlays);
    found.extend(wrong);
    if found.is_empty() {
        found = mistakes::in_values(table.clone());
    }
    if !found.is_empty() {
        return Err(found);
    }
    let config = Config::from_table(table).map_err(|error| vec![error])?;
    let sources = Sources {
        file,
        in_file: &in_file,
        lines: &lines,
        applied: &applied,
    };
    Ok(sources.settings(&config))
}

/// Sources of values.
struct Sources<'a> {
    file: Option<&'a Path>,
    in_file: &'a Table,
    /// Line numbers of the keys of the file.
    lines: &'a HashMap<String, usize>,
    /// Variables and flags in the order in which they were applied.
    applied: &'a [Overlay],
}

impl Sources<'_> {
    fn settings(&self, config: &Config) -> Vec<Setting> {
        let effective = Table::try_from(config).expect("TOML can represent a configuration");
        let mut settings = Vec::new();
        for (section, value) in effective {
            match value {
                Value::Table(keys) => settings.extend(keys.into_iter().map(|(key, value)| {
                    let from = self.source_of(&section, &key);
                    setting(format!("{section}.{key}"), value, from)
                })),
                Value::Array(items) => {
                    let written = self.in_file.get(&section).and_then(Value::as_array);
                    let written = written.map_or(0, Vec::len);
                    settings.extend(items.into_iter().enumerate().map(|(at, item)| {
                        let from = self.source_of_item(at < written, config);
                        setting(format!("{section}[{}]", at + 1), without_empty(item), from)
                    }));
                }
                other => settings.push(setting(section, other, SettingSource::Default)),
            }
        }
        settings
    }

    fn source_of(&self, section: &str, key: &str) -> SettingSource {
        let mut overlays = self.applied.iter().rev();
        let overlay = overlays.find(|overlay| overlay.section == section && overlay.key == key);
        if let Some(overlay) = overlay {
            return if overlay.source.starts_with("--set") {
                SettingSource::Flag
            } else {
                SettingSource::Environment {
                    name: overlay.source.clone(),
                }
            };
        }
        let is_in_file = self
            .in_file
            .get(section)
            .is_some_and(|section| section.get(key).is_some());
        match self.file {
            Some(path) if is_in_file => SettingSource::File {
                path: path.to_owned(),
                line: self.lines.get(&format!("{section}.{key}")).copied(),
            },
            _ => SettingSource::Default,
        }
    }

    /// Returns the file of a rule or a parent. Rules of the main file come first.
    fn source_of_item(&self, is_in_main_file: bool, config: &Config) -> SettingSource {
        let rules_files = &config.policy.rules_files;
        let path = match (is_in_main_file, self.file, &rules_files[..]) {
            (true, Some(path), _) => path.to_owned(),
            (_, _, [path]) => path.clone(),
            _ => PathBuf::from("policy.rules_files"),
        };
        SettingSource::File { path, line: None }
    }
}

fn setting(key: String, value: Value, from: SettingSource) -> Setting {
    Setting {
        key,
        value: redact(value),
        from,
    }
}

/// Hides logins and signatures in URLs. Secrets are hidden by their own type.
fn redact(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains("://") && text.contains(['@', '?']) => {
            Value::String(Target::redact(&text))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(redact).collect()),
        Value::Table(table) => Value::Table(
            table
                .into_iter()
                .map(|(key, value)| (key, redact(value)))
                .collect(),
        ),
        other => other,
    }
}

/// Returns a rule without the keys that have no effect.
fn without_empty(item: Value) -> Value {
    let Value::Table(mut table) = item else {
        return item;
    };
    table.retain(|_, value| match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Table(table) => !table.is_empty(),
        _ => true,
    });
    Value::Table(table)
}

/// Returns the line number of each key of a file, as `section.key`.
fn line_numbers(text: &str) -> HashMap<String, usize> {
    let Ok(document) = DeTable::parse(text) else {
        return HashMap::new();
    };
    let line_of = |start: usize| text[..start].matches('\n').count() + 1;
    let mut lines = HashMap::new();
    for (section, value) in document.get_ref() {
        if let toml::de::DeValue::Table(keys) = value.get_ref() {
            lines.extend(keys.keys().map(|key| {
                let name = format!("{}.{}", section.get_ref(), key.get_ref());
                (name, line_of(key.span().start))
            }));
        }
    }
    lines
}
