//! Properties of the configuration from file, environment and flags.

use std::collections::BTreeMap;

use millpond::config::{Config, ConfigLoadError};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::cases;

/// Number of cases for configurations. Each case is slow: it writes and reads a file, and loads the
/// defaults with every single value.
const CONFIG_CASES: u32 = 96;

/// One value, spelled for a file and for an environment variable.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    section: &'static str,
    key: &'static str,
    toml: String,
    text: String,
}

impl Setting {
    fn variable(&self) -> (String, String) {
        (
            format!("MILLPOND_{}__{}", self.section, self.key).to_ascii_uppercase(),
            self.text.clone(),
        )
    }

    fn flag(&self) -> String {
        format!("{}.{}={}", self.section, self.key, self.text)
    }

    fn is_for(&self, other: &Self) -> bool {
        (self.section, self.key) == (other.section, other.key)
    }
}

/// The values that a key accepts.
#[derive(Debug, Clone, Copy)]
enum Takes {
    Word(&'static str),
    OneOf(&'static [&'static str]),
    Words(&'static [&'static str]),
    Numbers,
    Ports,
    Number(u32),
    Share(u32, u32),
    Size,
    Span,
}

const KEYS: &[(&str, &str, Takes)] = &[
    (
        "gateway",
        "listen",
        Takes::Word("127\\.0\\.0\\.1:[1-9][0-9]{3}"),
    ),
    ("gateway", "name", Takes::Word("[a-z0-9._-]{0,12}")),
    (
        "gateway",
        "public_url",
        Takes::Word("https?://[a-z]{1,8}\\.example\\.org"),
    ),
    (
        "gateway",
        "state_dir",
        Takes::Word("[a-zA-Z0-9/._\"'\\\\-][a-zA-Z0-9 /._\"'\\\\-]{0,11}"),
    ),
    ("gateway", "miss", Takes::OneOf(&["redirect", "relay"])),
    (
        "gateway",
        "redirect_agents",
        Takes::Words(&["curl/", "Wget/1.21", "libdnf"]),
    ),
    (
        "gateway",
        "trusted_proxies",
        Takes::Words(&["127.0.0.1/32", "::1/128", "192.0.2.0/24"]),
    ),
    ("gateway", "shutdown_grace", Takes::Span),
    (
        "proxy",
        "listen",
        Takes::OneOf(&["", "127.0.0.1:3129", "[::1]:3128"]),
    ),
    ("proxy", "tunnel_idle_timeout", Takes::Span),
    (
        "cache",
        "dir",
        Takes::Word("[a-zA-Z0-9/._\"'\\\\-][a-zA-Z0-9 /._\"'\\\\-]{0,11}"),
    ),
    ("cache", "max_size", Takes::Size),
    ("cache", "high_watermark", Takes::Share(70, 100)),
    ("cache", "low_watermark", Takes::Share(1, 70)),
    ("cache", "negative_ttl", Takes::Span),
    ("cache", "verified_for", Takes::Span),
    ("cache", "map_capacity", Takes::Number(1_000_000)),
    ("fetch", "concurrency", Takes::Number(1000)),
    ("fetch", "budget", Takes::Span),
    ("fetch", "min_speed", Takes::Size),
    (
        "policy",
        "allow_clients",
        Takes::Words(&["0.0.0.0/0", "::/0", "10.0.0.0/8"]),
    ),
    (
        "policy",
        "allow_hosts",
        Takes::Words(&["example.org", ".example.org", "EXAMPLE.net", "127.0.0.1"]),
    ),
    (
        "policy",
        "deny_suffixes",
        Takes::Words(&[".mp3", ".exe", ".iso"]),
    ),
    ("policy", "ports", Takes::Ports),
    ("policy", "connect_ports", Takes::Numbers),
    ("policy", "max_object_size", Takes::Size),
    (
        "dns",
        "addresses",
        Takes::Words(&["192.0.2.1", "2001:db8::1"]),
    ),
    ("dns", "ttl", Takes::Span),
    (
        "dns",
        "tsig_algorithm",
        Takes::OneOf(&["hmac-sha256", "hmac-sha384", "hmac-sha512"]),
    ),
    ("log", "format", Takes::OneOf(&["text", "json"])),
    (
        "log",
        "level",
        Takes::OneOf(&["error", "warn", "info", "debug", "trace"]),
    ),
];

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Generates a value as TOML and as the plain text of a variable.
fn values(takes: Takes) -> BoxedStrategy<(String, String)> {
    let plain = |text: String| (quoted(&text), text);
    let as_list = |items: &[String], toml: &str, style: usize| match style {
        // The styles are plain words with commas, the same with spaces, and a TOML list.
        0 => items.join(","),
        1 => format!(" {} ", items.join(" , ")),
        _ => toml.to_owned(),
    };
    match takes {
        Takes::Word(pattern) => proptest::string::string_regex(pattern)
            .expect("the pattern is valid")
            .prop_map(plain)
            .boxed(),
        Takes::OneOf(words) => select(words)
            .prop_map(move |word: &str| plain(word.to_owned()))
            .boxed(),
        Takes::Words(words) => (vec(select(words), 0..4), 0..3usize)
            .prop_map(move |(items, style)| {
                let items: Vec<String> = items.into_iter().map(str::to_owned).collect();
                let list: Vec<String> = items.iter().map(|item| quoted(item)).collect();
                let toml = format!("[{}]", list.join(", "));
                let text = as_list(&items, &toml, style);
                (toml, text)
            })
            .boxed(),
        Takes::Numbers => (
            vec(any::<u16>().prop_map(|number| number.to_string()), 0..4),
            0..3usize,
        )
            .prop_map(move |(items, style)| {
                let toml = format!("[{}]", items.join(", "));
                let text = as_list(&items, &toml, style);
                (toml, text)
            })
            .boxed(),
        Takes::Ports => {
            let port = (select(vec!["", "http:", "https:", "ftp:"]), 1024..=u16::MAX);
            let items = vec(
                port.prop_map(|(scheme, number)| format!("{scheme}{number}")),
                0..4,
            );
            (items, 0..3usize)
                .prop_map(move |(items, style)| {
                    let item = |item: &String| {
                        if item.contains(':') {
                            quoted(item)
                        } else {
                            item.clone()
                        }
                    };
                    let toml = format!(
                        "[{}]",
                        items.iter().map(item).collect::<Vec<_>>().join(", ")
                    );
                    let text = as_list(&items, &toml, style);
                    (toml, text)
                })
                .boxed()
        }
        Takes::Number(largest) => (1..=largest)
            .prop_map(|number| (number.to_string(), number.to_string()))
            .boxed(),
        Takes::Share(least, most) => (least..=most)
            .prop_map(|share| {
                (
                    format!("{}.{:02}", share / 100, share % 100),
                    format!("{}", f64::from(share) / 100.0),
                )
            })
            .boxed(),
        Takes::Size => {
            let unit = select(vec!["B", "KiB", "MiB", "GiB", "TiB", "MB", " GiB", ""]);
            (0..2048u32, unit)
                .prop_map(move |(number, unit)| plain(format!("{number}{unit}")))
                .boxed()
        }
        Takes::Span => {
            let unit = select(vec!["ms", "s", "m", "h", "d", "min", " s"]);
            (1..500u32, unit)
                .prop_map(move |(number, unit)| plain(format!("{number}{unit}")))
                .boxed()
        }
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    select(KEYS).prop_flat_map(|(section, key, takes)| {
        values(takes).prop_map(move |(toml, text)| Setting {
            section,
            key,
            toml,
            text,
        })
    })
}

/// Generates settings of different keys.
fn settings() -> impl Strategy<Value = Vec<Setting>> {
    vec(setting(), 0..6).prop_map(|settings| {
        let mut unique: Vec<Setting> = Vec::new();
        for setting in settings {
            if !unique.iter().any(|known| known.is_for(&setting)) {
                unique.push(setting);
            }
        }
        unique
    })
}

/// Writes a configuration file with these settings.
fn file_of(settings: &[Setting]) -> tempfile::NamedTempFile {
    let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for setting in settings {
        let lines = sections.entry(setting.section).or_default();
        lines.push(format!("{} = {}", setting.key, setting.toml));
    }
    let text: Vec<String> = sections
        .iter()
        .map(|(section, lines)| format!("[{section}]\n{}\n", lines.join("\n")))
        .collect();
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be created");
    std::fs::write(file.path(), text.concat()).expect("a temporary file can be written");
    file
}

fn load(
    file: &[Setting],
    variables: &[Setting],
    flags: &[Setting],
) -> Result<Config, ConfigLoadError> {
    let file = file_of(file);
    // Variables of other programs, and those of the client commands, are not configuration.
    let foreign = ["PATH", "MILLPOND_URL", "MILLPOND_", "millpond_cache__dir"];
    let environment = variables
        .iter()
        .map(Setting::variable)
        .chain(foreign.map(|name| (name.to_owned(), "1".to_owned())));
    let flags: Vec<String> = flags.iter().map(Setting::flag).collect();
    Config::load(Some(file.path()), environment, &flags)
}

proptest! {
    #![proptest_config(cases(CONFIG_CASES))]

    #[test]
    fn file_environment_and_flags_are_equivalent(settings in settings()) {
        let by_file = load(&settings, &[], &[]).unwrap();
        prop_assert_eq!(&load(&[], &settings, &[]).unwrap(), &by_file);
        prop_assert_eq!(&load(&[], &[], &settings).unwrap(), &by_file);
        // Every other value is still its default.
        let written = toml::Table::try_from(&by_file).unwrap();
        for (section, keys) in toml::Table::try_from(Config::default()).unwrap() {
            for (key, default) in keys.as_table().unwrap() {
                let is_set = settings
                    .iter()
                    .any(|setting| setting.section == section && setting.key == key);
                prop_assert!(is_set || &written[&section][key] == default, "{section}.{key}");
            }
        }
    }

    #[test]
    fn flags_override_environment_which_overrides_file(
        file in settings(),
        variables in settings(),
        flags in settings(),
    ) {
        let mut winning = flags.clone();
        for setting in variables.iter().chain(&file) {
            if !winning.iter().any(|stronger| stronger.is_for(setting)) {
                winning.push(setting.clone());
            }
        }
        let expected = load(&winning, &[], &[]).unwrap();
        prop_assert_eq!(load(&file, &variables, &flags).unwrap(), expected);
    }

    #[test]
    fn configuration_reads_back_as_written(settings in settings()) {
        let config = load(&settings, &[], &[]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml::to_string(&config).unwrap()).unwrap();
        prop_assert_eq!(Config::load(Some(file.path()), [], &[]).unwrap(), config);
    }

    #[test]
    fn invalid_key_or_value_is_reported_by_name(
        settings in settings(),
        (section, key, takes) in select(KEYS),
        word in "[a-z]{3,9}",
    ) {
        let unknown = format!("{key}_{word}");
        let wrong = |key: &str, text: &str| {
            let name = format!("MILLPOND_{section}__{key}").to_ascii_uppercase();
            let variable = (name, text.to_owned());
            let environment = settings.iter().map(Setting::variable).chain([variable.clone()]);
            let error = Config::load(None, environment, &[]).unwrap_err().to_string();
            prop_assert!(error.contains(&variable.0) && !error.contains('\n'), "{error:?}");
            let flag = format!("{section}.{key}={text}");
            let error = Config::load(None, [], &[flag]).unwrap_err().to_string();
            let setting = format!("{section}.{key}");
            prop_assert!(error.contains(&setting) && !error.contains('\n'), "{error:?}");
            let file = tempfile::NamedTempFile::new().unwrap();
            let lines = format!("# one\n\n[{section}]\n{key} = {}\n", quoted(text));
            std::fs::write(file.path(), lines).unwrap();
            let error = Config::load(Some(file.path()), [], &[]).unwrap_err().to_string();
            let names_place = error.contains(":4: ") && error.contains(key);
            prop_assert!(names_place && !error.contains('\n'), "{error:?}");
            Ok(())
        };
        wrong(&unknown, "1")?;
        // A word is never a valid number, size, duration or one of a few fixed words.
        if key != "listen" && !matches!(takes, Takes::Word(_) | Takes::Words(_)) {
            wrong(key, &format!("x{word}"))?;
        }
    }
}
