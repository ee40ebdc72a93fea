//! `millpond ca`: makes and shows the certificate authority of intercepted hosts.
//!
//! The main type is [`CertificateAuthorityCommand`].

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::config_source::ConfigSource;
use super::exit::FailureCode;
use super::file_rights;
use super::output::OutputForm;
use crate::config::Config;
use crate::intercept::{
    AuthorityError, AuthorityFacts, CERTIFICATE_FILE, CertificateAuthority, KEY_FILE,
    create_authority,
};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond ca init --config /etc/millpond/millpond.toml
  millpond ca show --config /etc/millpond/millpond.toml
  millpond ca show --config /etc/millpond/millpond.toml --pem > millpond-ca.crt")]
pub struct CertificateAuthorityCommand {
    #[command(subcommand)]
    action: AuthorityAction,
}

#[derive(Subcommand)]
enum AuthorityAction {
    /// Make a certificate authority in intercept.ca_dir, limited to intercept.hosts
    #[command(after_help = "Examples:
  millpond ca init --config /etc/millpond/millpond.toml
  millpond ca init --config /etc/millpond/millpond.toml --set intercept.ca_dir=/etc/millpond/ca-2

Other hosts need another certificate authority. Make it in a new folder, let the clients trust it,
and name the folder in intercept.ca_dir.")]
    Init,
    /// Show the certificate that clients have to trust
    #[command(after_help = "Examples:
  millpond ca show --config /etc/millpond/millpond.toml
  millpond ca show --config /etc/millpond/millpond.toml --pem > millpond-ca.crt")]
    Show(ShowAuthority),
}

#[derive(clap::Args)]
struct ShowAuthority {
    /// Print the certificate itself, in PEM
    #[arg(long)]
    pem: bool,
}

impl CertificateAuthorityCommand {
    /// Runs the command.
    pub fn run(self, source: &ConfigSource, form: OutputForm) -> ExitCode {
        let config = match source.load() {
            Ok(config) => config,
            Err(error) => return form.fail(&error, FailureCode::Usage),
        };
        let folder = config.intercept.folder(&config.gateway.state_dir);
        let done = match self.action {
            AuthorityAction::Init => init(&config, &folder, form),
            AuthorityAction::Show(show) => show.run(&config, &folder, form),
        };
        done.unwrap_or_else(|error| {
            let code = match error {
                AuthorityError::Missing(_) => FailureCode::NotFound,
                AuthorityError::NoHosts => FailureCode::Usage,
                _ => FailureCode::Failed,
            };
            form.fail(&error, code)
        })
    }
}

fn init(config: &Config, folder: &Path, form: OutputForm) -> Result<ExitCode, AuthorityError> {
    file_rights::set_umask();
    let unwritable = |error| AuthorityError::Unwritable {
        file: folder.to_owned(),
        error,
    };
    let is_new = !folder.exists();
    // The service must be able to read the key.
    if let Some(owned) = existing(folder) {
        file_rights::take_on_owner(owned).map_err(unwritable)?;
    }
    let authority = create_authority(folder, &config.intercept.host_names())?;
    if let Some(owned) = existing(&config.cache.dir) {
        let files = [CERTIFICATE_FILE, KEY_FILE].map(|name| folder.join(name));
        let folder = is_new.then_some(folder);
        let made = files.iter().map(PathBuf::as_path).chain(folder);
        file_rights::give_to_owner_of(owned, made).map_err(unwritable)?;
    }
    Ok(print(authority.facts(), config, form))
}

/// Returns the folder, or the first one above it that exists.
fn existing(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|ancestor| ancestor.is_dir())
}

impl ShowAuthority {
    fn run(
        &self,
        config: &Config,
        folder: &Path,
        form: OutputForm,
    ) -> Result<ExitCode, AuthorityError> {
        let authority = CertificateAuthority::load(folder)?;
        if self.pem {
            let pem = authority.pem();
            return Ok(form.finish(&pem.trim_end(), || json!({ "pem": pem })));
        }
        Ok(print(authority.facts(), config, form))
    }
}

/// Prints the facts, and hosts that the certificate and the configuration do not share.
fn print(facts: &AuthorityFacts, config: &Config, form: OutputForm) -> ExitCode {
    let listed = config.intercept.host_names();
    let is_covered = |host: &&String| facts.hosts.contains(host);
    let uncovered: Vec<_> = listed.iter().filter(|host| !is_covered(host)).collect();
    let date = |time| humantime::format_rfc3339_seconds(time).to_string();
    let (from, until) = (date(facts.not_before), date(facts.not_after));
    let mut text = format!(
        "certificate  {}\nsubject      {}\nhosts        {}\nvalid        {from} to {until}\n\
         sha256       {}",
        facts.certificate_file.display(),
        facts.subject,
        facts.hosts.join(", "),
        facts.sha256,
    );
    if !uncovered.is_empty() {
        let names: Vec<_> = uncovered.iter().map(|name| name.as_str()).collect();
        let names = names.join(", ");
        write!(text, "\nnot covered  {names}").expect("a string can be written");
    }
    form.finish(&text, || {
        json!({
            "certificate_file": facts.certificate_file,
            "subject": facts.subject,
            "hosts": facts.hosts,
            "uncovered_hosts": uncovered,
            "not_before": from,
            "not_after": until,
            "sha256": facts.sha256,
        })
    })
}
