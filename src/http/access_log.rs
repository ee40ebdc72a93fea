//! One log event a request, when its answer has ended.

use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;

use super::body::paced;
use super::render::ACCEL_REDIRECT;
use crate::limits::TransferPermit;

/// The status in the log of a request whose client left before it was answered. It is never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The door of requests that watch over the service. While they are well they are told at level
/// debug only.
pub const HEALTH_ENDPOINT: &str = "health";

/// What is known of a request while it is answered.
pub struct RequestLog {
    pub client: IpAddr,
    pub endpoint: &'static str,
    pub method: String,
    /// Redacted.
    pub uri: String,
    started: Instant,
    is_written: Cell<bool>,
    /// What is told if nobody comes to the end of this request.
    status: Cell<u16>,
}

/// A client may leave before there is an answer.
impl Drop for RequestLog {
    fn drop(&mut self) {
        if !self.is_written.get() {
            self.write(self.status.get(), "", 0, "aborted");
        }
    }
}

impl RequestLog {
    pub fn begin(client: IpAddr, endpoint: &'static str, method: &str, uri: String) -> Self {
        Self {
            client,
            endpoint,
            method: method.to_owned(),
            uri,
            started: Instant::now(),
            is_written: Cell::new(false),
            status: Cell::new(CLIENT_CLOSED_REQUEST),
        }
    }

    /// Notes the status of an answer whose end may never come.
    pub fn answered(&self, status: u16) {
        self.status.set(status);
    }

    /// Ties the event to the end of the answer's body.
    ///
    /// `transfer` counts as long as the body is under way, and says how fast it may be.
    pub fn attach(
        self,
        response: HttpResponse,
        transfer_permit: Option<TransferPermit>,
    ) -> HttpResponse {
        let status = response.status().as_u16();
        let cache = response
            .headers()
            .get("cache-status")
            .and_then(|value| value.to_str().ok());
        // Behind our own name.
        let cache = cache
            .and_then(|text| text.split_once("; "))
            .map_or(String::new(), |(_, rest)| rest.to_owned());
        let is_offloaded = response.headers().contains_key(ACCEL_REDIRECT);
        response.map_body(|_, body| {
            let body = match transfer_permit.as_ref().and_then(TransferPermit::pacer) {
                Some(pacer) => paced(body, pacer),
                None => body,
            };
            let expected_bytes = match body.size() {
                BodySize::None => Some(0),
                BodySize::Sized(_) if self.method == "HEAD" => Some(0),
                BodySize::Sized(size) => Some(size),
                BodySize::Stream => None,
            };
            LoggedBody {
                body,
                log: self,
                status,
                cache,
                sent_bytes: 0,
                expected_bytes,
                is_offloaded,
                has_ended: false,
                _transfer_permit: transfer_permit,
            }
            .boxed()
        })
    }

    /// The event of a request that has no body of ours, such as a tunnel.
    pub fn write(&self, status: u16, cache: &str, sent_bytes: u64, completion: &'static str) {
        self.is_written.set(true);
        let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        macro_rules! emit {
            ($event:ident) => {
                tracing::$event!(
                    client = %self.client,
                    endpoint = self.endpoint,
                    method = self.method,
                    uri = self.uri,
                    status,
                    cache,
                    sent_bytes,
                    completion,
                    duration_ms,
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

struct LoggedBody {
    body: BoxBody,
    log: RequestLog,
    status: u16,
    cache: String,
    sent_bytes: u64,
    /// `None` where only the end of the stream tells.
    expected_bytes: Option<u64>,
    /// nginx sends the file.
    is_offloaded: bool,
    has_ended: bool,
    _transfer_permit: Option<TransferPermit>,
}

impl MessageBody for LoggedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(piece))) => self.sent_bytes += piece.len() as u64,
            Poll::Ready(None) => self.has_ended = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        let is_whole = self
            .expected_bytes
            .map_or(self.has_ended, |expected| self.sent_bytes >= expected);
        let completion = match (self.is_offloaded, is_whole) {
            (true, _) => "offloaded",
            (false, true) => "complete",
            (false, false) => "aborted",
        };
        self.log
            .write(self.status, &self.cache, self.sent_bytes, completion);
    }
}
