//! `millpond rm`: removes a URL with its records, or one object, after a question.
//!
//! The main type is [`Rm`].

use std::fmt;
use std::io::{self, IsTerminal as _};

use reqwest::Method;

use super::api_client::{ApiClient, show};
use super::failure::Failure;
use super::table::size_of;
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, notice};
use crate::model::{FileUrl, Sha256};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond rm https://example.org/x-1.0.tar.gz
  millpond rm --yes --sha256 <hex>

A pinned file is not removed: millpond unpin comes first.")]
pub struct Rm {
    #[arg(required_unless_present = "sha256")]
    /// URL of the file
    url: Option<FileUrl>,
    /// Remove the object with this digest, but no records
    #[arg(long, value_name = "HEX", conflicts_with = "url")]
    sha256: Option<Sha256>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Rm {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let removal = match (self.url, self.sha256) {
            (_, Some(sha256)) => RemovedThing::Object(sha256),
            (Some(url), None) => RemovedThing::File(url),
            (None, None) => return Err(Failure::usage("rm needs a URL or --sha256")),
        };
        if !self.yes {
            confirm(&removal)?;
        }
        let api = ApiClient::new(gateway, form)?;
        let removed = match removal {
            RemovedThing::File(url) => {
                let parameters = [("url", url.as_str()), ("keep_pinned", "true")];
                api.call(Method::DELETE, "objects", &parameters).await?
            }
            RemovedThing::Object(sha256) => {
                let resource = format!("objects/sha256/{sha256}");
                api.call(Method::DELETE, &resource, &[]).await?
            }
        };
        let freed = size_of(&removed["freed_bytes"]);
        show(&api, &removed, &format!("{freed} were freed"))
    }
}

/// Things that the command can remove.
enum RemovedThing {
    File(FileUrl),
    Object(Sha256),
}

impl fmt::Display for RemovedThing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(url) => write!(f, "{url} with its records"),
            Self::Object(sha256) => write!(f, "the object {sha256}"),
        }
    }
}

/// Asks the person at the terminal.
fn confirm(removal: &RemovedThing) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "rm asks before it removes; use --yes where standard input is no terminal",
        ));
    }
    notice(&format_args!("Remove {removal}? [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was removed")),
    }
}
