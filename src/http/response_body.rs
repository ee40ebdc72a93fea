//! The body of every response: its bytes, the facts that the access log records, and all that the
//! request holds until the last byte.
//!
//! The main type is [`ResponseBody`].

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;

use super::access_log::RequestLog;
use super::body::paced;
use super::rendered_response::RenderedResponse;
use super::request_guard::RequestGuard;
use super::response_facts::{BodySender, ResponseFacts};
use crate::limits::TransferPermit;
use crate::metrics::TransferEnd;

/// Body of a response. Dropping it writes the log entry and releases the permits.
pub struct ResponseBody {
    source: BoxBody,
    status: u16,
    facts: ResponseFacts,
    /// `None` if the length is unknown: then the body is complete at the end of its stream.
    expected_bytes: Option<u64>,
    log: RequestLog,
    sent_bytes: u64,
    has_ended: bool,
    // Released after the log entry is written.
    transfer_permit: Option<TransferPermit>,
    _guard: RequestGuard,
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
        let RenderedResponse { response, facts } = rendered;
        let status = response.status().as_u16();
        if let (BodySender::Nginx { body_bytes }, Some(permit)) = (facts.sender, &transfer_permit)
            && !log.is_head()
        {
            permit.count_bytes(body_bytes);
        }
        response.map_body(|_, body| {
            let source = match transfer_permit.as_ref().and_then(TransferPermit::pacer) {
                Some(pacer) => paced(body, pacer),
                None => body,
            };
            let expected_bytes = match source.size() {
                BodySize::None => Some(0),
                BodySize::Sized(_) if log.is_head() => Some(0),
                BodySize::Sized(size) => Some(size),
                BodySize::Stream => None,
            };
            let body = Self {
                source,
                status,
                facts,
                expected_bytes,
                log,
                sent_bytes: 0,
                has_ended: false,
                transfer_permit,
                _guard: guard,
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

impl MessageBody for ResponseBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.source.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.source).poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(chunk))) => {
                self.log.mark_first_byte();
                let bytes = chunk.len() as u64;
                self.sent_bytes += bytes;
                if let Some(permit) = &self.transfer_permit {
                    permit.count_bytes(bytes);
                }
            }
            Poll::Ready(None) => self.has_ended = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let end = self.end();
        self.log
            .write(self.status, &self.facts, self.sent_bytes, end);
    }
}
