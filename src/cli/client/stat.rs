//! `millpond stat`: everything that a gateway has on record of a URL.
//!
//! The main type is [`Stat`].

use reqwest::Method;
use serde_json::{Value, json};

use super::api_client::ApiClient;
use super::failure::Failure;
use super::table::{ListForm, SizeForm, counted, text};
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, print_line};
use crate::model::FileUrl;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond stat https://example.org/x-1.0.tar.gz
  millpond stat --bytes https://example.org/x-1.0.tar.gz
  millpond stat --json https://example.org/x-1.0.tar.gz | jq .records")]
pub struct Stat {
    /// URL of the file
    url: FileUrl,
    #[command(flatten)]
    sizes: SizeForm,
}

impl Stat {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        let shown = api
            .call(Method::GET, "targets", &[("url", self.url.as_str())])
            .await?;
        if form == OutputForm::Json {
            print_line(&shown)?;
            return Ok(());
        }
        let list = ListForm::of_stdout();
        if list == ListForm::Terminal {
            print_line(&format_args!("{}", self.url))?;
            print_line(&format_args!(
                "{:<12}  {:>10}  {:>5}  {:>5}  {:<24}  STATE",
                "SHA256", "SIZE", "SEEN", "USED", "SOURCE"
            ))?;
        }
        for record in array(&shown["records"]) {
            print_line(&record_line(
                record,
                text(&shown["class"]),
                list,
                self.sizes,
            ))?;
        }
        for observation in array(&shown["observations"]) {
            print_line(&observation_line(observation, list, self.sizes))?;
        }
        if list == ListForm::Terminal {
            print_line(&totals_line(&shown, self.sizes))?;
        }
        if let Some(digest) = shown["required_sha256"].as_str() {
            print_line(&format_args!("{digest}  required by policy.checksums_file"))?;
        }
        Ok(())
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Formats the number of records and stored responses, and the bytes on the disk.
fn totals_line(shown: &Value, sizes: SizeForm) -> String {
    let (mut entries, mut cached_bytes) = (0, 0);
    for record in array(&shown["records"]) {
        entries += 1;
        if record["cached"] == true {
            cached_bytes += record["size_bytes"].as_u64().unwrap_or_default();
        }
    }
    let observations = array(&shown["observations"]).count();
    format!(
        "{}, {}, {} cached",
        counted(&json!(entries), "record"),
        counted(&json!(observations), "stored response"),
        sizes.total(cached_bytes)
    )
}

/// Formats a record as one line.
fn record_line(record: &Value, class: &str, list: ListForm, sizes: SizeForm) -> String {
    let storage = if record["cached"] == true {
        "cached"
    } else {
        "evicted"
    };
    let words = [
        ("pinned", record["pinned"].is_string()),
        ("active", record["active"] == true),
    ];
    let words: Vec<&str> = words
        .iter()
        .filter(|(_, applies)| *applies)
        .flat_map(|(word, _)| ["  ", *word])
        .collect();
    let words = words.concat();
    format!(
        "{}  {:>10}  {:>5}  {:>5}  {:<24}  {storage}{words}  {class}",
        list.digest(&record["sha256"]),
        sizes.of(&record["size_bytes"]),
        list.time(&record["first_seen"]),
        list.time(&record["last_used"]),
        text(&record["source"]),
    )
}

/// Formats a stored response of class `revalidate` as one line.
fn observation_line(observation: &Value, list: ListForm, sizes: SizeForm) -> String {
    format!(
        "{}  {:>10}  {:>5}  {:>5}  {:<24}  status {}  revalidate",
        list.digest(&observation["sha256"]),
        sizes.of(&observation["size_bytes"]),
        list.time(&observation["received_at"]),
        "-",
        text(&observation["source"]),
        observation["status"],
    )
}
