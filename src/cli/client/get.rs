//! `millpond get` and `millpond ensure`: fetch a file to this machine, or only to the gateway.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::api_client::{ApiClient, Failure, GatewayArgs, failure_of};
use super::progress;
use crate::cli::exit::FailureCode;
use crate::cli::output::print_line;
use crate::model::{ExpectedDigests, Hasher, Sha256};

/// How often the gateway is asked for the record of a file whose last byte has just arrived.
const MAX_POLLS: usize = 100;

/// Interval between these requests.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub struct Get {
    /// URL of the file
    url: String,
    /// Output file, or - for standard output; the default is the file name in the URL
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// SHA-256 that the file must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    #[command(flatten)]
    arguments: GatewayArgs,
}

#[derive(clap::Args)]
pub struct Ensure {
    /// URL of the file
    url: String,
    /// SHA-256 that the file must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
    #[command(flatten)]
    arguments: GatewayArgs,
}

impl Get {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.arguments)?;
        let output = match self.output {
            Some(output) => output,
            None => PathBuf::from(file_name_from_url(&self.url)?),
        };
        // The gateway never redirects a range request to the origin, even one for all bytes.
        let response = request_range(&api, &self.url, self.sha256, "bytes=0-").await?;
        let sha256 = if output.as_os_str() == "-" {
            let sha256 = receive(response, &mut std::io::stdout().lock(), false).await?;
            check(&api, &self.url, sha256, self.sha256).await?;
            return Ok(());
        } else {
            let part = PartFile::create(&output)?;
            let sha256 = receive(response, &mut &part.file, !api.shows_json).await?;
            check(&api, &self.url, sha256, self.sha256).await?;
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
    /// Runs the command.
    pub async fn run(self) -> Result<(), Failure> {
        let api = ApiClient::new(self.arguments)?;
        // The gateway sends the last byte only after it has verified the whole file.
        let response = request_range(&api, &self.url, self.sha256, "bytes=-1").await?;
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
            "the gateway passes this URL through and does not store it",
        ))
    }
}

/// Requests a range of a target. Accepts a 416 for an empty file.
async fn request_range(
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

/// Returns whether a 416 is due to an empty file, which has no range (RFC 9110, section 14.4).
fn is_empty(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_RANGE)
        .is_some_and(|range| range == "bytes */0")
}

/// Writes a body to `to`, and returns its SHA-256. A truncated body is an error.
async fn receive(
    mut response: Response,
    to: &mut impl Write,
    shows_progress: bool,
) -> Result<Sha256, Failure> {
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
        let bar = progress::bar(response.content_length(), shows_progress);
        while let Some(chunk) = response.chunk().await? {
            hasher.update(&chunk);
            to.write_all(&chunk)?;
            bar.inc(chunk.len() as u64);
        }
    }
    to.flush()?;
    Ok(hasher.finish().sha256)
}

/// Compares the received digest with the expected one, or else with the active record.
async fn check(
    api: &ApiClient,
    url: &str,
    found: Sha256,
    required: Option<Sha256>,
) -> Result<(), Failure> {
    let expected = match required {
        Some(required) => Some(required.to_string()),
        None => fetch_record(api, url)
            .await?
            .and_then(|record| Some(record["sha256"].as_str()?.to_owned())),
    };
    match expected {
        Some(expected) if expected != found.to_string() => Err(Failure::new(
            FailureCode::Corrupt,
            format!("digest mismatch: expected sha256:{expected}, received sha256:{found}"),
        )),
        _ => Ok(()),
    }
}

/// Returns the active record of a target, if there is one.
async fn fetch_record(api: &ApiClient, url: &str) -> Result<Option<Value>, Failure> {
    match api.call(Method::GET, "targets", &[("url", url)]).await {
        Ok(history) => {
            let records = history["records"].as_array().into_iter().flatten();
            Ok(records
                .into_iter()
                .find(|record| record["active"] == true)
                .cloned())
        }
        Err(failure) if failure.code == FailureCode::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Returns the last segment of the path of a URL.
fn file_name_from_url(url: &str) -> Result<String, Failure> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_name =
        path.contains("://") && !matches!(name, "" | "." | "..") && path.matches('/').count() > 2;
    if is_name {
        Ok(name.to_owned())
    } else {
        Err(Failure::usage("the URL contains no file name; use -o FILE"))
    }
}

/// Partial file beside the output file. It is removed unless it is persisted.
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

    /// Gives the file its final name.
    fn persist_to(self, output: &Path) -> Result<(), Failure> {
        self.file.sync_all()?;
        Ok(std::fs::rename(&self.path, output)?)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // A persisted file has another name by now.
        drop(std::fs::remove_file(&self.path));
    }
}
