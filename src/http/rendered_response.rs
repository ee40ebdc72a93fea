//! A rendered response with the facts that the access log records.
//!
//! The main type is [`RenderedResponse`].

use actix_web::HttpResponse;

use crate::gateway::CacheStatus;

/// A rendered response with the facts that the access log records.
pub struct RenderedResponse {
    pub response: HttpResponse,
    pub sender: BodySender,
    /// `None` for the built-in pages and the API, which use no cache.
    pub cache_status: Option<CacheStatus>,
}

/// The process that sends the body to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySender {
    Millpond,
    /// nginx sends the file that `X-Accel-Redirect` names.
    Nginx,
}

impl RenderedResponse {
    /// A response of the cache. Millpond sends its body.
    pub fn new(response: HttpResponse, cache_status: CacheStatus) -> Self {
        Self {
            response,
            sender: BodySender::Millpond,
            cache_status: Some(cache_status),
        }
    }

    /// A response of the cache. nginx sends its body.
    pub fn offloaded(response: HttpResponse, cache_status: CacheStatus) -> Self {
        Self {
            sender: BodySender::Nginx,
            ..Self::new(response, cache_status)
        }
    }

    /// A response that does not come from the cache.
    pub fn page(response: HttpResponse) -> Self {
        Self {
            response,
            sender: BodySender::Millpond,
            cache_status: None,
        }
    }
}
