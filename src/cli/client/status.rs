//! `millpond status`: a summary of a running gateway.
//!
//! The main type is [`Status`].

use reqwest::Method;
use serde_json::Value;

use super::api_client::ApiClient;
use super::failure::Failure;
use super::table::{counted, size_of, text};
use crate::cli::exit::FailureCode;
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{Colour, OutputForm, paint, print_line};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond status
  millpond status --gateway sources.example.org --json

The exit code is 1 if the gateway is not ready.")]
pub struct Status;

impl Status {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        let stats = api.call(Method::GET, "stats", &[]).await?;
        match form {
            OutputForm::Json => print_line(&stats)?,
            OutputForm::Text => print_line(&lines_of(&stats).join("\n"))?,
        };
        if stats["ready"] == true {
            Ok(())
        } else {
            Err(Failure::silent(FailureCode::Failed))
        }
    }
}

fn lines_of(stats: &Value) -> Vec<String> {
    let readiness = if stats["ready"] == true {
        paint("ready", Colour::Green)
    } else {
        let reason = text(&stats["reason"]);
        format!("{}: {reason}", paint("not ready", Colour::Red))
    };
    let (disk, incidents) = (&stats["disk"], &stats["incidents"]);
    let mut lines = vec![
        format!("name       {}", text(&stats["name"])),
        format!("version    {}", text(&stats["version"])),
        format!("readiness  {readiness}"),
    ];
    let warnings = stats["warnings"].as_array().into_iter().flatten();
    lines.extend(
        warnings.map(|warning| format!("warning    {}", paint(text(warning), Colour::Yellow))),
    );
    lines.push(if disk.is_null() {
        "disk       unknown".to_owned()
    } else {
        format!(
            "disk       {} cached of {} at most; {} free on the disk",
            size_of(&disk["cached_bytes"]),
            size_of(&disk["max_size_bytes"]),
            size_of(&disk["free_bytes"]),
        )
    });
    if disk["queued_uploads"].as_u64() > Some(0) {
        lines.push(format!(
            "uploads    {} to the bucket, the oldest waits since {}",
            disk["queued_uploads"],
            text(&disk["oldest_upload"]),
        ));
    }
    lines.push(format!("fetches    {}", stats["in_flight"]));
    let traffic = &stats["since_start"];
    if !traffic.is_null() {
        lines.push(format!(
            "traffic    {} downloads, {} hits; {} sent, {} hits",
            traffic["downloads"],
            percent_of(&traffic["hit_ratio"]),
            size_of(&traffic["sent_bytes"]),
            percent_of(&traffic["byte_hit_ratio"]),
        ));
    }
    lines.push(format!(
        "incidents  {} and {} open",
        counted(&incidents["alerts"], "alert"),
        counted(&incidents["notices"], "notice")
    ));
    lines
}

/// Formats a ratio, which is null without traffic.
fn percent_of(ratio: &Value) -> String {
    match ratio.as_f64() {
        Some(ratio) => format!("{:.1} %", ratio * 100.0),
        None => "no".to_owned(),
    }
}
