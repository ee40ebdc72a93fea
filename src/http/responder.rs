//! Answers one request: renders the outcome and ties the access log to the end of the body.
//!
//! The main type is [`Responder`].

use actix_web::{HttpRequest, HttpResponse};

use super::access_log::RequestLog;
use super::error_response::{render_admin_error, render_error};
use super::render::render;
use super::rendered_response::RenderedResponse;
use super::response_context::ResponseContext;
use super::state::HttpService;
use crate::admin::AdminError;
use crate::gateway::{CacheRequest, CacheResponse, Endpoint, Gateway, RequestError};
use crate::limits::TransferKind;
use crate::policy::Client;

/// Answers one request.
pub struct Responder<'a> {
    gateway: &'a Gateway,
    endpoint: Endpoint,
    context: ResponseContext<'a>,
    log: RequestLog,
}

impl<'a> Responder<'a> {
    pub fn new(
        request: &HttpRequest,
        service: &'a HttpService,
        endpoint: Endpoint,
        log: RequestLog,
    ) -> Self {
        let chunk_bytes = service.admission.chunk_bytes();
        Self {
            gateway: &service.gateway,
            endpoint,
            context: ResponseContext::new(request, &service.name, chunk_bytes),
            log,
        }
    }

    /// Gets the response to `request` from the gateway and sends it.
    pub async fn serve(self, request: CacheRequest, client: Client) -> HttpResponse {
        let response = self.gateway.handle(request).await;
        self.send_download(response, client)
    }

    /// Sends `response` as a download of `client`, or 429 if the client has too many downloads.
    ///
    /// The download counts from here on, and not from the begin of the request. Millpond notices
    /// only while it sends that a waiting client has disconnected. A request that waits for its
    /// response must therefore not count as a download.
    pub fn send_download(self, response: CacheResponse, client: Client) -> HttpResponse {
        match self
            .gateway
            .acquire_transfer_permit(client, TransferKind::Download)
        {
            Ok(permit) => {
                let rendered = render(response, self.endpoint, &self.context);
                self.log.attach(rendered, Some(permit))
            }
            Err(error) => self.send_error(&error),
        }
    }

    pub fn send_error(self, error: &RequestError) -> HttpResponse {
        let rendered = render_error(error, self.endpoint, &self.context);
        self.log.attach(rendered, None)
    }

    pub fn send_admin_error(self, error: &AdminError) -> HttpResponse {
        let rendered = render_admin_error(error, self.endpoint, &self.context);
        self.log.attach(rendered, None)
    }

    /// Sends a response that does not come from the cache.
    pub fn send_page(self, page: HttpResponse) -> HttpResponse {
        self.log.attach(RenderedResponse::page(page), None)
    }
}
