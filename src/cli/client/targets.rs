//! `millpond refresh | pin | unpin`: changes to the records of a target.
//!
//! The main types are the commands.

use reqwest::Method;
use serde_json::Value;

use super::api_client::{ApiClient, show};
use super::failure::Failure;
use super::table::{counted, text};
use crate::cli::exit::FailureCode;
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::OutputForm;
use crate::model::{FileUrl, Sha256};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond refresh https://example.org/x-1.0.tar.gz
  millpond refresh --accept https://example.org/x-1.0.tar.gz")]
pub struct Refresh {
    /// URL of the file
    url: FileUrl,
    /// Serve the new bytes from now on
    #[arg(long)]
    accept: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond pin https://example.org/x-1.0.tar.gz
  millpond pin https://example.org/x-1.0.tar.gz --sha256 <hex>")]
pub struct PinTarget {
    /// URL of the file
    url: FileUrl,
    /// Digest of one of its records; the default is the active one
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond unpin https://example.org/x-1.0.tar.gz")]
pub struct UnpinTarget {
    /// URL of the file
    url: FileUrl,
    /// Digest of one pin; the default is all pins
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
}

impl Refresh {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        let parameters = [
            ("url", self.url.as_str()),
            ("accept", if self.accept { "true" } else { "false" }),
        ];
        let refreshed = api.call(Method::POST, "refresh", &parameters).await?;
        show(
            &api,
            &refreshed,
            &format!("{}  {}", text(&refreshed["sha256"]), self.url),
        )?;
        if refreshed["changed"] == true && refreshed["accepted"] != true {
            let previous = text(&refreshed["previous_sha256"]);
            let line = format!(
                "the bytes have changed; sha256:{previous} is served until you refresh with \
                 --accept"
            );
            return Err(Failure::new(FailureCode::Corrupt, line));
        }
        Ok(())
    }
}

impl PinTarget {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        let pinned = call_pins(&api, Method::PUT, self.url.as_str(), self.sha256).await?;
        let line = format!("{}  {}", text(&pinned["pinned"]), self.url);
        show(&api, &pinned, &line)
    }
}

impl UnpinTarget {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        let unpinned = call_pins(&api, Method::DELETE, self.url.as_str(), self.sha256).await?;
        let line = format!("removed {}", counted(&unpinned["unpinned"], "pin"));
        show(&api, &unpinned, &line)
    }
}

async fn call_pins(
    api: &ApiClient,
    method: Method,
    url: &str,
    sha256: Option<Sha256>,
) -> Result<Value, Failure> {
    let sha256 = sha256.map(|sha256| sha256.to_string());
    let mut parameters = vec![("url", url)];
    parameters.extend(sha256.as_deref().map(|sha256| ("sha256", sha256)));
    api.call(method, "pins", &parameters).await
}
