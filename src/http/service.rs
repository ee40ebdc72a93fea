//! The entry of every request: acquires its permit, hands it to its endpoint, and rejects it if
//! this process is full.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::ConnectionType;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tokio::sync::OwnedSemaphorePermit;

use super::access_log::RequestLog;
use super::builtin_pages::BuiltinPage;
use super::client_info::RequestOrigin;
use super::connection::ConnectionState;
use super::render::ResponseContext;
use super::request_scanner::FramingError;
use super::tunnel::Port;
use super::{HttpService, error_response, gateway_endpoint, proxy_endpoint};
use crate::gateway::{Endpoint, RequestError};
use crate::model::Target;

/// Answers a request at one of the ports, if there is a place for it. Health checks need none.
pub async fn serve(
    port: Port,
    request: HttpRequest,
    payload: Payload,
    service: Data<HttpService>,
) -> HttpResponse {
    let state = request
        .conn_data::<Rc<ConnectionState>>()
        .map(Rc::clone)
        .expect("every connection has its line");
    state.begin_request();
    let refused = state.refused();
    let is_rejected = state.is_rejected();
    // Dropped with the request, however that ends.
    let mut guard = RequestGuard {
        state,
        permit: None,
    };
    let is_health = port == Port::Gateway
        && BuiltinPage::of_path(request.path()).is_some_and(BuiltinPage::is_health);
    if !is_rejected && !is_health {
        guard.permit = service.admission.acquire_response_permit();
    }
    let mut response = match port {
        _ if let Some(error) = refused => reject_malformed(port, error, &request, &service),
        _ if guard.permit.is_none() && !is_health => reject_overloaded(port, &request, &service),
        Port::Gateway => gateway_endpoint::serve(request, payload, Data::clone(&service)).await,
        Port::Proxy => proxy_endpoint::serve(request, payload, Data::clone(&service)).await,
    };
    if is_rejected || refused.is_some() || service.admission.is_nearly_full() {
        response
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    guard.state.begin_response();
    response.map_body(|_, body| {
        GuardedBody {
            body,
            _guard: guard,
        }
        .boxed()
    })
}

fn reject_overloaded(port: Port, request: &HttpRequest, service: &HttpService) -> HttpResponse {
    let (endpoint, name, request_origin) = match port {
        Port::Gateway => (
            Endpoint::Gateway,
            "gateway",
            RequestOrigin::at_gateway_port(request, service),
        ),
        Port::Proxy => (
            Endpoint::Proxy,
            "proxy",
            RequestOrigin::at_proxy_port(request),
        ),
    };
    let uri = Target::redact(request_origin.form.as_str());
    let log = RequestLog::begin(request_origin.client, name, request.method().as_str(), uri);
    log.attach(
        error_response::render(
            &RequestError::Busy,
            Some(endpoint),
            &ResponseContext::new(request, service),
        ),
        None,
    )
}

/// Answers a malformed request. Nothing of it is known, not even the method: `request` is a
/// stand-in.
fn reject_malformed(
    port: Port,
    error: FramingError,
    request: &HttpRequest,
    service: &HttpService,
) -> HttpResponse {
    let (endpoint, name) = match port {
        Port::Gateway => (Endpoint::Gateway, "gateway"),
        Port::Proxy => (Endpoint::Proxy, "proxy"),
    };
    let error = match error {
        FramingError::HeadTooLarge => RequestError::HeadTooLarge(error.to_string()),
        FramingError::Malformed(_) => RequestError::BadRequest(error.to_string()),
    };
    let log = RequestLog::begin(
        RequestOrigin::at_proxy_port(request).client,
        name,
        "-",
        "-".to_owned(),
    );
    log.attach(
        error_response::render(
            &error,
            Some(endpoint),
            &ResponseContext::new(request, service),
        ),
        None,
    )
}

/// One request and its answer, on its line.
struct RequestGuard {
    state: Rc<ConnectionState>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.state.finish_response();
    }
}

/// A body that keeps its place until the last of it was taken.
struct GuardedBody {
    body: BoxBody,
    _guard: RequestGuard,
}

impl MessageBody for GuardedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
