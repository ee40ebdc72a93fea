//! The access log: one event for each request, written when its response has ended. The request is
//! counted for the metrics at the same time.
//!
//! The main type is [`RequestLog`].

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderMap, USER_AGENT};

use super::response_facts::{BodySender, ResponseFacts};
use crate::cluster::PeerTraffic;
use crate::metrics::{
    Delivery, EndedRequest, Label as _, Outcome, RequestCounts, RequestEndpoint, TransferEnd,
};
use crate::model::{ClientNet, Target};

/// Logged status of a request that the client abandoned before its response began, as in nginx. It
/// is never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Longest part of a `User-Agent` in the log, in characters.
const MAX_USER_AGENT_CHARS: usize = 200;

/// URI of a request in the log, without secrets.
pub enum LogUri {
    /// Redacted text.
    Text(String),
    /// A target, which is formatted only if the entry is written.
    Target(Target),
}

impl From<String> for LogUri {
    /// Wraps text that is redacted.
    fn from(redacted: String) -> Self {
        Self::Text(redacted)
    }
}

impl LogUri {
    /// Returns the host that a client has asked for.
    fn host(&self, endpoint: RequestEndpoint) -> Option<&str> {
        match self {
            Self::Target(target) => Some(target.host()),
            Self::Text(authority) if endpoint == RequestEndpoint::Tunnel => {
                authority.rsplit_once(':').map(|(host, _)| host)
            }
            Self::Text(_) => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Target(target) => Cow::Owned(target.to_string()),
        }
    }
}

/// Log entry of one request. Dropped before it is written, it reports the request as aborted.
pub struct RequestLog {
    counts: Arc<RequestCounts>,
    client: IpAddr,
    endpoint: RequestEndpoint,
    method: Cow<'static, str>,
    uri: LogUri,
    /// `User-Agent` of the request, or nothing.
    user_agent: String,
    /// Whether the request is inside an intercepted `CONNECT`, or is that `CONNECT`.
    is_intercepted: bool,
    started: Instant,
    /// Time until the first byte of the body.
    first_byte: Cell<Option<Duration>>,
    is_written: Cell<bool>,
    /// Status that is logged if the request is aborted.
    status: Cell<u16>,
    /// Text of the error response, without secrets.
    error: RefCell<Option<String>>,
    /// Counts of the peer that has sent the request.
    peer: Option<Arc<PeerTraffic>>,
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        if self.is_written.get() {
            return;
        }
        let status = self.status.get();
        let outcome = match status {
            CLIENT_CLOSED_REQUEST => Outcome::Abandoned,
            _ => Outcome::Passed,
        };
        let facts = ResponseFacts::without_response(outcome);
        self.write(status, &facts, 0, TransferEnd::Aborted);
    }
}

impl RequestLog {
    /// Begins the entry. The request will be counted in `counts`.
    pub fn begin(
        counts: Arc<RequestCounts>,
        client: IpAddr,
        endpoint: RequestEndpoint,
        method: &str,
        uri: LogUri,
    ) -> Self {
        Self {
            counts,
            client,
            endpoint,
            method: match method {
                "GET" => Cow::Borrowed("GET"),
                other => Cow::Owned(other.to_owned()),
            },
            uri,
            user_agent: String::new(),
            is_intercepted: false,
            started: Instant::now(),
            first_byte: Cell::new(None),
            is_written: Cell::new(false),
            status: Cell::new(CLIENT_CLOSED_REQUEST),
            error: RefCell::default(),
            peer: None,
        }
    }

    /// Whether the request has the method HEAD.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Sets the cause of the error that the response reports.
    pub fn set_error(&self, error: String) {
        self.error.replace(Some(error));
    }

    /// Adds the client's `User-Agent`, at most `MAX_USER_AGENT_CHARS` of it.
    pub fn with_user_agent(mut self, headers: &HeaderMap) -> Self {
        if let Some(agent) = headers.get(USER_AGENT) {
            let mut agent = String::from_utf8_lossy(agent.as_bytes()).into_owned();
            // A text has no more characters than bytes.
            if agent.len() > MAX_USER_AGENT_CHARS
                && let Some((end, _)) = agent.char_indices().nth(MAX_USER_AGENT_CHARS)
            {
                agent.truncate(end);
            }
            self.user_agent = agent;
        }
        self
    }

    /// Records that a peer has sent the request.
    pub fn set_peer(&mut self, peer: Option<Arc<PeerTraffic>>) {
        self.peer = peer;
    }

    /// Records that the request is inside an intercepted `CONNECT`, or is that `CONNECT`.
    pub fn mark_intercepted(&mut self) {
        self.is_intercepted = true;
    }

    /// Sets the status that is logged if the request is aborted.
    pub fn set_status(&self, status: u16) {
        self.status.set(status);
    }

    /// Records that the first byte of the body is there.
    pub fn mark_first_byte(&self) {
        if self.first_byte.get().is_none() {
            self.first_byte.set(Some(self.started.elapsed()));
        }
    }

    /// Counts the request and writes its entry. `sent_bytes` are those that Millpond itself has
    /// sent.
    pub fn write(&self, status: u16, facts: &ResponseFacts, sent_bytes: u64, end: TransferEnd) {
        self.is_written.set(true);
        let duration = self.started.elapsed();
        // A reader of the log finds the request counted.
        self.count(status, facts, (sent_bytes, end), duration);
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (cache_status, completion) = (facts.cache_status, end.as_str());
        // The fields are formatted only if the level is enabled.
        let error = self.error.borrow();
        let cache = || cache_status.map_or_else(String::new, |status| status.outcome());
        macro_rules! emit {
            ($event:ident) => {
                tracing::$event!(
                    client = %self.client,
                    endpoint = self.endpoint.as_str(),
                    method = &*self.method,
                    uri = &*self.uri.text(),
                    status,
                    cache = cache(),
                    sent_bytes,
                    completion,
                    duration_ms,
                    user_agent = self.user_agent,
                    intercepted = self.is_intercepted.then_some(true),
                    error = error.as_deref(),
                    "request"
                )
            };
        }
        if is_periodic(self.endpoint) && status == 200 {
            emit!(debug);
        } else {
            emit!(info);
        }
    }

    fn count(
        &self,
        status: u16,
        facts: &ResponseFacts,
        (own_bytes, end): (u64, TransferEnd),
        duration: Duration,
    ) {
        let delivery = match &*self.method {
            "GET" => facts.delivery(status),
            _ => Delivery::Other,
        };
        let request = EndedRequest {
            endpoint: self.endpoint,
            outcome: facts.outcome,
            class: facts.class,
            status,
            delivery,
            source: facts.source(),
            sent_bytes: match facts.sender {
                BodySender::Millpond => own_bytes,
                BodySender::Nginx { body_bytes } => body_bytes,
            },
            end,
            first_byte: self.first_byte.get().unwrap_or(duration),
            duration,
        };
        self.counts.record(&request);
        if let Some(peer) = &self.peer {
            peer.add_sent(request.sent_bytes);
        }
        // Operators and monitoring systems cost nothing.
        if !is_own(self.endpoint) {
            let client = ClientNet::from_address(self.client);
            let host = self.uri.host(self.endpoint);
            self.counts.costs.record(request.cost(), client, host);
        }
    }
}

/// Whether an endpoint serves pages, lists and health checks only.
fn is_own(endpoint: RequestEndpoint) -> bool {
    !matches!(
        endpoint,
        RequestEndpoint::Gateway
            | RequestEndpoint::Proxy
            | RequestEndpoint::Tunnel
            | RequestEndpoint::Mirror
            | RequestEndpoint::Registry
    )
}

/// Whether monitoring systems ask an endpoint again and again. Their successes are logged at level
/// `debug`.
fn is_periodic(endpoint: RequestEndpoint) -> bool {
    matches!(endpoint, RequestEndpoint::Health | RequestEndpoint::Metrics)
}
