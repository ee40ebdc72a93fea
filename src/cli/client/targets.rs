//! `millpond stat | ls | rm | refresh | pin | unpin`: what the gateway knows of targets, and what
//! operators decide.

use reqwest::Method;
use serde_json::Value;

use super::api_client::{ApiClient, Connection, Failure};
use crate::cli::EXIT_CORRUPT;
use crate::cli::output::{Reader, print_line};
use crate::model::Sha256;

#[derive(clap::Args)]
pub struct Stat {
    url: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Ls {
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Rm {
    #[arg(required_unless_present = "sha256")]
    url: Option<String>,
    /// Remove these bytes, and leave what is on record
    #[arg(long, value_name = "HEX", conflicts_with = "url")]
    sha256: Option<Sha256>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Refresh {
    url: String,
    /// Let the new bytes answer from now on
    #[arg(long)]
    accept: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Pin {
    url: String,
    /// Those of which it has given; without it those that answer now
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Unpin {
    url: String,
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    #[command(flatten)]
    connection: Connection,
}

impl Stat {
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.connection)?;
        let shown = api
            .call(Method::GET, "targets", &[("url", &self.url)])
            .await?;
        if api.shows_json {
            print_line(&shown)?;
            return Ok(());
        }
        for record in shown["records"].as_array().into_iter().flatten() {
            print_line(&line_of(record))?;
        }
        Ok(())
    }
}

impl Ls {
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.connection)?;
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
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.connection)?;
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
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.connection)?;
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
            let before = text(&refreshed["previous_sha256"]);
            let complaint = format!(
                "other bytes came; sha256:{before} stays the answer until you say --accept"
            );
            return Err(Failure::new(EXIT_CORRUPT, complaint));
        }
        Ok(())
    }
}

impl Pin {
    pub async fn run(self) -> Result<(), Failure> {
        let pinned = call_pins(Method::PUT, &self.url, self.sha256, self.connection).await?;
        show(
            &pinned.0,
            &pinned.1,
            &format!("{}  {}", text(&pinned.1["pinned"]), self.url),
        )
    }
}

impl Unpin {
    pub async fn run(self) -> Result<(), Failure> {
        let unpinned = call_pins(Method::DELETE, &self.url, self.sha256, self.connection).await?;
        show(
            &unpinned.0,
            &unpinned.1,
            &format!("{} pins were taken away", unpinned.1["unpinned"]),
        )
    }
}

async fn call_pins(
    method: Method,
    url: &str,
    sha256: Option<Sha256>,
    connection: Connection,
) -> Result<(ApiClient, Value), Failure> {
    let api = ApiClient::new(connection)?;
    let sha256 = sha256.map(|sha256| sha256.to_string());
    let mut parameters = vec![("url", url)];
    parameters.extend(sha256.as_deref().map(|sha256| ("sha256", sha256)));
    let answer = api.call(method, "pins", &parameters).await?;
    Ok((api, answer))
}

fn show(api: &ApiClient, answer: &Value, line: &str) -> Result<(), Failure> {
    if api.shows_json {
        print_line(answer)
    } else {
        print_line(&line)
    }?;
    Ok(())
}

/// A record or a listed target in one line.
fn line_of(record: &Value) -> String {
    let pinned = match &record["pinned"] {
        Value::Bool(true) | Value::String(_) => "  pinned",
        _ => "",
    };
    let held = if record["cached"] == true {
        "cached"
    } else {
        "evicted"
    };
    let answers = if record["active"] == true {
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
    format!("{sha256}  {size}  {date}{source}  {held}{pinned}{answers}")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
