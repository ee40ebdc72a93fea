//! Answers one request: renders the outcome and ties the access log to the end of the body.
//!
//! The main type is [`Responder`].

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};

use super::access_log::RequestLog;
use super::error_response::{render_admin_error, render_error};
use super::index_response::IndexRewriting;
use super::render::render;
use super::rendered_response::RenderedResponse;
use super::request_guard::RequestGuard;
use super::response_body::ResponseBody;
use super::response_context::{ErrorForm, ResponseContext};
use super::response_facts::outcome_of_error;
use super::state::HttpService;
use crate::admin::AdminError;
use crate::cluster::PeerTraffic;
use crate::gateway::{CacheRequest, ClientDownload, Endpoint, Gateway, RequestError};
use crate::metrics::Outcome;
use crate::registry::RegistryErrorCode;

/// Answers one request.
pub struct Responder<'a> {
    gateway: &'a Gateway,
    endpoint: Endpoint,
    context: ResponseContext<'a>,
    log: RequestLog,
    guard: RequestGuard,
}

impl<'a> Responder<'a> {
    pub fn new(
        request: &HttpRequest,
        service: &'a HttpService,
        endpoint: Endpoint,
        log: RequestLog,
        guard: RequestGuard,
    ) -> Self {
        let chunk_bytes = service.admission.chunk_bytes();
        Self {
            gateway: &service.gateway,
            endpoint,
            context: ResponseContext::new(request, &service.name, chunk_bytes),
            log,
            guard,
        }
    }

    /// Returns the responder for a request of a node of the cluster.
    pub fn for_peer(mut self) -> Self {
        self.context.is_for_peer = true;
        self
    }

    /// Counts the bytes of the response for the peer that gets them.
    pub fn counted_for(mut self, peer: Option<Arc<PeerTraffic>>) -> Self {
        self.log.set_peer(peer);
        self
    }

    /// Returns the responder for a request to the registry of npm.
    pub fn for_npm(mut self) -> Self {
        self.context.error_form = ErrorForm::Npm;
        self
    }

    /// Returns the responder for a request to a container registry. `unknown` is the code of a
    /// resource that the registry does not have.
    pub fn for_registry(mut self, unknown: RegistryErrorCode) -> Self {
        self.context.error_form = ErrorForm::Registry(unknown);
        self
    }

    /// Gets the response to `request` from the gateway and sends it.
    pub async fn serve(self, request: CacheRequest) -> HttpResponse {
        match self.gateway.handle(request).await {
            Ok(download) => self.send_download(download),
            Err(error) => self.send_error(&error),
        }
    }

    /// Sends a response that counts as a download of its client.
    pub fn send_download(self, download: ClientDownload) -> HttpResponse {
        let ClientDownload {
            response,
            class,
            permit,
        } = download;
        let mut rendered = render(response, self.endpoint, &self.context);
        rendered.facts = rendered.facts.with_class(class);
        ResponseBody::attach(rendered, self.log, self.guard, Some(permit))
    }

    /// Gets an index from the gateway and sends it as `rewriting` has it.
    pub async fn serve_index(
        mut self,
        request: CacheRequest,
        rewriting: &IndexRewriting<'_>,
    ) -> HttpResponse {
        // A HEAD gets the fields of the rewritten document.
        let is_head = std::mem::replace(&mut self.context.is_head, false);
        let download = match self.gateway.handle_index(request).await {
            Ok(download) => download,
            Err(error) => {
                self.context.is_head = is_head;
                return self.send_error(&error);
            }
        };
        let ClientDownload {
            response,
            class,
            permit,
        } = download;
        let RenderedResponse {
            response, facts, ..
        } = render(response, self.endpoint, &self.context);
        self.context.is_head = is_head;
        match rewriting.apply(response, is_head).await {
            Ok(response) => {
                let facts = facts.with_class(class);
                let file = None;
                let rendered = RenderedResponse {
                    response,
                    facts,
                    file,
                };
                ResponseBody::attach(rendered, self.log, self.guard, Some(permit))
            }
            Err(error) => self.send_error(&error),
        }
    }

    pub fn send_error(self, error: &RequestError) -> HttpResponse {
        self.log.set_error(error.to_string());
        let mut rendered = render_error(error, self.endpoint, &self.context);
        rendered.facts.outcome = outcome_of_error(error);
        ResponseBody::attach(rendered, self.log, self.guard, None)
    }

    pub fn send_admin_error(self, error: &AdminError) -> HttpResponse {
        let mut rendered = render_admin_error(error, self.endpoint, &self.context);
        rendered.facts.outcome = match error {
            AdminError::Request(error) => outcome_of_error(error),
            AdminError::TooManyWrongTokens => Outcome::Limited,
            AdminError::NoSpace => Outcome::Error,
            _ => Outcome::Refused,
        };
        ResponseBody::attach(rendered, self.log, self.guard, None)
    }

    /// Sends a response that does not come from the cache.
    pub fn send_page(self, page: HttpResponse) -> HttpResponse {
        ResponseBody::attach(RenderedResponse::page(page), self.log, self.guard, None)
    }
}
