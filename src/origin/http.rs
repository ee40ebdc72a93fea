//! Origins of http and https.

use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE,
    TRANSFER_ENCODING, USER_AGENT, VIA,
};
use tokio::time::timeout;

use super::http_clients::{ClientPair, HttpClients};
use super::reuse::{SendError, send};
use super::{Config, Method, OriginError, Request, Response};
use crate::dial::Dialer;
use crate::model::ConfigError;
use crate::policy::Admitted;

/// The longest that a request with a body may take to be answered.
const MAX_UPLOAD: Duration = Duration::from_hours(2);

/// How many characters of an origin's header field an error quotes: it is one line, for people.
const MAX_TOLD: usize = 60;

/// All http and https origins.
#[derive(Debug)]
pub struct HttpOrigin {
    clients: HttpClients,
    config: Config,
    via: HeaderValue,
}

impl HttpOrigin {
    /// # Errors
    /// A line that names the key, if the egress proxy is no URL or the machine has no certificates.
    pub fn new(config: Config, dialer: Dialer) -> Result<Self, ConfigError> {
        let clients = HttpClients::new(&config, dialer)?;
        let via = HeaderValue::try_from(format!("1.1 {}", config.name))
            .map_err(|_| ConfigError::new("gateway.name", "is not a token"))?;
        Ok(Self {
            clients,
            config,
            via,
        })
    }

    /// Asks once. A redirect is an answer.
    ///
    /// # Errors
    /// [`OriginError`] where there is no answer. One of 4xx or 5xx is one.
    pub async fn ask(
        &self,
        hop: &Admitted,
        request: &mut Request,
    ) -> Result<Response, OriginError> {
        let mut headers = header_map(request, &self.via)?;
        add_credentials(&mut headers, hop, request)?;
        let clients = self
            .clients
            .client_for_route(hop.request_options().egress.as_ref())
            .map_err(|error| OriginError::InvalidResponse(error.to_string()))?;
        let method = request.method.for_client()?;
        let mut builder = clients
            .pooled
            .request(method, hop.target().url().clone())
            .headers(headers);
        // The clock for silence cannot run while a client is still sending.
        let patience = if request.body.is_some() {
            MAX_UPLOAD
        } else {
            self.config.idle_timeout
        };
        if let Some(body) = request.body.take() {
            builder = builder.body(body);
        }
        let outgoing = builder.build().map_err(OriginError::of_client)?;
        let answer = send_within(patience, &clients, outgoing).await?;
        if answer.status().is_informational() {
            // Handed on, it would make a blind tunnel of our own nginx's connection to us.
            return Err(OriginError::InvalidResponse(
                "the origin wants to speak another protocol".to_owned(),
            ));
        }
        check_transfer_encoding(answer.headers())?;
        Ok(Response::of_http(answer, hop.target(), &self.config))
    }
}

/// Sends a request. If a kept-alive connection fails before a response, an idempotent request whose
/// body can be sent again is sent once more on a fresh connection (RFC 9112, section 9.3.1): most
/// origins close idle connections without notice.
async fn send_within(
    patience: Duration,
    clients: &ClientPair,
    request: reqwest::Request,
) -> Result<reqwest::Response, OriginError> {
    let again = if request.method().is_idempotent() {
        request.try_clone()
    } else {
        None
    };
    let silent = |_| OriginError::Unreachable("the origin did not answer in time".to_owned());
    let error = match timeout(patience, send(&clients.pooled, request))
        .await
        .map_err(silent)?
    {
        Ok(response) => return Ok(response),
        Err(error) => error,
    };
    match (error, again) {
        (SendError::Stale(error), Some(again)) => {
            let (host, error) = (again.url().host_str(), OriginError::of_client(error));
            tracing::debug!(host, %error, "kept-alive connection failed, sending the request on a fresh one");
            let response = timeout(patience, send(&clients.fresh, again))
                .await
                .map_err(silent)?;
            response.map_err(|error| OriginError::of_client(error.into()))
        }
        (error, _) => Err(OriginError::of_client(error.into())),
    }
}

/// Refuses a response in another transfer coding than `chunked`, the only one that the HTTP client
/// decodes (RFC 9112, section 7). The client would take the coded bytes for the content.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), OriginError> {
    let lines: Vec<_> = headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    match &lines[..] {
        [] => Ok(()),
        [line] if line.trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        lines => {
            let coding = lines.join(&b", "[..]);
            let coding = String::from_utf8_lossy(&coding);
            Err(OriginError::InvalidResponse(format!(
                "the origin's Transfer-Encoding is not chunked alone: {coding:.MAX_TOLD$}"
            )))
        }
    }
}

/// Adds what a rule says to let us in. A client that brings its own means itself, and nobody
/// changes anything in our name.
fn add_credentials(
    headers: &mut HeaderMap,
    hop: &Admitted,
    request: &Request,
) -> Result<(), OriginError> {
    let is_ours = matches!(request.method, Method::Get | Method::Head)
        && !headers.contains_key(AUTHORIZATION)
        && !headers.contains_key(COOKIE);
    let Some(credentials) = hop
        .request_options()
        .credentials
        .as_ref()
        .filter(|_| is_ours)
    else {
        return Ok(());
    };
    for (name, value) in credentials.fields() {
        let invalid =
            || OriginError::InvalidResponse("a header field of a rule is not valid".to_owned());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let mut value = HeaderValue::try_from(value.expose()).map_err(|_| invalid())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(())
}

fn header_map(request: &Request, via: &HeaderValue) -> Result<HeaderMap, OriginError> {
    let invalid = |_| OriginError::InvalidResponse("a header field is not valid".to_owned());
    let mut map = HeaderMap::new();
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            OriginError::InvalidResponse("a header field has no valid name".to_owned())
        })?;
        map.append(name, HeaderValue::from_bytes(value).map_err(invalid)?);
    }
    map.append(VIA, via.clone());
    if !map.contains_key(USER_AGENT) {
        map.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("millpond/", env!("CARGO_PKG_VERSION"))),
        );
    }
    // What is stored must be the file itself, never a coding of it. A client that is passed through
    // may want one.
    if !map.contains_key(ACCEPT_ENCODING) {
        map.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if let Some(resume) = &request.resume {
        map.insert(
            RANGE,
            HeaderValue::try_from(format!("bytes={}-", resume.offset)).map_err(invalid)?,
        );
        map.insert(
            IF_RANGE,
            HeaderValue::try_from(&resume.validator).map_err(invalid)?,
        );
    }
    Ok(map)
}
