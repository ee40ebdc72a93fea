//! `millpond stat | ls | rm | refresh | pin | unpin`: records of targets, and operations on them.

use reqwest::Method;
use serde_json::Value;

use super::api_client::{ApiClient, Failure, GatewayArgs};
use crate::cli::exit::FailureCode;
use crate::cli::output::{Reader, print_line};
use crate::model::Sha256;

#[derive(clap::Args)]
pub struct Stat {
    /// URL of the file
    url: String,
    #[command(flatten)]
    arguments: GatewayArgs,
}

#[derive(clap::Args)]
pub struct Ls {
    #[command(flatten)]
    arguments: GatewayArgs,
}

#[derive(clap::Args)]
pub struct Rm {
    #[arg(required_unless_present = "sha256")]
    /// URL of the file
    url: Option<String>,
    /// Remove the object with this digest, but no records
    #[arg(long, value_name = "HEX", conflicts_with = "url")]
    sha256: Option<Sha256>,
    #[command(flatten)]
    arguments: GatewayArgs,
}

#[derive(clap::Args)]
pub struct Refresh {
    /// URL of the file
    url: String,
    /// Serve the new bytes from now on
    #[arg(long)]
    accept: bool,
    #[command(flatten)]
    arguments: GatewayArgs,
}

#[derive(clap::Args)]
pub struct PinTarget {
    /// URL of the file
    url: String,
    /// Digest of one of its records; the default is the active one
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    #[command(flatten)]
    arguments: GatewayArgs,
}

#[derive(clap::Args)]
pub struct UnpinTarget {
    /// URL of the file
    url: String,
    /// Digest of one pin; the default is all pins
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    #[command(flatten)]
    arguments: GatewayArgs,
}

impl Stat {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.arguments)?;
        let shown = api
            .call(Method::GET, "targets", &[("url", &self.url)])
            .await?;
        if api.shows_json {
            print_line(&shown)?;
            return Ok(());
        }
        for record in shown["records"].as_array().into_iter().flatten() {
            print_line(&format_args!(
                "{}  {}",
                line_of(record),
                text(&shown["class"])
            ))?;
        }
        for observation in shown["observations"].as_array().into_iter().flatten() {
            print_line(&line_of_observation(observation))?;
        }
        Ok(())
    }
}

impl Ls {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.arguments)?;
        let mut after: Option<String> = None;
        loop {
            let parameters: Vec<_> = after
                .iter()
                .map(|after| ("after", after.as_str()))
                .collect();
            let page = api.call(Method::GET, "objects", &parameters).await?;
            for object in page["objects"].as_array().into_iter().flatten() {
                let reader = if api.shows_json {
                    print_line(object)
                } else {
                    print_line(&format_args!(
                        "{}  {}",
                        line_of(object),
                        text(&object["url"])
                    ))
                };
                if reader? == Reader::Gone {
                    return Ok(());
                }
            }
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => return Ok(()),
            }
        }
    }
}

impl Rm {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.arguments)?;
        let removed = match (self.sha256, &self.url) {
            (Some(sha256), _) => {
                api.call(Method::DELETE, &format!("objects/sha256/{sha256}"), &[])
                    .await?
            }
            (None, url) => {
                api.call(
                    Method::DELETE,
                    "objects",
                    &[("url", url.as_deref().unwrap_or_default())],
                )
                .await?
            }
        };
        show(
            &api,
            &removed,
            &format!("{} bytes were freed", removed["freed_bytes"]),
        )
    }
}

impl Refresh {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.arguments)?;
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
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.arguments)?;
        let pinned = call_pins(&api, Method::PUT, &self.url, self.sha256).await?;
        let line = format!("{}  {}", text(&pinned["pinned"]), self.url);
        show(&api, &pinned, &line)
    }
}

impl UnpinTarget {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.arguments)?;
        let unpinned = call_pins(&api, Method::DELETE, &self.url, self.sha256).await?;
        let line = format!("{} pins were removed", unpinned["unpinned"]);
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

/// Prints a response of the API, as JSON or as a line.
fn show(api: &ApiClient, response: &Value, line: &str) -> Result<(), Failure> {
    if api.shows_json {
        print_line(response)
    } else {
        print_line(&line)
    }?;
    Ok(())
}

/// Formats a record or a listed target as one line.
fn line_of(record: &Value) -> String {
    let pinned = match &record["pinned"] {
        Value::Bool(true) | Value::String(_) => "  pinned",
        _ => "",
    };
    let storage = if record["cached"] == true {
        "cached"
    } else {
        "evicted"
    };
    let active = if record["active"] == true {
        "  active"
    } else {
        ""
    };
    let source = record["source"]
        .as_str()
        .map(|source| format!("  {source}"))
        .unwrap_or_default();
    let (sha256, size, date) = (
        text(&record["sha256"]),
        &record["size_bytes"],
        text(&record["first_seen"]),
    );
    format!("{sha256}  {size}  {date}{source}  {storage}{pinned}{active}")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Formats a stored response of class `revalidate` as one line.
fn line_of_observation(observation: &Value) -> String {
    format!(
        "{}  {}  {}  {}  status {}  revalidate",
        text(&observation["sha256"]),
        observation["size_bytes"],
        text(&observation["received_at"]),
        text(&observation["source"]),
        observation["status"],
    )
}
