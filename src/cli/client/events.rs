//! `millpond events`: the recent events of a gateway, and the next ones as they happen.
//!
//! The main type is [`ShowEvents`].

use serde_json::Value;

use super::api_client::ApiClient;
use super::failure::Failure;
use super::table::{size_of, text};
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, Reader, print_line};
use crate::model::sanitize_line;

/// Longest line of a gateway, in bytes.
const MAX_LINE_BYTES: usize = 1 << 20;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond events
  millpond events -f --json")]
pub struct ShowEvents {
    /// Go on with new events until the command is interrupted
    #[arg(short, long)]
    follow: bool,
}

impl ShowEvents {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        let follow = if self.follow { "true" } else { "false" };
        let mut response = api.lines("events", &[("follow", follow)]).await?;
        let mut held = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            held.extend_from_slice(&chunk);
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                if show(line.trim_ascii(), form)? == Reader::Gone {
                    return Ok(());
                }
            }
            if held.len() > MAX_LINE_BYTES {
                return Err(Failure::failed("the gateway has sent too long a line"));
            }
        }
        Ok(())
    }
}

/// Prints an event. An empty line is a sign of life.
fn show(line: &[u8], form: OutputForm) -> Result<Reader, Failure> {
    if line.is_empty() {
        return Ok(Reader::Present);
    }
    let event: Value = serde_json::from_slice(line)
        .map_err(|_| Failure::failed("the response of the gateway is not JSON"))?;
    Ok(match form {
        OutputForm::Json => print_line(&event)?,
        OutputForm::Text => print_line(&line_of(&event))?,
    })
}

fn line_of(event: &Value) -> String {
    let urls = event["urls"].as_array().into_iter().flatten();
    let mut words: Vec<String> = urls.map(|url| text(url).to_owned()).collect();
    for name in ["url", "sha256", "cause", "reason", "detail"] {
        let word = text(&event[name]);
        if !word.is_empty() {
            words.push(word.to_owned());
        }
    }
    if event["size_bytes"].is_u64() {
        words.push(size_of(&event["size_bytes"]));
    }
    if event["type"] == "lost" {
        words.push(format!("{} events came too fast", event["count"]));
    }
    let (time, kind) = (text(&event["time"]), text(&event["type"]));
    sanitize_line(&format!("{time:<24}  {kind:<16}  {}", words.join("  ")))
}
