//! Talking to a gateway: where it is, what is shown to it, and what its answers mean for the exit
//! code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_LENGTH, HeaderMap};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::cli::{EXIT_ABSENT, EXIT_CORRUPT, EXIT_FAILED, EXIT_USAGE, fail};
use crate::model::{Secret, root_cause};

/// How long the gateway may take to take a connection. What it is asked for may take as long as a
/// fetch.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// More than any answer of the API, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Which gateway is asked, and how its answers are shown.
#[derive(clap::Args)]
pub struct Connection {
    /// The gateway's URL
    #[arg(
        long,
        value_name = "URL",
        env = "MILLPOND_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    gateway: String,
    /// A file with the operators' token; otherwise it is taken from MILLPOND_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Answer in JSON, one document a line, and show no progress
    #[arg(long)]
    json: bool,
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    /// Empty if only the exit code reports it.
    pub text: String,
}

impl Failure {
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(EXIT_FAILED, text)
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(EXIT_USAGE, text)
    }

    /// What the status of an answer means.
    fn of_status(status: StatusCode, line: &str) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => EXIT_ABSENT,
            StatusCode::CONFLICT => EXIT_CORRUPT,
            _ => EXIT_FAILED,
        };
        let text = if line.is_empty() {
            status.to_string()
        } else {
            line.to_owned()
        };
        Self::new(code, text)
    }

    pub fn show(&self) -> ExitCode {
        if self.text.is_empty() {
            ExitCode::from(self.code)
        } else {
            fail(&self.text, self.code)
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::failed(root_cause(&error.without_url()))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // What read standard output has gone, and knows it.
        Self::failed(if error.kind() == std::io::ErrorKind::BrokenPipe {
            String::new()
        } else {
            error.to_string()
        })
    }
}

/// A gateway to talk to.
pub struct ApiClient {
    client: Client,
    base: String,
    token: Option<Secret>,
    pub shows_json: bool,
}

impl ApiClient {
    /// # Errors
    /// [`Failure`] if the token's file cannot be read.
    pub fn new(connection: Connection) -> Result<Self, Failure> {
        let token = match connection.token_file {
            Some(file) => Secret::default()
                .or_from_file("--token", &file)
                .map(Some)
                .map_err(|error| Failure::usage(error.to_string()))?,
            None => std::env::var("MILLPOND_TOKEN")
                .ok()
                .filter(|token| !token.is_empty())
                .map(Secret::from),
        };
        // The gateway itself is asked, not whatever the environment names for downloads.
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT);
        let client = client.user_agent(concat!("millpond/", env!("CARGO_PKG_VERSION")));
        let base = connection.gateway.trim_end_matches('/').to_owned();
        Ok(Self {
            client: client.build()?,
            base,
            token,
            shows_json: connection.json,
        })
    }

    /// Asks the API. `parameters` are encoded here.
    ///
    /// # Errors
    /// [`Failure`] with what the gateway says.
    pub async fn call(
        &self,
        method: Method,
        resource: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        read_json(self.api(method, resource, parameters).send().await?).await
    }

    /// Sends a body of known length to the API.
    ///
    /// # Errors
    /// [`Failure`] with what the gateway says.
    pub async fn upload(
        &self,
        resource: &str,
        parameters: &[(&str, &str)],
        headers: HeaderMap,
        size_bytes: u64,
        body: Body,
    ) -> Result<Value, Failure> {
        let request = self.api(Method::PUT, resource, parameters).headers(headers);
        read_json(
            request
                .header(CONTENT_LENGTH, size_bytes)
                .body(body)
                .send()
                .await?,
        )
        .await
    }

    fn api(&self, method: Method, resource: &str, parameters: &[(&str, &str)]) -> RequestBuilder {
        let pair = |(name, value): &(&str, &str)| {
            format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
        };
        let query: Vec<String> = parameters.iter().map(pair).collect();
        let request = self.client.request(
            method,
            format!("{}/api/v1/{resource}?{}", self.base, query.join("&")),
        );
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    /// Asks for a target as any client does, without the token.
    ///
    /// # Errors
    /// [`Failure`] if the gateway cannot be asked.
    pub async fn get(&self, url: &str, headers: HeaderMap) -> Result<Response, Failure> {
        Ok(self
            .client
            .get(format!("{}/{url}", self.base))
            .headers(headers)
            .send()
            .await?)
    }
}

/// The failure that an answer tells of.
pub async fn failure_of(response: Response) -> Failure {
    let status = response.status();
    let text = read(response).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    Failure::of_status(status, &line)
}

async fn read_json(response: Response) -> Result<Value, Failure> {
    if !response.status().is_success() {
        return Err(failure_of(response).await);
    }
    let bytes = read(response).await?;
    serde_json::from_slice(&bytes)
        .map_err(|_| Failure::failed("the gateway does not answer in JSON"))
}

async fn read(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(Failure::failed("the gateway's answer is too long"));
        }
    }
    Ok(bytes)
}
