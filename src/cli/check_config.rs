//! `millpond check-config`: checks the configuration, or shows its effective values.
//!
//! The main type is [`CheckConfig`].

use std::process::ExitCode;

use serde_json::json;

use super::config_source::ConfigSource;
use super::exit::{FailureCode, error_document};
use super::output::{OutputForm, print_line};
use crate::config::{ConfigLoadError, Setting};
use crate::intercept::Interceptor;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond check-config --config millpond.toml
  millpond check-config --config millpond.toml --show
  millpond check-config --show --json | jq 'select(.from.kind != \"default\")'")]
pub struct CheckConfig {
    /// Print every key with its effective value and where that comes from; secrets are hidden
    #[arg(long)]
    show: bool,
}

impl CheckConfig {
    /// Runs the command.
    pub fn run(self, source: &ConfigSource, form: OutputForm) -> ExitCode {
        let settings = match source.examine() {
            Ok(settings) => settings,
            Err(mistakes) => return report(&mistakes, form),
        };
        if let Err(mistake) = check_authority(source) {
            return report(&[mistake], form);
        }
        if !self.show {
            return form.finish(&"the configuration is valid", || json!({ "valid": true }));
        }
        for setting in &settings {
            let printed = match form {
                OutputForm::Text => print_line(&line_of(setting)),
                OutputForm::Json => print_line(&json!(setting)),
            };
            if let Err(error) = printed {
                return OutputForm::fail_to_print(&error);
            }
        }
        ExitCode::SUCCESS
    }
}

/// Checks the certificate authority of intercepted hosts. Other commands need none.
fn check_authority(source: &ConfigSource) -> Result<(), ConfigLoadError> {
    let config = source.load()?;
    Interceptor::load(&config.intercept, &config.gateway.state_dir)?;
    Ok(())
}

/// Reports each mistake on a line.
fn report(mistakes: &[ConfigLoadError], form: OutputForm) -> ExitCode {
    for mistake in mistakes {
        match form {
            OutputForm::Text => drop(form.fail(mistake, FailureCode::Usage)),
            OutputForm::Json => {
                let mut document = error_document(mistake, FailureCode::Usage);
                document["error"]["key"] = json!(mistake.key());
                document["error"]["line"] = json!(mistake.line());
                if let Err(error) = print_line(&document) {
                    return OutputForm::fail_to_print(&error);
                }
            }
        }
    }
    FailureCode::Usage.into()
}

fn line_of(setting: &Setting) -> String {
    format!("{} = {}  # {}", setting.key, setting.value, setting.from)
}
