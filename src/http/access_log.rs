//! The access log: one event for each request, written when its response has ended.
//!
//! The main type is [`RequestLog`].

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::time::Instant;

use actix_web::http::header::{HeaderMap, USER_AGENT};

use crate::gateway::CacheStatus;
use crate::model::Target;

/// Logged status of a request that the client abandoned before its response began, as in nginx. It
/// is never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Longest part of a `User-Agent` in the log, in characters.
const MAX_USER_AGENT_CHARS: usize = 200;

/// Endpoint of health checks in the log. Successful ones are logged at level `debug`.
pub const HEALTH_ENDPOINT: &str = "health";

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
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Target(target) => Cow::Owned(target.to_string()),
        }
    }
}

/// Log entry of one request. Dropped before it is written, it reports the request as aborted.
pub struct RequestLog {
    client: IpAddr,
    endpoint: &'static str,
    method: Cow<'static, str>,
    uri: LogUri,
    /// `User-Agent` of the request, or nothing.
    user_agent: String,
    started: Instant,
    is_written: Cell<bool>,
    /// Status that is logged if the request is aborted.
    status: Cell<u16>,
    /// Text of the error response, without secrets.
    error: RefCell<Option<String>>,
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        if !self.is_written.get() {
            self.write(self.status.get(), None, 0, "aborted");
        }
    }
}

impl RequestLog {
    /// Begins the entry.
    pub fn begin(client: IpAddr, endpoint: &'static str, method: &str, uri: LogUri) -> Self {
        Self {
            client,
            endpoint,
            method: match method {
                "GET" => Cow::Borrowed("GET"),
                other => Cow::Owned(other.to_owned()),
            },
            uri,
            user_agent: String::new(),
            started: Instant::now(),
            is_written: Cell::new(false),
            status: Cell::new(CLIENT_CLOSED_REQUEST),
            error: RefCell::default(),
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
            let agent = String::from_utf8_lossy(agent.as_bytes());
            let cut = agent.char_indices().nth(MAX_USER_AGENT_CHARS);
            let end = cut.map_or(agent.len(), |(end, _)| end);
            agent[..end].clone_into(&mut self.user_agent);
        }
        self
    }

    /// Sets the status that is logged if the request is aborted.
    pub fn set_status(&self, status: u16) {
        self.status.set(status);
    }

    /// Writes the entry of a request. `completion` is `complete`, `aborted`, `offloaded` or `idle`.
    pub fn write(
        &self,
        status: u16,
        cache_status: Option<CacheStatus>,
        sent_bytes: u64,
        completion: &'static str,
    ) {
        self.is_written.set(true);
        let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // The fields are formatted only if the level is enabled.
        let error = self.error.borrow();
        let cache = || cache_status.map_or_else(String::new, |status| status.outcome());
        macro_rules! emit {
            ($event:ident) => {
                tracing::$event!(
                    client = %self.client,
                    endpoint = self.endpoint,
                    method = &*self.method,
                    uri = &*self.uri.text(),
                    status,
                    cache = cache(),
                    sent_bytes,
                    completion,
                    duration_ms,
                    user_agent = self.user_agent,
                    error = error.as_deref(),
                    "request"
                )
            };
        }
        if self.endpoint == HEALTH_ENDPOINT && status == 200 {
            emit!(debug);
        } else {
            emit!(info);
        }
    }
}
