//! Client for the API of a gateway. Its responses determine the exit code of a command.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderMap;
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::cli::exit::{FailureCode, fail};
use crate::model::{Secret, root_cause};

/// How long a connection to the gateway may take. A response may take as long as a fetch.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest response of the API, in bytes.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Arguments of every command that uses a gateway.
#[derive(clap::Args)]
pub struct GatewayArgs {
    /// URL of the gateway
    #[arg(
        long,
        value_name = "URL",
        env = "MILLPOND_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    gateway: String,
    /// File with the operator token; the default is the token in MILLPOND_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON, one document per line, and no progress
    #[arg(long)]
    json: bool,
}

/// Failure of a command.
#[derive(Debug)]
pub struct Failure {
    pub code: FailureCode,
    /// Text for standard error. Empty if only the exit code reports the failure.
    pub text: String,
}

impl Failure {
    pub fn new(code: FailureCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(FailureCode::Failed, text)
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(FailureCode::Usage, text)
    }

    fn from_status(status: StatusCode, line: &str) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => FailureCode::NotFound,
            StatusCode::CONFLICT => FailureCode::Corrupt,
            _ => FailureCode::Failed,
        };
        let text = if line.is_empty() {
            status.to_string()
        } else {
            line.to_owned()
        };
        Self::new(code, text)
    }

    /// Prints the failure, and returns its exit code.
    pub fn report(&self) -> ExitCode {
        if self.text.is_empty() {
            self.code.into()
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
        // The reader of standard output has closed the pipe, and needs no message.
        Self::failed(if error.kind() == std::io::ErrorKind::BrokenPipe {
            String::new()
        } else {
            error.to_string()
        })
    }
}

/// Client for one gateway.
pub struct ApiClient {
    client: Client,
    base: String,
    token: Option<Secret>,
    pub shows_json: bool,
}

impl ApiClient {
    /// Creates a client.
    ///
    /// # Errors
    /// [`Failure`] if the file with the token cannot be read.
    pub fn new(arguments: GatewayArgs) -> Result<Self, Failure> {
        let token = match arguments.token_file {
            Some(file) => Secret::default()
                .or_from_file("--token", &file)
                .map(Some)
                .map_err(|error| Failure::usage(error.to_string()))?,
            None => std::env::var("MILLPOND_TOKEN")
                .ok()
                .filter(|token| !token.is_empty())
                .map(Secret::from),
        };
        // Proxies of the environment are for downloads, and do not know the API.
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT);
        let client = client.user_agent(concat!("millpond/", env!("CARGO_PKG_VERSION")));
        let base = arguments.gateway.trim_end_matches('/').to_owned();
        Ok(Self {
            client: client.build()?,
            base,
            token,
            shows_json: arguments.json,
        })
    }

    /// Sends a request to the API. The parameters are percent-encoded here.
    ///
    /// # Errors
    /// [`Failure`] with the error of the gateway.
    pub async fn call(
        &self,
        method: Method,
        resource: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        read_json(self.api(method, resource, parameters).send().await?).await
    }

    /// Uploads a body to the API. `headers` contain its length.
    ///
    /// # Errors
    /// [`Failure`] with the error of the gateway.
    pub async fn upload(
        &self,
        resource: &str,
        parameters: &[(&str, &str)],
        headers: HeaderMap,
        body: Body,
    ) -> Result<Value, Failure> {
        let request = self.api(Method::PUT, resource, parameters).headers(headers);
        read_json(request.body(body).send().await?).await
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

    /// Requests a target as any client does, without the token.
    ///
    /// # Errors
    /// [`Failure`] if the gateway cannot be reached.
    pub async fn get(&self, url: &str, headers: HeaderMap) -> Result<Response, Failure> {
        Ok(self
            .client
            .get(format!("{}/{url}", self.base))
            .headers(headers)
            .send()
            .await?)
    }
}

/// Returns the failure that an error response describes.
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
    Failure::from_status(status, &line)
}

async fn read_json(response: Response) -> Result<Value, Failure> {
    if !response.status().is_success() {
        return Err(failure_of(response).await);
    }
    let bytes = read(response).await?;
    serde_json::from_slice(&bytes)
        .map_err(|_| Failure::failed("the response of the gateway is not JSON"))
}

async fn read(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_RESPONSE_BYTES {
            return Err(Failure::failed("the response of the gateway is too long"));
        }
    }
    Ok(bytes)
}
