//! `millpond doctor`: whether a gateway can be asked.

use std::process::ExitCode;
use std::time::Duration;

use reqwest::{Client, StatusCode};

use super::{fail, finish_with};
use crate::model::root_cause;

/// A gateway that takes longer is of no use to anybody.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More than the gateway's own pages of one line.
const MAX_LINE_BYTES: usize = 1024;

#[derive(clap::Args)]
pub struct Doctor {
    /// The gateway's URL
    #[arg(
        long,
        value_name = "URL",
        env = "MILLPOND_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    gateway: String,
}

impl Doctor {
    /// Asks the gateway whether it is ready, and says what it says.
    pub async fn run(self) -> ExitCode {
        let gateway = self.gateway.trim_end_matches('/');
        match ask(gateway).await {
            Ok(()) => finish_with(&format_args!("{gateway} is ready")),
            Err(why) => fail(&format!("{gateway} is not ready: {why}"), 1),
        }
    }
}

/// Why a gateway is not ready, if it is not.
async fn ask(gateway: &str) -> Result<(), String> {
    // The gateway itself is asked, not whatever the environment names for downloads.
    let client = Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| cause_of(&error))?;
    let (status, line) = get(&client, &format!("{gateway}/readyz")).await?;
    match status {
        StatusCode::OK => Ok(()),
        _ if line.is_empty() => Err(status.to_string()),
        _ => Err(line),
    }
}

/// The status and the first line of a page.
async fn get(client: &Client, url: &str) -> Result<(StatusCode, String), String> {
    let mut response = client
        .get(url)
        .send()
        .await
        .map_err(|error| cause_of(&error))?;
    let mut text = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| cause_of(&error))? {
        text.extend_from_slice(&piece);
        if text.len() > MAX_LINE_BYTES {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let line: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    Ok((response.status(), line))
}

fn cause_of(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    root_cause(error)
}
