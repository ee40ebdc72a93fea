//! `millpond ensure`: has a gateway fetch and store files, without a download.
//!
//! The main type is [`Ensure`].

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::api_client::{ApiClient, GatewayArgs};
use super::batch::run_all;
use super::failure::Failure;
use super::file_request::{GatewayRequest, RequestedPart, active_record};
use super::progress::ProgressBars;
use super::url_list::{UrlArgs, WantedFile};
use crate::cli::output::OutputForm;

/// How often the gateway is asked for the record of a file whose last byte has just arrived.
const MAX_POLLS: usize = 100;

/// Interval between these requests.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond ensure https://example.org/x-1.0.tar.gz
  millpond ensure -i list.txt --jobs 16 --json
  spectool -l x.spec | awk '/^Source/ { print $2 }' | millpond ensure -")]
pub struct Ensure {
    #[command(flatten)]
    files: UrlArgs,
    #[command(flatten)]
    arguments: GatewayArgs,
}

impl Ensure {
    /// Runs the command.
    pub async fn run(self, form: OutputForm) -> Result<(), Failure> {
        let files = self.files.files()?;
        let api = ApiClient::new(self.arguments, form)?;
        let bars = ProgressBars::new(files.len(), form);
        let headers = self.files.headers();
        let (api, headers, shown) = (&api, &headers, &bars);
        run_all(&files, self.files.jobs, &bars, form, |file| {
            ensure(api, headers, file, shown)
        })
        .await
    }
}

async fn ensure(
    api: &ApiClient,
    headers: &HeaderMap,
    file: &WantedFile,
    bars: &ProgressBars,
) -> Result<(), Failure> {
    let bar = bars.begin(&file.url.to_string());
    let request = GatewayRequest { api, file, headers };
    // The gateway sends the last byte only after it has verified the whole file.
    let mut response = request.send(RequestedPart::LastByte).await?;
    if is_passed_through(&response) {
        // A range of a file that may change is not stored. The whole file may be.
        response = request.send(RequestedPart::NoRange).await?;
    }
    if is_passed_through(&response) {
        return Err(Failure::failed(
            "the gateway passes this URL through and does not store it",
        ));
    }
    if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
        while let Some(chunk) = response.chunk().await? {
            bar.add(chunk.len());
        }
    }
    for _ in 0..MAX_POLLS {
        let history = request.history().await?;
        if let Some(stored) = history.as_ref().and_then(stored_state) {
            drop(bar);
            match api.form {
                OutputForm::Json => bars.print_line(&json!({
                    "url": file.url.to_string(),
                    "sha256": stored["sha256"],
                    "size_bytes": stored["size_bytes"],
                    "record": stored,
                }))?,
                OutputForm::Text => bars.print_line(&format_args!(
                    "{}  {}",
                    stored["sha256"].as_str().unwrap_or_default(),
                    file.url
                ))?,
            };
            return Ok(());
        }
        sleep(POLL_INTERVAL).await;
    }
    Err(Failure::failed("the gateway has not stored this URL"))
}

/// Returns the active record, or else the newest response of class `revalidate`.
fn stored_state(history: &Value) -> Option<&Value> {
    active_record(history).or_else(|| history["observations"].get(0))
}

/// Returns whether the response goes past the cache (RFC 9211, section 2.2).
fn is_passed_through(response: &Response) -> bool {
    let statuses = response.headers().get_all("cache-status").iter();
    statuses
        .filter_map(|status| status.to_str().ok())
        .flat_map(|status| status.split([';', ',']))
        .any(|parameter| parameter.trim() == "fwd=bypass")
}
