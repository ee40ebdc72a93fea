//! `millpond get` and `millpond ensure`: a target's bytes, here or in the gateway.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::api_client::{ApiClient, Connection, Failure, failure_of};
use super::progress;
use crate::cli::output::print_line;
use crate::cli::{EXIT_ABSENT, EXIT_CORRUPT};
use crate::model::{ExpectedDigests, Hasher, Sha256};

/// How often, and with what rest, it is asked whether something is on record whose last byte has
/// just come.
const MAX_POLLS: usize = 100;
const POLL_INTERVAL: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub struct Get {
    /// The file's URL
    url: String,
    /// Where to write it; - is standard output. Without it the name in the URL
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What it must be
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(clap::Args)]
pub struct Ensure {
    /// The file's URL
    url: String,
    /// What it must be
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    #[command(flatten)]
    connection: Connection,
}

impl Get {
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.connection)?;
        let output = match self.output {
            Some(output) => output,
            None => PathBuf::from(file_name_from_url(&self.url)?),
        };
        // All of it, as a part: whoever asks like this is never sent to the origin.
        let response = ask(&api, &self.url, self.sha256, "bytes=0-").await?;
        let stated = self.sha256;
        let sha256 = if output.as_os_str() == "-" {
            let sha256 = receive(response, &mut std::io::stdout().lock(), false).await?;
            check(&api, &self.url, sha256, stated).await?;
            return Ok(());
        } else {
            let part = PartFile::create(&output)?;
            let sha256 = receive(response, &mut &part.file, !api.shows_json).await?;
            check(&api, &self.url, sha256, stated).await?;
            part.persist_to(&output)?;
            sha256
        };
        if api.shows_json {
            print_line(
                &json!({ "url": self.url, "sha256": sha256, "file": output.to_string_lossy() }),
            )?;
        } else {
            print_line(&format_args!("{sha256}  {}", output.display()))?;
        }
        Ok(())
    }
}

impl Ensure {
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.connection)?;
        // The last byte comes once all of it has been checked.
        let response = ask(&api, &self.url, self.sha256, "bytes=-1").await?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            receive(response, &mut std::io::sink(), false).await?;
        }
        for _ in 0..MAX_POLLS {
            if let Some(record) = fetch_record(&api, &self.url).await? {
                if api.shows_json {
                    print_line(&json!({ "url": self.url, "record": record }))?;
                } else {
                    print_line(&format_args!(
                        "{}  {}",
                        record["sha256"].as_str().unwrap_or_default(),
                        self.url
                    ))?;
                }
                return Ok(());
            }
            sleep(POLL_INTERVAL).await;
        }
        Err(Failure::failed(
            "the gateway passes this on and does not keep it",
        ))
    }
}

/// Asks for a part of a target. An empty file has none.
async fn ask(
    api: &ApiClient,
    url: &str,
    sha256: Option<Sha256>,
    range: &'static str,
) -> Result<Response, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(RANGE, HeaderValue::from_static(range));
    if let Some(sha256) = sha256 {
        let value = HeaderValue::from_str(&sha256.to_string())
            .expect("hexadecimal digits can be in a header");
        headers.insert("x-expected-sha256", value);
    }
    let response = api.get(url, headers).await?;
    match response.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
        StatusCode::RANGE_NOT_SATISFIABLE if is_empty(&response) => Ok(response),
        _ => Err(failure_of(response).await),
    }
}

/// There is no range of an empty file (RFC 9110, section 14.4).
fn is_empty(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_RANGE)
        .is_some_and(|range| range == "bytes */0")
}

/// Takes in a body, and says what it was. A cut one is an error.
async fn receive(
    mut response: Response,
    to: &mut impl Write,
    shows_progress: bool,
) -> Result<Sha256, Failure> {
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
        let bar = progress::bar(response.content_length(), shows_progress);
        while let Some(piece) = response.chunk().await? {
            hasher.update(&piece);
            to.write_all(&piece)?;
            bar.inc(piece.len() as u64);
        }
    }
    to.flush()?;
    Ok(hasher.finish().sha256)
}

/// Holds what came against what was stated, or else against what is on record.
async fn check(
    api: &ApiClient,
    url: &str,
    found: Sha256,
    stated: Option<Sha256>,
) -> Result<(), Failure> {
    let expected = match stated {
        Some(stated) => Some(stated.to_string()),
        None => fetch_record(api, url)
            .await?
            .and_then(|record| Some(record["sha256"].as_str()?.to_owned())),
    };
    match expected {
        Some(expected) if expected != found.to_string() => Err(Failure::new(
            EXIT_CORRUPT,
            format!("sha256:{expected} was expected, sha256:{found} came"),
        )),
        _ => Ok(()),
    }
}

/// The record that answers for a target, if there is one.
async fn fetch_record(api: &ApiClient, url: &str) -> Result<Option<Value>, Failure> {
    match api.call(Method::GET, "targets", &[("url", url)]).await {
        Ok(history) => {
            let records = history["records"].as_array().into_iter().flatten();
            Ok(records
                .into_iter()
                .find(|record| record["active"] == true)
                .cloned())
        }
        Err(failure) if failure.code == EXIT_ABSENT => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn file_name_from_url(url: &str) -> Result<String, Failure> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_name =
        path.contains("://") && !matches!(name, "" | "." | "..") && path.matches('/').count() > 2;
    if is_name {
        Ok(name.to_owned())
    } else {
        Err(Failure::usage("the URL names no file: say -o FILE"))
    }
}

/// A file beside the one that is to be, removed unless it is kept.
struct PartFile {
    file: std::fs::File,
    path: PathBuf,
}

impl PartFile {
    fn create(output: &Path) -> Result<Self, Failure> {
        let mut path = output.as_os_str().to_owned();
        path.push(format!(".{:08x}.part", rand::random::<u32>()));
        let path = PathBuf::from(path);
        let created = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path);
        let file = created.map_err(|why| Failure::failed(format!("{}: {why}", path.display())))?;
        Ok(Self { file, path })
    }

    fn persist_to(self, output: &Path) -> Result<(), Failure> {
        self.file.sync_all()?;
        Ok(std::fs::rename(&self.path, output)?)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // Once it is kept it has another name.
        drop(std::fs::remove_file(&self.path));
    }
}
