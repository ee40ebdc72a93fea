//! `millpond fetches`: the fetches that a gateway runs now.
//!
//! The main type is [`ListFetches`].

use reqwest::Method;
use serde_json::Value;

use super::api_client::ApiClient;
use super::failure::Failure;
use super::table::{ListForm, size_of, text};
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, Reader, print_line};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond fetches
  millpond fetches --host example.org --json")]
pub struct ListFetches {
    /// Only fetches from this host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only fetches whose URL begins with this text
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
}

impl ListFetches {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        let filters = [("host", self.host), ("prefix", self.prefix)];
        let (mut after, mut shown) = (None::<String>, 0_u64);
        loop {
            let parameters = filters
                .iter()
                .filter_map(|(name, value)| Some((*name, value.as_deref()?)));
            let page = parameters.chain(after.iter().map(|after| ("after", after.as_str())));
            let page: Vec<_> = page.collect();
            let page = api.call(Method::GET, "fetches", &page).await?;
            for fetch in page["fetches"].as_array().into_iter().flatten() {
                if shown == 0 {
                    print_header(form)?;
                }
                shown += 1;
                let reader = match form {
                    OutputForm::Json => print_line(fetch)?,
                    OutputForm::Text => print_line(&line_of(fetch))?,
                };
                if reader == Reader::Gone {
                    return Ok(());
                }
            }
            match page["next"].as_u64() {
                Some(next) => after = Some(next.to_string()),
                None => break,
            }
        }
        if shown == 0 && is_for_person(form) {
            print_line(&"there is no in-flight fetch")?;
        }
        Ok(())
    }
}

fn is_for_person(form: OutputForm) -> bool {
    ListForm::of_stdout() == ListForm::Terminal && form == OutputForm::Text
}

fn print_header(form: OutputForm) -> Result<(), Failure> {
    if is_for_person(form) {
        print_line(&format_args!(
            "{:<13}  {:>10}  {:>10}  {:>12}  {:>7}  {:>7}  URL",
            "SOURCE", "RECEIVED", "SIZE", "SPEED", "READERS", "AGE"
        ))?;
    }
    Ok(())
}

/// Formats a fetch as one line.
fn line_of(fetch: &Value) -> String {
    let source = fetch["source"].as_str().unwrap_or("waiting");
    let size = match &fetch["size_bytes"] {
        Value::Null => "?".to_owned(),
        size => size_of(size),
    };
    let speed = format!("{}/s", size_of(&fetch["bytes_per_second"]));
    let age = fetch["age_seconds"].as_f64().unwrap_or_default();
    format!(
        "{source:<13}  {:>10}  {size:>10}  {speed:>12}  {:>7}  {age:>6.0}s  {}",
        size_of(&fetch["received_bytes"]),
        fetch["readers"],
        text(&fetch["url"]),
    )
}
