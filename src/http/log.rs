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
use crate::policy::Transfer;

/// The status in the log of a request whose client left before it was answered. It is never sent.
const CLIENT_LEFT: u16 = 499;

/// The door of requests that watch over the service. While they are well they are told at level debug only.
pub const HEALTH_DOOR: &str = "health";

/// What is known of a request while it is answered.
pub struct RequestLog {
    pub client: IpAddr,
    pub door: &'static str,
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
            self.write(self.status.get(), "", 0, "cut");
        }
    }
}

impl RequestLog {
    pub fn begin(client: IpAddr, door: &'static str, method: &str, uri: String) -> Self {
        Self {
            client,
            door,
            method: method.to_owned(),
            uri,
            started: Instant::now(),
            is_written: Cell::new(false),
            status: Cell::new(CLIENT_LEFT),
        }
    }

    /// Notes the status of an answer whose end may never come.
    pub fn answered(&self, status: u16) {
        self.status.set(status);
    }

    /// Ties the event to the end of the answer's body.
    ///
    /// `transfer` counts as long as the body is under way, and says how fast it may be.
    pub fn attach(self, response: HttpResponse, transfer: Option<Transfer>) -> HttpResponse {
        let status = response.status().as_u16();
        let cache = response.headers().get("cache-status").and_then(|value| value.to_str().ok());
        // Behind our own name.
        let cache = cache.and_then(|text| text.split_once("; ")).map_or(String::new(), |(_, rest)| rest.to_owned());
        let is_handed_over = response.headers().contains_key(ACCEL_REDIRECT);
        response.map_body(|_, body| {
            let body = match transfer.as_ref().and_then(Transfer::pacer) {
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
                is_handed_over,
                has_ended: false,
                _transfer: transfer,
            }
            .boxed()
        })
    }

    /// The event of a request that has no body of ours, such as a tunnel.
    pub fn write(&self, status: u16, cache: &str, sent_bytes: u64, ended: &'static str) {
        self.is_written.set(true);
        let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        macro_rules! tell {
            ($event:ident) => {
                tracing::$event!(
                    client = %self.client,
                    door = self.door,
                    method = self.method,
                    uri = self.uri,
                    status,
                    cache,
                    sent_bytes,
                    ended,
                    duration_ms,
                    "request"
                )
            };
        }
        if self.door == HEALTH_DOOR && status == 200 { tell!(debug) } else { tell!(info) }
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
    is_handed_over: bool,
    has_ended: bool,
    _transfer: Option<Transfer>,
}

impl MessageBody for LoggedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
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
        let is_whole = self.expected_bytes.map_or(self.has_ended, |expected| self.sent_bytes >= expected);
        let ended = match (self.is_handed_over, is_whole) {
            (true, _) => "handed over",
            (false, true) => "whole",
            (false, false) => "cut",
        };
        self.log.write(self.status, &self.cache, self.sent_bytes, ended);
    }
}
