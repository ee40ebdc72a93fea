//! Client for the API of a gateway. Its responses determine the exit code of a command.
//!
//! The main type is [`ApiClient`].

use std::ops::Range;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RANGE};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::failure::Failure;
use crate::cli::gateway_args::{DEFAULT_GATEWAY, GatewayArgs, GatewayArgsError};
use crate::cli::gateway_url::GatewayUrl;
use crate::cli::output::{OutputForm, print_line};
use crate::metalink::Metalink;
use crate::model::{Secret, Sha256};

/// How long a connection to the gateway may take. A response may take as long as a fetch.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest response of the API, in bytes.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Client for one gateway.
pub struct ApiClient {
    client: Client,
    /// URL for downloads, with the login of a download user if there is one.
    base: String,
    /// URL for the API, without this login. A request has one `Authorization`, which is the token.
    api_base: String,
    token: Option<Secret>,
    pub form: OutputForm,
}

impl ApiClient {
    /// Creates a client.
    ///
    /// # Errors
    /// [`Failure`] if the URL of the environment is invalid, or the file with the token cannot be
    /// read.
    pub fn new(gateway: &GatewayArgs, form: OutputForm) -> Result<Self, Failure> {
        let usage = |error: GatewayArgsError| Failure::usage(error.to_string());
        let base = gateway.url().map_err(usage)?;
        let token = gateway.token().map_err(usage)?;
        let default = || DEFAULT_GATEWAY.to_owned();
        // Proxies of the environment are for downloads, and do not know the API.
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT);
        let client = client.user_agent(concat!("millpond/", env!("CARGO_PKG_VERSION")));
        Ok(Self {
            client: client.build()?,
            base: base.as_ref().map_or_else(default, GatewayUrl::to_string),
            api_base: base.map_or_else(default, |base| base.without_login().to_string()),
            token,
            form,
        })
    }

    /// Returns the URL of the gateway, without a login.
    #[must_use]
    pub fn public_base(&self) -> &str {
        &self.api_base
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

    /// Whether requests to the API have a token.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Sends a request without a body, and with additional header fields, to the API.
    ///
    /// # Errors
    /// [`Failure`] with the error of the gateway.
    pub async fn post(
        &self,
        resource: &str,
        parameters: &[(&str, &str)],
        headers: HeaderMap,
    ) -> Result<Value, Failure> {
        let request = self.api(Method::POST, resource, parameters);
        read_json(request.headers(headers).send().await?).await
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

    /// Requests a resource that has one JSON document a line. The response may be without end.
    ///
    /// # Errors
    /// [`Failure`] with the error of the gateway.
    pub async fn lines(
        &self,
        resource: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Response, Failure> {
        let request = self.api(Method::GET, resource, parameters);
        check_status(
            request
                .header(ACCEPT, "application/x-ndjson")
                .send()
                .await?,
        )
        .await
    }

    /// Sends a JSON document to the API.
    ///
    /// # Errors
    /// [`Failure`] with the error of the gateway.
    pub async fn send(&self, resource: &str, document: &Value) -> Result<Value, Failure> {
        let request = self.api(Method::POST, resource, &[]);
        let request = request.header(CONTENT_TYPE, "application/json");
        read_json(request.body(document.to_string()).send().await?).await
    }

    fn api(&self, method: Method, resource: &str, parameters: &[(&str, &str)]) -> RequestBuilder {
        let pair = |(name, value): &(&str, &str)| {
            format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
        };
        let query: Vec<String> = parameters.iter().map(pair).collect();
        let request = self.client.request(
            method,
            format!("{}/api/v1/{resource}?{}", self.api_base, query.join("&")),
        );
        self.authorized(request)
    }

    /// Requests the sources and pieces of an object. Returns `None` if the gateway does not have
    /// the object, does not let this client read it, or has no pieces of it.
    ///
    /// # Errors
    /// [`Failure`] if the gateway cannot be reached.
    pub async fn metalink(&self, sha256: Sha256) -> Result<Option<Metalink>, Failure> {
        let url = format!("{}/metalink", self.object_url(sha256));
        let response = self.authorized(self.client.get(url)).send().await?;
        if !response.status().is_success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&read(response).await?).into_owned();
        let parsed = Metalink::parse(&text).ok();
        Ok(parsed.filter(|found| found.sha256 == sha256 && found.pieces.is_some()))
    }

    /// Returns the URLs of the sources of a metalink, the best first. The gateway itself is asked
    /// at the URL of this client, whatever URL it knows of itself.
    #[must_use]
    pub fn source_urls(&self, metalink: &Metalink) -> Vec<String> {
        let (own, is_own) = (self.object_url(metalink.sha256), |url: &str| {
            let behind_scheme = |url: &str| url.split_once("://").map(|(_, rest)| rest.to_owned());
            let path = format!("/api/v1/objects/sha256/{}", metalink.sha256);
            behind_scheme(url) == behind_scheme(&(self.api_base.clone() + &path))
        });
        let mut sources = metalink.urls.clone();
        sources.sort_by_key(|source| source.priority);
        let mut urls: Vec<String> = Vec::new();
        for source in sources {
            let url = if is_own(&source.url) {
                own.clone()
            } else {
                source.url
            };
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        if !urls.contains(&own) {
            urls.insert(0, own);
        }
        urls
    }

    /// Requests a range of a file at any URL. Only the gateway itself gets the token or the login.
    ///
    /// # Errors
    /// [`Failure`] if the URL cannot be reached.
    pub async fn get_range(&self, url: &str, range: Range<u64>) -> Result<Response, Failure> {
        let request = self.client.get(url);
        let request = if url.starts_with(&self.object_root()) {
            self.authorized(request)
        } else {
            request
        };
        let range = format!("bytes={}-{}", range.start, range.end - 1);
        Ok(request.header(RANGE, range).send().await?)
    }

    fn object_url(&self, sha256: Sha256) -> String {
        format!("{}{sha256}", self.object_root())
    }

    /// Returns the beginning of the URLs of objects, with the login if no token replaces it.
    fn object_root(&self) -> String {
        let base = match &self.token {
            Some(_) => &self.api_base,
            None => &self.base,
        };
        format!("{base}/api/v1/objects/sha256/")
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
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

/// Returns a successful response.
async fn check_status(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let mut failure = failure_of(response).await;
    if status == StatusCode::UNAUTHORIZED {
        failure.text += "; use --token-file FILE or MILLPOND_TOKEN";
    }
    Err(failure)
}

async fn read_json(response: Response) -> Result<Value, Failure> {
    let bytes = read(check_status(response).await?).await?;
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

/// Prints a response of the API, as JSON or as a line.
///
/// # Errors
/// If standard output cannot be written.
pub fn show(api: &ApiClient, response: &Value, line: &str) -> Result<(), Failure> {
    match api.form {
        OutputForm::Json => print_line(response),
        OutputForm::Text => print_line(&line),
    }?;
    Ok(())
}
