//! Proxy requests: those of the proxy port, and those in absolute form that our nginx hands on.
//! `CONNECT` is in [`super::tunnel`].

use std::time::Duration;

use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::HttpService;
use super::access_log::RequestLog;
use super::client_info::{RequestOrigin, TargetForm};
use super::connection::with_idle_timeout;
use super::error_response;
use super::parse_request::{read_cache_request, reject_loop};
use super::render::ResponseContext;
use crate::gateway::{CacheRequest, Endpoint, RequestError, RequestMethod};
use crate::limits::TransferKind;
use crate::model::{ExpectedDigests, Target, TargetError};

/// Pieces of a request body that wait for the origin.
const BODY_QUEUE_LENGTH: usize = 8;

pub async fn serve(
    request: HttpRequest,
    payload: Payload,
    service: Data<HttpService>,
) -> HttpResponse {
    answer(
        &request,
        payload,
        &service,
        &RequestOrigin::at_proxy_port(&request),
    )
    .await
}

/// Answers a proxy request, wherever it came in.
pub async fn answer(
    request: &HttpRequest,
    payload: Payload,
    service: &HttpService,
    request_origin: &RequestOrigin,
) -> HttpResponse {
    let context = ResponseContext::new(request, service);
    let admitted = service
        .gateway
        .admit_client(request_origin.client, TransferKind::Download);
    let asked = admitted
        .and_then(|client| Ok((service.read_proxy_request(request, request_origin)?, client)));
    let uri = match &asked {
        Ok((cache_request, _)) => cache_request.target.to_string(),
        Err(_) => Target::redact(request_origin.form.as_str()),
    };
    let log = RequestLog::begin(
        request_origin.client,
        "proxy",
        request.method().as_str(),
        uri,
    );
    match asked {
        Ok((mut cache_request, client)) => {
            if matches!(cache_request.method, RequestMethod::Other(_)) {
                cache_request.body = Some(bridge(
                    request,
                    payload,
                    service.settings.load().stall_timeout,
                ));
                if let Some(length) = request.headers().get("content-length") {
                    cache_request
                        .forwarded_headers
                        .push(("content-length".to_owned(), length.as_bytes().to_vec()));
                }
            }
            service.respond(cache_request, client, &context, log).await
        }
        Err(error) => log.attach(
            error_response::render(&error, Some(Endpoint::Proxy), &context),
            None,
        ),
    }
}

impl HttpService {
    fn read_proxy_request(
        &self,
        request: &HttpRequest,
        request_origin: &RequestOrigin,
    ) -> Result<CacheRequest, RequestError> {
        reject_loop(request.headers(), &self.name)?;
        // One without a body never comes here: it is a tunnel.
        if *request.method() == Method::CONNECT {
            return Err(RequestError::BadRequest("a CONNECT has no body".to_owned()));
        }
        let TargetForm::Absolute(uri) = &request_origin.form else {
            return Err(RequestError::BadRequest(
                "this port is a proxy: set http_proxy to it, or ask the gateway port like /https://host/path"
                    .to_owned(),
            ));
        };
        // TRACE would show a client's headers to whoever answers (RFC 9110, section 9.3.8).
        if *request.method() == Method::TRACE {
            return Err(RequestError::MethodNotSupported(
                request.method().to_string(),
            ));
        }
        let target = Target::parse(uri).map_err(|error| match error {
            TargetError::TooLong => RequestError::PrefixedUrl(error.into()),
            error => RequestError::BadRequest(error.to_string()),
        })?;
        read_cache_request(
            request,
            request_origin,
            Endpoint::Proxy,
            target,
            ExpectedDigests::nothing(),
        )
    }
}

/// Carries a request body, which belongs to this thread, to the client that sends it upstream. The
/// queue is short: the origin's speed is the client's.
fn bridge(request: &HttpRequest, payload: Payload, stall_timeout: Duration) -> reqwest::Body {
    let has_body = request.headers().contains_key("content-length")
        || request.headers().contains_key("transfer-encoding");
    if !has_body {
        return reqwest::Body::from("");
    }
    let (sender, receiver) = mpsc::channel(BODY_QUEUE_LENGTH);
    let mut payload = with_idle_timeout(payload, stall_timeout);
    // It ends with the payload, or when the other end is dropped.
    actix_web::rt::spawn(async move {
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(|_| std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            let is_end = piece.is_err();
            if sender.send(piece).await.is_err() || is_end {
                return;
            }
        }
    });
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    reqwest::Body::wrap_stream(pieces)
}
