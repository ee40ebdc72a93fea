//! `millpond doctor`: checks whether a gateway is ready.

use std::process::ExitCode;
use std::time::Duration;

use reqwest::{Client, StatusCode};

use super::exit::{FailureCode, fail, finish_with};
use crate::model::root_cause;

/// How long the gateway may take. A slower one is not usable.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Largest part of `/readyz` that is read, in bytes. The page of a gateway is shorter.
const MAX_PAGE_BYTES: usize = 16 * 1024;

#[derive(clap::Args)]
pub struct Doctor {
    /// URL of the gateway
    #[arg(
        long,
        value_name = "URL",
        env = "MILLPOND_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    gateway: String,
}

impl Doctor {
    /// Requests `/readyz` of the gateway, and prints the result with all warnings.
    pub async fn run(self) -> ExitCode {
        let gateway = self.gateway.trim_end_matches('/');
        match check(gateway).await {
            Ok(warnings) => {
                let ready = format!("{gateway} is ready");
                finish_with(&[vec![ready], warnings].concat().join("\n"))
            }
            Err(reason) => fail(
                &format!("{gateway} is not ready: {reason}"),
                FailureCode::Failed,
            ),
        }
    }
}

/// Reason why a gateway is not ready.
#[derive(Debug, thiserror::Error)]
enum NotReady {
    #[error("{}", cause_of(.0))]
    NoResponse(#[from] reqwest::Error),
    /// The first line of the page.
    #[error("{0}")]
    Refused(String),
}

/// Returns the warnings of a gateway that is ready, or the reason why it is not.
async fn check(gateway: &str) -> Result<Vec<String>, NotReady> {
    // Proxies of the environment are for downloads, and must not answer in place of the gateway.
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let (status, mut lines) = get(&client, &format!("{gateway}/readyz")).await?;
    if status == StatusCode::OK {
        // The first line states that the gateway is ready.
        return Ok(lines.split_off(lines.len().min(1)));
    }
    let reason = lines.into_iter().next().filter(|line| !line.is_empty());
    let reason = reason.unwrap_or_else(|| status.to_string());
    Err(NotReady::Refused(reason))
}

/// Returns the status and the lines of a page, without control characters.
async fn get(client: &Client, url: &str) -> Result<(StatusCode, Vec<String>), reqwest::Error> {
    let mut response = client.get(url).send().await?;
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_PAGE_BYTES {
            break;
        }
    }
    let lines = String::from_utf8_lossy(&text)
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect())
        .collect();
    Ok((response.status(), lines))
}

fn cause_of(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    root_cause(error)
}
