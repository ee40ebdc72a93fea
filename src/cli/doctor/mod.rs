//! `millpond doctor`: finds what is wrong with a gateway, and with the machine that it runs on.
//!
//! The main type is [`Doctor`].

mod bounded;
mod finding;
mod folders;
mod gateway;
mod group_access;
mod interception;
mod machine;
mod names;
mod nginx;
mod nginx_file;
mod ports;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;

use super::config_source::ConfigSource;
use super::exit::FailureCode;
use super::gateway_args::{DEFAULT_GATEWAY, GatewayArgs};
use super::output::{OutputForm, print_line};
use crate::model::FileUrl;
use finding::{Finding, FindingState};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond doctor --gateway sources.example.org
  millpond doctor --config /etc/millpond/millpond.toml
  millpond doctor --config /etc/millpond/millpond.toml --json
  millpond doctor --config /etc/millpond/millpond.toml https://example.org/x-1.0.tar.gz

Without --gateway and MILLPOND_URL, the gateway is at gateway.listen of --config.

The gateway asks upstream for each URL by HEAD, and stores nothing. With --config, the hosts of its
rules are asked too, and the ports, disk, inodes, folders, name servers, clock, nginx, parents,
bucket, certificate store and certificate authority of this machine are checked. Run it as root, or
as the user of the service, which may be unable to read the files of nginx.

Each check has a bound. The exit code is 1 if one failed; warnings do not change it.")]
pub struct Doctor {
    /// URLs that the gateway should reach
    #[arg(value_name = "URL")]
    urls: Vec<FileUrl>,
    /// Configuration file of nginx; without it, the one that nginx uses by itself
    #[arg(long, value_name = "FILE")]
    nginx: Option<PathBuf>,
    /// Check the folders of the configuration, and nothing else. Doctor starts itself with this.
    #[arg(long, hide = true)]
    only_folders: bool,
}

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
        if self.only_folders
            && let Some(config) = &config
        {
            let mut findings = folders::check(config);
            findings.extend(interception::check(config));
            return report(&findings, form);
        }
        if self.nginx.is_some() && config.is_none() {
            return form.fail(&"--nginx needs --config", FailureCode::Usage);
        }
        let url = match (&gateway, &config) {
            (Some(url), _) => url.without_login().to_string(),
            (None, Some(config)) => {
                format!("http://{}", ports::reachable(&config.gateway.listen))
            }
            (None, None) => DEFAULT_GATEWAY.to_owned(),
        };
        let mut findings = gateway::check(&url).await;
        if findings
            .iter()
            .all(|finding| finding.state != FindingState::Failed)
        {
            let with_login = gateway.map_or_else(|| url.clone(), |gateway| gateway.to_string());
            findings.extend(upstream::check(&with_login, &self.urls, config.as_ref()).await);
        }
        if let Some(config) = config {
            findings.extend(machine::check(config, source, self.nginx.as_deref()).await);
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
