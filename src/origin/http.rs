//! Client for http and https origins.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::http;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, IF_RANGE,
    PROXY_AUTHORIZATION, RANGE, TRANSFER_ENCODING, USER_AGENT, VIA,
};
use reqwest::{StatusCode, Version};

use super::body::{Body, BodyStream};
use super::config::Config;
use super::cookies::ChainCookies;
use super::error::OriginError;
use super::fault::{ConnectionFault, ProtocolFault, RequestFault};
use super::head_reader::RewrittenHead;
use super::http_clients::{ClientPair, HttpClients};
use super::http_error::classify;
use super::http_stream::RequestForm;
use super::loop_watch::LoopWatch;
use super::request::{Method, OriginRequest, Resume};
use super::response::{Response, ResponseHead};
use super::reuse::{SendError, send};
use super::tls::TrustedCertificates;
use crate::dial::{Asker, Dialer};
use crate::model::{ConfigError, HttpVersion, Scheme, Target, accepted_types};
use crate::policy::Admitted;

/// Maximum time until the response to a request with a body. The idle timeout does not apply,
/// because the client may still be sending the body.
const UPLOAD_TIMEOUT: Duration = Duration::from_hours(2);

/// Identifies this node to itself (RFC 8586). Some intermediaries remove `Via`.
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Parameter of `Proxy-Status` for a request loop.
const LOOP_ERROR: &str = "error=proxy_loop_detected";

/// Request with the body of a client, or with an empty one.
type OutgoingRequest = http::Request<reqwest::Body>;

#[derive(Debug)]
pub struct HttpOrigin {
    clients: HttpClients,
    config: Config,
    own: OwnFields,
    loop_watch: LoopWatch,
}

/// Values of the fields that identify this node.
#[derive(Debug)]
struct OwnFields {
    /// `Via` of a request that was received as HTTP/1.0.
    via_1_0: HeaderValue,
    via_1_1: HeaderValue,
    /// Name of this node in `CDN-Loop`.
    name: HeaderValue,
}

impl OwnFields {
    fn new(name: &str) -> Result<Self, ConfigError> {
        let value = |text: String| {
            HeaderValue::try_from(text)
                .map_err(|_| ConfigError::new("gateway.name", "must be a valid token"))
        };
        let via = |version: HttpVersion| value(format!("{} {name}", version.as_str()));
        Ok(Self {
            via_1_0: via(HttpVersion::Http10)?,
            via_1_1: via(HttpVersion::Http11)?,
            name: value(name.to_owned())?,
        })
    }

    /// Appends the fields to a request that was received in this version.
    fn append_to(&self, headers: &mut HeaderMap, received: HttpVersion) {
        let via = match received {
            HttpVersion::Http10 => &self.via_1_0,
            HttpVersion::Http11 => &self.via_1_1,
        };
        headers.append(VIA, via.clone());
        headers.append(CDN_LOOP, self.name.clone());
    }
}

impl HttpOrigin {
    /// # Errors
    /// [`ConfigError`] if a key is invalid, or TLS is unavailable.
    pub fn new(
        config: Config,
        dialer: Dialer,
        trusted: &TrustedCertificates,
    ) -> Result<Self, ConfigError> {
        let clients = HttpClients::new(&config, dialer, trusted)?;
        let own = OwnFields::new(&config.name)?;
        Ok(Self {
            clients,
            config,
            own,
            loop_watch: LoopWatch::new(),
        })
    }

    pub fn loop_watch(&self) -> &LoopWatch {
        &self.loop_watch
    }

    /// Sends one request with the cookies that its chain has set. A redirect is a response.
    ///
    /// # Errors
    /// [`OriginError`] if there is no response. A response with 4xx or 5xx is a response.
    pub async fn send(
        &self,
        hop: &Admitted,
        request: &mut OriginRequest,
        cookies: &ChainCookies,
    ) -> Result<Response, OriginError> {
        let mut headers = request_headers(request, hop.target(), &self.own)?;
        add_credentials(&mut headers, hop, request)?;
        if let (Some(cookie), false) = (
            cookies.header_for(hop.target()),
            headers.contains_key(COOKIE),
        ) {
            headers.insert(COOKIE, cookie);
        }
        let clients = self
            .clients
            .client_for_route(hop.request_options().egress.as_ref())
            .map_err(|error| RequestFault::Egress(error.to_string()))?;
        let is_plain = hop.target().scheme() == Scheme::Http;
        if let Some(value) = clients.proxy_authorization.as_ref().filter(|_| is_plain) {
            headers.insert(PROXY_AUTHORIZATION, value.clone());
        }
        let response_timeout = match request.body {
            Some(_) => UPLOAD_TIMEOUT,
            None => self.config.idle_timeout,
        };
        let outgoing = outgoing(hop, request, headers)?;
        let mut response = self
            .exchange(hop, &clients, outgoing, response_timeout)
            .await?;
        let status = response.status();
        if status.is_informational() {
            // If a 101 were passed on, nginx would turn its connection to Millpond into a tunnel.
            return Err(ProtocolFault::ProtocolSwitch.into());
        }
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            // The client would send the credentials for its own proxy.
            return Err(ProtocolFault::ProxyAuthentication.into());
        }
        if states_loop(&response) {
            return Err(ProtocolFault::RequestLoop.into());
        }
        check_transfer_encoding(response.headers())?;
        let head = ResponseHead {
            status: status.as_u16(),
            version: received_version(&response),
            headers: std::mem::take(response.headers_mut()),
            validator: None,
            overlap_bytes: request.resume.as_ref().map_or(0, Resume::overlap_bytes),
        };
        let body = Body::new(BodyStream::Http(response.into_body()), &self.config);
        Ok(Response::new(head, body, hop.target()))
    }

    /// Sends a request and returns its response, unless a loop of egress proxies is found first.
    async fn exchange(
        &self,
        hop: &Admitted,
        clients: &ClientPair,
        request: OutgoingRequest,
        response_timeout: Duration,
    ) -> Result<http::Response<Incoming>, OriginError> {
        // An egress proxy sees no request in its tunnels, and only these methods are shared.
        let can_loop = clients.plain_form == RequestForm::Absolute
            && hop.target().scheme() == Scheme::Http
            && matches!(*request.method(), http::Method::GET | http::Method::HEAD);
        let sending = send_with_retry(clients, request, hop.client(), response_timeout);
        let sending = std::pin::pin!(sending);
        if !can_loop {
            return sending.await;
        }
        // The other requests must not carry the large future of the probe.
        let watch = Box::pin(self.loop_watch.find_loop(self.is_in_loop(hop, clients)));
        tokio::select! {
            sent = sending => sent,
            () = watch => Err(ProtocolFault::RequestLoop.into()),
        }
    }

    /// Returns whether a request for a target comes back to this node. No response means no.
    async fn is_in_loop(&self, hop: &Admitted, clients: &ClientPair) -> bool {
        let mut probe = OriginRequest::new(Method::Other("OPTIONS".to_owned()));
        let built = request_headers(&probe, hop.target(), &self.own)
            .and_then(|headers| outgoing(hop, &mut probe, headers));
        let Ok(mut outgoing) = built else {
            return false;
        };
        if let Some(value) = &clients.proxy_authorization {
            let headers = outgoing.headers_mut();
            headers.insert(PROXY_AUTHORIZATION, value.clone());
        }
        let limit = self.config.idle_timeout;
        let sent = send(&clients.fresh, outgoing, hop.client(), limit).await;
        sent.is_ok_and(|response| states_loop(&response))
    }
}

/// Returns whether a 508 comes from a proxy that has seen the request before (RFC 9209, section
/// 2.3.14). Some origins mean another shortage by this status.
fn states_loop(response: &http::Response<Incoming>) -> bool {
    let mut values = response.headers().get_all(PROXY_STATUS).iter();
    let is_loop = response.status() == StatusCode::LOOP_DETECTED;
    is_loop
        && values.any(|value| {
            let value = value.to_str().unwrap_or_default();
            value
                .split([';', ','])
                .any(|part| part.trim() == LOOP_ERROR)
        })
}

/// Returns the version that the origin has stated.
fn received_version(response: &http::Response<Incoming>) -> HttpVersion {
    let rewritten = response.extensions().get::<RewrittenHead>();
    let is_rewritten = rewritten.is_some_and(RewrittenHead::is_rewritten);
    if is_rewritten || response.version() < Version::HTTP_11 {
        HttpVersion::Http10
    } else {
        HttpVersion::Http11
    }
}

/// Sends a request, and retries it once if a kept-alive connection failed before the response.
///
/// Most origins close idle connections without notice. Only an idempotent request without a body
/// can be repeated (RFC 9112, section 9.3.1). Any other one is sent on a fresh connection at once.
async fn send_with_retry(
    clients: &ClientPair,
    request: OutgoingRequest,
    asker: Asker,
    response_timeout: Duration,
) -> Result<http::Response<Incoming>, OriginError> {
    let fresh = |request| async move {
        let response = send(&clients.fresh, request, asker, response_timeout).await;
        response.map_err(classify_send)
    };
    let Some(again) = copy_if_repeatable(&request, clients.repeats_all_methods) else {
        return fresh(request).await;
    };
    match send(&clients.pooled, request, asker, response_timeout).await {
        Ok(response) => Ok(response),
        Err(SendError::Stale(error)) => {
            let (host, error) = (again.uri().host(), classify(&error));
            tracing::debug!(
                host,
                %error,
                "kept-alive connection failed, sending the request on a fresh one"
            );
            fresh(again).await
        }
        Err(error) => Err(classify_send(error)),
    }
}

fn classify_send(error: SendError) -> OriginError {
    match error {
        SendError::Stale(error) | SendError::Failed(error) => classify(&error),
        SendError::TimedOut(phase) => ConnectionFault::Timeout(phase).into(),
    }
}

/// Builds the request. Takes the body.
fn outgoing(
    hop: &Admitted,
    request: &mut OriginRequest,
    headers: HeaderMap,
) -> Result<OutgoingRequest, RequestFault> {
    let uri = hop.target().requested_url().as_str().parse::<http::Uri>();
    let mut outgoing = http::Request::new(request.body.take().unwrap_or_default());
    *outgoing.method_mut() = request.method.to_http()?;
    *outgoing.uri_mut() = uri.map_err(|_| RequestFault::Target)?;
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

/// Copies an idempotent request without a body. Returns `None` for any other one.
fn copy_if_repeatable(
    request: &OutgoingRequest,
    repeats_all_methods: bool,
) -> Option<OutgoingRequest> {
    let has_no_body = request.body().as_bytes().is_some_and(<[u8]>::is_empty);
    let is_repeatable = repeats_all_methods || request.method().is_idempotent();
    if !is_repeatable || !has_no_body {
        return None;
    }
    let mut copy = http::Request::new(reqwest::Body::default());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Rejects a response in another transfer coding than `chunked`, the only one that the HTTP client
/// decodes (RFC 9112, section 7). The client would return the coded bytes as the content.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), ProtocolFault> {
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
            let coding = String::from_utf8_lossy(&coding).into_owned();
            Err(ProtocolFault::TransferEncoding(coding))
        }
    }
}

/// Adds the credentials of the matching rule.
///
/// If the client sends its own credentials, Millpond adds none. It adds credentials only to GET and
/// HEAD, so that no client can change anything with Millpond's credentials.
fn add_credentials(
    headers: &mut HeaderMap,
    hop: &Admitted,
    request: &OriginRequest,
) -> Result<(), RequestFault> {
    let may_add = matches!(request.method, Method::Get | Method::Head)
        && !headers.contains_key(AUTHORIZATION)
        && !headers.contains_key(COOKIE);
    let Some(credentials) = hop
        .request_options()
        .credentials
        .as_ref()
        .filter(|_| may_add)
    else {
        return Ok(());
    };
    for (name, value) in credentials.fields() {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| RequestFault::CredentialsField)?;
        let mut value =
            HeaderValue::try_from(value.expose()).map_err(|_| RequestFault::CredentialsField)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(())
}

fn request_headers(
    request: &OriginRequest,
    target: &Target,
    own: &OwnFields,
) -> Result<HeaderMap, RequestFault> {
    let invalid = |_| RequestFault::HeaderField;
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| RequestFault::HeaderField)?;
        headers.append(name, HeaderValue::from_bytes(value).map_err(invalid)?);
    }
    own.append_to(&mut headers, request.received);
    if !headers.contains_key(USER_AGENT) {
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("millpond/", env!("CARGO_PKG_VERSION"))),
        );
    }
    if !headers.contains_key(ACCEPT) {
        headers.insert(ACCEPT, HeaderValue::from_static(accepted_types(target)));
    }
    // Only the file itself is stored, never a content coding of it. If the request is passed
    // through, its client may ask for a coding.
    if !headers.contains_key(ACCEPT_ENCODING) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if let Some(resume) = &request.resume {
        let range = format!("bytes={}-", resume.first_byte());
        headers.insert(RANGE, HeaderValue::try_from(range).map_err(invalid)?);
        if let Some(validator) = resume.validator.if_range() {
            headers.insert(IF_RANGE, HeaderValue::try_from(validator).map_err(invalid)?);
        }
    }
    Ok(headers)
}
