//! `millpond incidents`: the incidents that a gateway has seen.
//!
//! The main type is [`ListIncidents`].

use reqwest::Method;
use serde_json::Value;

use super::api_client::ApiClient;
use super::failure::Failure;
use super::table::{ListForm, text};
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{Colour, OutputForm, Reader, paint, print_line};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond incidents
  millpond incidents --all --json")]
pub struct ListIncidents {
    /// Also incidents that are over
    #[arg(long)]
    all: bool,
}

impl ListIncidents {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        let page = api.call(Method::GET, "incidents", &[]).await?;
        let list = ListForm::of_stdout();
        let all = page["incidents"].as_array().into_iter().flatten();
        let mut shown = all
            .filter(|incident| self.all || incident["state"] == "open")
            .peekable();
        if list == ListForm::Terminal && form == OutputForm::Text {
            if shown.peek().is_none() {
                print_line(&"no incident is open")?;
            } else {
                print_line(&format_args!(
                    "{:<8}  {:<9}  {:<17}  {:>5}  {:>5}  HOST AND DETAIL",
                    "SEVERITY", "STATE", "CAUSE", "COUNT", "LAST"
                ))?;
            }
        }
        for incident in shown {
            let reader = match form {
                OutputForm::Json => print_line(incident)?,
                OutputForm::Text => print_line(&line_of(incident, list))?,
            };
            if reader == Reader::Gone {
                break;
            }
        }
        Ok(())
    }
}

/// Formats an incident as one line.
fn line_of(incident: &Value, list: ListForm) -> String {
    let severity = format!("{:<8}", text(&incident["severity"]));
    let is_urgent = incident["severity"] == "alert" && incident["state"] == "open";
    let severity = if is_urgent {
        paint(&severity, Colour::Red)
    } else {
        severity
    };
    format!(
        "{severity}  {:<9}  {:<17}  {:>5}  {:>5}  {}: {}",
        text(&incident["state"]),
        text(&incident["cause"]),
        incident["count"],
        list.time(&incident["last_seen"]),
        incident["host"].as_str().unwrap_or("this instance"),
        text(&incident["detail"]),
    )
}
