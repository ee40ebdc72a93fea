//! `millpond doctor`: finds what is wrong with a gateway, and with the machine that it runs on.
//!
//! The main type is [`Doctor`].

mod finding;
mod folders;
mod gateway;
mod machine;

use std::process::ExitCode;

use super::config_source::ConfigSource;
use super::exit::FailureCode;
use super::gateway_args::{DEFAULT_GATEWAY, GatewayArgs};
use super::output::{OutputForm, print_line};
use finding::{Finding, FindingState};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond doctor --gateway sources.example.org
  millpond doctor --config /etc/millpond.toml
  millpond doctor --config /etc/millpond.toml --json

Without --gateway and MILLPOND_URL, the gateway is at gateway.listen of --config.

With --config, the ports, disk, inodes, folders, names, clock, nginx settings, bucket and
certificate store of this machine are checked as well. Run it as the user of the service.")]
pub struct Doctor;

impl Doctor {
    /// Makes all checks, and prints one line for each finding.
    pub async fn run(
        self,
        gateway: &GatewayArgs,
        source: &ConfigSource,
        form: OutputForm,
    ) -> ExitCode {
        let gateway = match gateway.url() {
            Ok(gateway) => gateway,
            Err(error) => return form.fail(&error, FailureCode::Usage),
        };
        let config = match source.config.as_ref().map(|_| source.load()).transpose() {
            Ok(config) => config,
            Err(error) => return form.fail(&error, FailureCode::Usage),
        };
        let url = match (&gateway, &config) {
            (Some(url), _) => url.without_login().to_string(),
            (None, Some(config)) => {
                format!("http://{}", machine::reachable(&config.gateway.listen))
            }
            (None, None) => DEFAULT_GATEWAY.to_owned(),
        };
        let mut findings = gateway::check(&url).await;
        if let Some(config) = config {
            findings.extend(machine::check(config).await);
        }
        report(&findings, form)
    }
}

/// Prints the findings. The last line states the first one that failed.
fn report(findings: &[Finding], form: OutputForm) -> ExitCode {
    let failed: Vec<_> = findings
        .iter()
        .filter(|finding| finding.state == FindingState::Failed)
        .collect();
    let is_single = findings.len() == 1 && form == OutputForm::Text;
    for finding in findings {
        if is_single && !failed.is_empty() {
            break;
        }
        let printed = match form {
            OutputForm::Text => print_line(&finding.line()),
            OutputForm::Json => print_line(&serde_json::json!(finding)),
        };
        if let Err(error) = printed {
            return OutputForm::fail_to_print(&error);
        }
    }
    match (&failed[..], form) {
        ([], _) => ExitCode::SUCCESS,
        (_, OutputForm::Json) => FailureCode::Failed.into(),
        ([first], _) => form.fail(&first.text_with_advice(), FailureCode::Failed),
        ([first, rest @ ..], _) => form.fail(
            &format_args!("{}; and {} more", first.text_with_advice(), rest.len()),
            FailureCode::Failed,
        ),
    }
}
