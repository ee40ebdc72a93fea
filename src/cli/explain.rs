//! `millpond explain`: how the configuration treats a URL.
//!
//! The command reads the configuration and opens no connection. Its main type is [`Explain`].

use std::process::ExitCode;

use serde_json::{Value, json};

use super::config_source::ConfigSource;
use super::exit::FailureCode;
use super::output::OutputForm;
use crate::config::Config;
use crate::model::{ConfigError, Key, Target};
use crate::policy::{Explanation, MatchingRule, Policy};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond explain https://example.org/x-1.0.tar.gz
  millpond explain --config millpond.toml --json https://example.org/latest.tar.gz")]
pub struct Explain {
    /// URL of the file
    url: String,
}

impl Explain {
    /// Runs the command.
    pub fn run(self, source: &ConfigSource, form: OutputForm) -> ExitCode {
        let Ok(target) = Target::parse(&self.url) else {
            let spelling = Target::redact(&self.url);
            let text = format!("{spelling} is no URL of http, https or ftp");
            return form.fail(&text, FailureCode::Usage);
        };
        let config = match source.load() {
            Ok(config) => config,
            Err(error) => return form.fail(&error, FailureCode::Usage),
        };
        match explain(config, &target) {
            Ok(explanation) => form.finish(&to_text(&target, &explanation), || {
                to_json(&target, &explanation)
            }),
            Err(error) => form.fail(&error, FailureCode::Usage),
        }
    }
}

fn explain(config: Config, target: &Target) -> Result<Explanation, ConfigError> {
    let policy = Policy::new(config.policy, config.rules, &config.parents, config.limits)?;
    Ok(policy.explain(target))
}

/// Returns the document of `--json`. Fields without a value are null or empty.
fn to_json(target: &Target, explanation: &Explanation) -> Value {
    let classified = &explanation.classified;
    let rules = explanation.rules.iter().map(|rule| {
        let conditions = rule.conditions.iter();
        json!({
            "number": rule.number,
            "conditions": conditions
                .map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str())))
                .collect::<serde_json::Map<_, _>>(),
            "settings": rule.settings,
        })
    });
    json!({
        "url": target.redacted(),
        "stored_as": explanation.stored_as.redacted(),
        "key": Key::new(&explanation.stored_as).to_string(),
        "class": classified.class(),
        "reason": classified.reason().to_string(),
        "required_digest": required_digest(explanation),
        "rules": rules.collect::<Vec<_>>(),
        "denied": explanation.denied.as_ref().map(ToString::to_string),
    })
}

/// Returns one line for each fact.
fn to_text(target: &Target, explanation: &Explanation) -> String {
    let classified = &explanation.classified;
    let mut lines = vec![
        format!("class      {}", classified.class()),
        format!("reason     {}", classified.reason()),
    ];
    lines.extend(required_digest(explanation).map(|digest| format!("digest     {digest}")));
    lines.extend(explanation.rules.iter().map(rule_line));
    lines.push(format!("target     {}", target.redacted()));
    if explanation.stored_as != *target {
        lines.push(format!("stored as  {}", explanation.stored_as.redacted()));
    }
    lines.push(format!("key        {}", Key::new(&explanation.stored_as)));
    let denied = explanation.denied.as_ref();
    lines.extend(denied.map(|denied| format!("denied     {denied}")));
    lines.join("\n")
}

fn required_digest(explanation: &Explanation) -> Option<String> {
    let found = explanation.classified.path_digest()?;
    Some(found.digest().to_string())
}

fn rule_line(rule: &MatchingRule) -> String {
    let conditions: Vec<_> = rule
        .conditions
        .iter()
        .map(|(key, value)| format!("{key} = \"{value}\""))
        .collect();
    let conditions = match conditions[..] {
        [] => "every target".to_owned(),
        _ => conditions.join(", "),
    };
    let label = format!("rule {}", rule.number);
    let settings = rule.settings.join(", ");
    format!("{label:<10} {conditions}; sets {settings}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(rules: &str, url: &str) -> (String, Value) {
        let config: Config = toml::from_str(rules).unwrap();
        let target = Target::parse(url).unwrap();
        let explanation = explain(config, &target).unwrap();
        (
            to_text(&target, &explanation),
            to_json(&target, &explanation),
        )
    }

    #[test]
    fn explanation_names_class_rules_and_key() {
        let rules = "[[rules]]\nhost = \"other.example.org\"\nclass = \"pass\"\n\
            [[rules]]\npath = \"/*/x.txt\"\nclass = \"immutable\"\n\
            [[rules]]\nhost = \"example.org\"\n\
            canonical_url = \"https://cdn.example.org/{path}\"\n";
        let (text, json) = explained(rules, "https://example.org/v1/x.txt");
        let stored_as = Target::parse("https://cdn.example.org/v1/x.txt").unwrap();
        let key = Key::new(&stored_as);
        assert_eq!(
            text,
            format!(
                "class      immutable\n\
                 reason     rule 2\n\
                 rule 2     path = \"/*/x.txt\"; sets class\n\
                 rule 3     host = \"example.org\"; sets canonical_url\n\
                 target     https://example.org/v1/x.txt\n\
                 stored as  https://cdn.example.org/v1/x.txt\n\
                 key        {key}"
            )
        );
        assert_eq!(
            json,
            json!({
                "url": "https://example.org/v1/x.txt",
                "stored_as": "https://cdn.example.org/v1/x.txt",
                "key": key.to_string(),
                "class": "immutable",
                "reason": "rule 2",
                "required_digest": null,
                "rules": [
                    {"number": 2, "conditions": {"path": "/*/x.txt"}, "settings": ["class"]},
                    {
                        "number": 3,
                        "conditions": {"host": "example.org"},
                        "settings": ["canonical_url"],
                    },
                ],
                "denied": null,
            })
        );
    }

    #[test]
    fn explanation_shows_denial_and_no_secret() {
        let rules = "[policy]\ndeny_hosts = [\"example.org\"]\n\
            [[rules]]\nscheme = \"https\"\nhost = \"example.org\"\n\
            authorization = \"S3CRET\"\n";
        let (text, json) = explained(rules, "https://example.org/x-1.0.gz?token=S3CRET");
        assert!(!text.contains("S3CRET") && !json.to_string().contains("S3CRET"));
        assert!(
            text.contains("class      pass\nreason     signed query\n"),
            "{text}"
        );
        assert!(text.contains("sets headers"), "{text}");
        assert!(text.contains("policy.deny_hosts"), "{text}");
        assert_eq!(json["class"], "pass");
    }
}
