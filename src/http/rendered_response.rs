//! A rendered response with the facts that the access log and the metrics record.
//!
//! The main type is [`RenderedResponse`].

use actix_web::HttpResponse;

use super::connection::FileSender;
use super::response_facts::{BodySender, ResponseFacts};
use crate::gateway::CacheStatus;

/// A rendered response with the facts that are recorded at its end.
pub struct RenderedResponse {
    pub response: HttpResponse,
    pub facts: ResponseFacts,
    /// Sender of the same bytes as the body, which the connection may use instead.
    pub file: Option<Box<FileSender>>,
}

impl RenderedResponse {
    /// A response of the cache. Millpond sends its body.
    pub fn new(response: HttpResponse, cache_status: CacheStatus) -> Self {
        Self {
            response,
            facts: ResponseFacts::of(cache_status),
            file: None,
        }
    }

    pub fn with_file(self, file: Option<Box<FileSender>>) -> Self {
        Self { file, ..self }
    }

    /// A response of the cache. nginx sends its body of `body_bytes`.
    pub fn offloaded(response: HttpResponse, cache_status: CacheStatus, body_bytes: u64) -> Self {
        let sender = BodySender::Nginx { body_bytes };
        Self {
            response,
            facts: ResponseFacts::of(cache_status).with_sender(sender),
            file: None,
        }
    }

    /// A response that does not come from the cache.
    pub fn page(response: HttpResponse) -> Self {
        Self {
            response,
            facts: ResponseFacts::own(),
            file: None,
        }
    }
}
