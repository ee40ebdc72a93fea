//! Entry of every request.
//!
//! [`serve`] acquires the request's permit and passes it to its endpoint. It rejects the request if
//! this process is at its limits or the request is malformed.

use std::pin::pin;
use std::rc::Rc;

use actix_http::ConnectionType;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::builtin_pages::BuiltinPage;
use super::client_info::{Port, RequestOrigin, client_address, is_intercepted};
use super::connection::ConnectionState;
use super::framing_error::FramingError;
use super::gateway_endpoint;
use super::intercepted;
use super::methods::is_registered;
use super::proxy_endpoint::{self, ProxyRequest};
use super::request_guard::RequestGuard;
use super::request_head::Expectation;
use super::responder::Responder;
use super::state::HttpService;
use crate::gateway::{Endpoint, RequestError};
use crate::limits::TransferKind;
use crate::metrics::RequestEndpoint;
use crate::model::Target;

/// Serves a request of one of the ports, or rejects it if no permit is left. Health checks need no
/// permit.
pub async fn serve(
    port: Port,
    request: HttpRequest,
    payload: Payload,
    service: Data<HttpService>,
) -> HttpResponse {
    let state = request
        .conn_data::<Rc<ConnectionState>>()
        .map(Rc::clone)
        .expect("the server stores the state of every connection");
    state.begin_request();
    let is_rejected = state.is_rejected();
    let is_health = port == Port::Gateway
        && BuiltinPage::from_path(request.path()).is_some_and(BuiltinPage::is_health);
    let permit = if is_rejected || is_health {
        None
    } else {
        let client = client_address(port, &request, &service.settings.load());
        let client = service.gateway.pool_client(client);
        service.admission.acquire_response_permit(client)
    };
    let is_overloaded = permit.is_none() && !is_health;
    let guard = RequestGuard::new(Rc::clone(&state), permit);
    let rejection = EntryRejection::of(&request, &state, is_overloaded);
    let mut response = if let Some(rejection) = rejection {
        rejection.send(port, &request, &service, guard)
    } else {
        let served = pin!(serve_endpoint(port, &request, payload, &service, guard));
        state.hashing().observe(served).await
    };
    // A client that was not asked for its body may send it or the next request.
    let is_next_unknown = state.framing_error().is_some() || state.awaits_continue();
    if is_rejected || is_next_unknown || service.admission.is_nearly_full(state.facts().client) {
        let head = response.head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    state.begin_response();
    response
}

/// Serves a request at its endpoint. A request for the gateway itself may come through the proxy
/// port.
async fn serve_endpoint(
    port: Port,
    request: &HttpRequest,
    payload: Payload,
    service: &HttpService,
    guard: RequestGuard,
) -> HttpResponse {
    if port == Port::Gateway {
        let origin = RequestOrigin::from_gateway_port(request, &service.settings.load());
        return gateway_endpoint::serve(request, payload, service, origin, guard).await;
    }
    let origin = RequestOrigin::from_proxy_port(request);
    let own = origin.at_own_gateway(request, &service.settings.load());
    if let Some(own) = own.filter(|_| intercepted::is_inside(request, &origin)) {
        return gateway_endpoint::serve(request, payload, service, own, guard).await;
    }
    let proxied = ProxyRequest {
        request,
        payload,
        origin: &origin,
    };
    proxy_endpoint::serve(proxied, service, guard).await
}

/// EntryRejection of a request before its endpoint.
enum EntryRejection {
    /// The request cannot be read.
    Malformed(FramingError),
    Refused(RequestError),
    /// The request counts as one of its client.
    Counted(RequestError),
}

impl EntryRejection {
    /// Returns the rejection of a request that is malformed or not supported, or for which no
    /// permit is left.
    fn of(request: &HttpRequest, state: &ConnectionState, is_overloaded: bool) -> Option<Self> {
        if let Some(error) = state.framing_error() {
            Some(Self::Malformed(error))
        } else if is_overloaded {
            Some(Self::Refused(RequestError::Busy))
        } else if state.expectation() == Expectation::Unknown {
            Some(Self::Refused(RequestError::ExpectationFailed))
        } else if is_intercepted(request) && state.wants_other_protocol() {
            Some(Self::Counted(RequestError::OtherProtocol))
        } else if !is_registered(request.method().as_str()) {
            let method = request.method().to_string();
            Some(Self::Counted(RequestError::UnknownMethod(method)))
        } else {
            None
        }
    }

    fn send(
        self,
        port: Port,
        request: &HttpRequest,
        service: &HttpService,
        guard: RequestGuard,
    ) -> HttpResponse {
        match self {
            Self::Malformed(error) => reject_malformed(port, error, request, service, guard),
            Self::Refused(error) => reject(port, &error, request, service, guard),
            Self::Counted(error) => reject_counted(port, error, request, service, guard),
        }
    }
}

/// Rejects a request that counts as one of its client. A denied client learns nothing else.
fn reject_counted(
    port: Port,
    error: RequestError,
    request: &HttpRequest,
    service: &HttpService,
    guard: RequestGuard,
) -> HttpResponse {
    let client = client_address(port, request, &service.settings.load());
    let admitted = service.gateway.admit_client(client, TransferKind::Download);
    let error = admitted.err().unwrap_or(error);
    reject(port, &error, request, service, guard)
}

fn reject(
    port: Port,
    error: &RequestError,
    request: &HttpRequest,
    service: &HttpService,
    guard: RequestGuard,
) -> HttpResponse {
    let origin = match port {
        Port::Gateway => RequestOrigin::from_gateway_port(request, &service.settings.load()),
        Port::Proxy => RequestOrigin::from_proxy_port(request),
    };
    let (endpoint, name) = endpoint_of(port);
    let uri = Target::redact(origin.form.as_str());
    let mut log = service
        .begin_log(origin.client, name, request.method().as_str(), uri.into())
        .with_user_agent(request.headers());
    if is_intercepted(request) {
        log.mark_intercepted();
    }
    Responder::new(request, service, endpoint, log, guard).send_error(error)
}

/// Answers a malformed request. `request` is a stand-in, so that even the method is unknown.
fn reject_malformed(
    port: Port,
    error: FramingError,
    request: &HttpRequest,
    service: &HttpService,
    guard: RequestGuard,
) -> HttpResponse {
    let error = match error {
        FramingError::HeadTooLarge | FramingError::TooManyFields => {
            RequestError::HeadTooLarge(error.to_string())
        }
        FramingError::TargetTooLong => RequestError::TargetTooLong(error.to_string()),
        FramingError::Malformed(_) => RequestError::BadRequest(error.to_string()),
    };
    let (endpoint, name) = endpoint_of(port);
    let client = RequestOrigin::from_proxy_port(request).client;
    let mut log = service.begin_log(client, name, "-", "-".to_owned().into());
    if is_intercepted(request) {
        log.mark_intercepted();
    }
    Responder::new(request, service, endpoint, log, guard).send_error(&error)
}

/// Returns the endpoint of a rejected request, and that of its log entry.
fn endpoint_of(port: Port) -> (Endpoint, RequestEndpoint) {
    match port {
        Port::Gateway => (Endpoint::Gateway, RequestEndpoint::Gateway),
        Port::Proxy => (Endpoint::Proxy, RequestEndpoint::Proxy),
    }
}
