//! The body of every response: its bytes, the facts that the access log records, and all that the
//! request holds until the last byte.
//!
//! The main type is [`ResponseBody`].

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::Bytes;

use super::access_log::RequestLog;
use super::body::paced;
use super::connection::FileSender;
use super::rendered_response::RenderedResponse;
use super::request_guard::RequestGuard;
use super::response_facts::{BodySender, ResponseFacts};
use crate::limits::TransferPermit;
use crate::metrics::TransferEnd;

/// Smallest body that the connection sends itself, in bytes. Its head is a system call of its own.
const MIN_DIRECT_BYTES: u64 = 32 * 1024;

/// Body of a response. Dropping it writes the log entry and releases the permits.
pub struct ResponseBody {
    source: BoxBody,
    route: BodyRoute,
    status: u16,
    facts: ResponseFacts,
    /// `None` if the length is unknown: then the body is complete at the end of its stream.
    expected_bytes: Option<u64>,
    log: RequestLog,
    sent_bytes: u64,
    has_ended: bool,
    // Released after the log entry is written.
    transfer_permit: Option<TransferPermit>,
    guard: RequestGuard,
}

/// Way of the bytes to the socket.
enum BodyRoute {
    /// Through the buffer of the HTTP library, which also frames them.
    Buffered,
    /// Past the HTTP library, which only writes the head.
    Direct,
    /// In the same way, from the file. `None` once the connection has the sender.
    File(Option<Box<FileSender>>),
}

/// Error of a body that ended before its stated length.
#[derive(Debug, thiserror::Error)]
#[error("the body ended after {sent_bytes} of {expected_bytes} bytes")]
struct ShortBody {
    sent_bytes: u64,
    expected_bytes: u64,
}

impl ResponseBody {
    /// Makes the body of a rendered response hold the log entry, the guard and the permit of its
    /// request. The permit also limits its speed.
    pub fn attach(
        rendered: RenderedResponse,
        log: RequestLog,
        guard: RequestGuard,
        transfer_permit: Option<TransferPermit>,
    ) -> HttpResponse {
        let RenderedResponse {
            response,
            facts,
            file,
        } = rendered;
        let file = file.filter(|_| guard.can_send_files());
        let status = response.status().as_u16();
        if let (BodySender::Nginx { body_bytes }, Some(permit)) = (facts.sender, &transfer_permit)
            && !log.is_head()
        {
            permit.count_bytes(body_bytes);
        }
        response.map_body(|head, body| {
            let (source, file) = match transfer_permit.as_ref().and_then(TransferPermit::pacer) {
                Some(pacer) => (paced(body, pacer), None),
                None => (body, file),
            };
            let expected_bytes = match source.size() {
                BodySize::None => Some(0),
                BodySize::Sized(_) if log.is_head() => Some(0),
                BodySize::Sized(size) => Some(size),
                BodySize::Stream => None,
            };
            let route = match source.size() {
                BodySize::Sized(size) if size >= MIN_DIRECT_BYTES && !log.is_head() => {
                    // The library takes the length from the field, and ends the body with it.
                    head.headers_mut().insert(CONTENT_LENGTH, size.into());
                    head.no_chunking(true);
                    file.map_or(BodyRoute::Direct, |file| BodyRoute::File(Some(file)))
                }
                _ => BodyRoute::Buffered,
            };
            let body = Self {
                source,
                route,
                status,
                facts,
                expected_bytes,
                log,
                sent_bytes: 0,
                has_ended: false,
                transfer_permit,
                guard,
            };
            BoxBody::new(body)
        })
    }

    fn end(&self) -> TransferEnd {
        let is_complete = self
            .expected_bytes
            .map_or(self.has_ended, |expected| self.sent_bytes >= expected);
        match (self.facts.sender, is_complete) {
            (BodySender::Nginx { .. }, _) => TransferEnd::Offloaded,
            (BodySender::Millpond, true) => TransferEnd::Complete,
            (BodySender::Millpond, false) => TransferEnd::Aborted,
        }
    }
}

impl ResponseBody {
    /// Takes the next bytes from the source, and counts them.
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, <Self as MessageBody>::Error>>> {
        let polled = Pin::new(&mut self.source).poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(chunk))) => {
                self.log.mark_first_byte();
                self.count_sent(chunk.len() as u64);
            }
            Poll::Ready(None) => self.has_ended = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn count_sent(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
        if let Some(permit) = &self.transfer_permit {
            permit.count_bytes(bytes);
        }
    }

    /// Counts the bytes of a file that the connection has sent since the last call.
    fn count_file_bytes(&mut self) {
        let unsent_bytes = self.guard.direct_bytes().len();
        let sent_bytes = self.expected_bytes.unwrap_or_default() - unsent_bytes;
        if sent_bytes > 0 {
            self.log.mark_first_byte();
        }
        self.count_sent(sent_bytes - self.sent_bytes);
    }

    /// Passes the file to the connection, and returns no bytes, until the connection has sent them
    /// all.
    fn poll_file(
        &mut self,
        file: Option<Box<FileSender>>,
    ) -> Poll<Option<Result<Bytes, <Self as MessageBody>::Error>>> {
        if let Some(file) = file {
            self.guard.direct_bytes().put_file(file);
        }
        self.count_file_bytes();
        if self.guard.direct_bytes().is_empty() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    /// Passes the next bytes to the connection, and returns no bytes. The HTTP library flushes the
    /// connection after each call. The connection wakes the task once it has sent the bytes.
    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, <Self as MessageBody>::Error>>> {
        let expected_bytes = self.expected_bytes.unwrap_or_default();
        while self.guard.direct_bytes().is_empty() {
            let left_bytes = expected_bytes - self.sent_bytes;
            match ready!(self.poll_source(cx)) {
                Some(Ok(mut chunk)) => {
                    chunk.truncate(usize::try_from(left_bytes).unwrap_or(usize::MAX));
                    self.sent_bytes = self.sent_bytes.min(expected_bytes);
                    self.guard.direct_bytes().put(chunk);
                }
                None if left_bytes > 0 => {
                    let sent_bytes = self.sent_bytes;
                    let error = ShortBody {
                        sent_bytes,
                        expected_bytes,
                    };
                    return Poll::Ready(Some(Err(error.into())));
                }
                end_or_error => return Poll::Ready(end_or_error),
            }
        }
        Poll::Pending
    }
}

impl MessageBody for ResponseBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        match self.route {
            BodyRoute::Buffered => self.source.size(),
            BodyRoute::Direct | BodyRoute::File(_) => BodySize::Stream,
        }
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match &mut self.route {
            BodyRoute::Buffered => self.poll_source(cx),
            BodyRoute::Direct => self.poll_direct(cx),
            BodyRoute::File(file) => {
                let file = file.take();
                self.poll_file(file)
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        match self.route {
            BodyRoute::Buffered | BodyRoute::File(Some(_)) => {}
            BodyRoute::Direct => self.sent_bytes -= self.guard.direct_bytes().len(),
            BodyRoute::File(None) => self.count_file_bytes(),
        }
        let end = self.end();
        self.log
            .write(self.status, &self.facts, self.sent_bytes, end);
    }
}
