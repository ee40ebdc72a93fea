//! The gateway port: the rewrite door, the gateway's own pages, and the proxy requests that our
//! nginx hands on.

use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::access_log::RequestLog;
use super::builtin_pages::BuiltinPage;
use super::client_info::{Frontend, RequestOrigin, TargetForm};
use super::parse_request::{read_cache_request, reject_loop};
use super::render::ResponseContext;
use super::{HttpService, api, error_response, proxy_endpoint};
use crate::gateway::{CacheRequest, Endpoint, PrefixedUrl, RequestError};
use crate::limits::TransferKind;
use crate::model::Target;

pub async fn serve(
    request: HttpRequest,
    payload: Payload,
    service: Data<HttpService>,
) -> HttpResponse {
    let request_origin = RequestOrigin::at_gateway_port(&request, &service);
    if matches!(
        (&request_origin.form, request_origin.frontend),
        (TargetForm::Absolute(_), Frontend::TrustedNginx { .. })
    ) {
        return proxy_endpoint::answer(&request, payload, &service, &request_origin).await;
    }
    let context = ResponseContext::new(&request, &service);
    let begin_log = |endpoint, uri| {
        RequestLog::begin(
            request_origin.client,
            endpoint,
            request.method().as_str(),
            uri,
        )
    };
    let page = request_origin.path().and_then(BuiltinPage::of_path);
    let for_page = |page: BuiltinPage| {
        begin_log(
            page.endpoint(),
            request_origin.path().unwrap_or_default().to_owned(),
        )
    };
    if let Some(page) = page.filter(|page| page.is_health() && request_origin.is_loopback()) {
        return for_page(page).attach(service.page(page, request.method()), None);
    }
    let client = match service
        .gateway
        .admit_client(request_origin.client, TransferKind::Download)
    {
        Ok(client) => client,
        Err(error) => {
            let log = begin_log("gateway", Target::redact(request_origin.form.as_str()));
            return log.attach(
                error_response::render(&error, Some(Endpoint::Gateway), &context),
                None,
            );
        }
    };
    if let Some(page) = page {
        return for_page(page).attach(service.page(page, request.method()), None);
    }
    if let Some((path, query)) = api::path_and_query(&request_origin.form) {
        let log = begin_log("api", path.to_owned());
        return api::serve(
            &request,
            payload,
            &service,
            client,
            api::ApiRequest {
                path,
                query,
                context: &context,
                log,
            },
        )
        .await;
    }
    match service.read_gateway_request(&request, &request_origin) {
        Ok(cache_request) => {
            let log = begin_log("gateway", cache_request.target.to_string());
            service.respond(cache_request, client, &context, log).await
        }
        Err(error) => {
            let log = begin_log("gateway", Target::redact(request_origin.form.as_str()));
            log.attach(
                error_response::render(&error, Some(Endpoint::Gateway), &context),
                None,
            )
        }
    }
}

impl HttpService {
    fn read_gateway_request(
        &self,
        request: &HttpRequest,
        request_origin: &RequestOrigin,
    ) -> Result<CacheRequest, RequestError> {
        let TargetForm::Origin(path_and_query) = &request_origin.form else {
            return Err(RequestError::Misdirected(
                "this is a proxy request, and this port is no proxy: use the proxy port, or ask like /https://host/path"
                    .to_owned(),
            ));
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(RequestError::MethodNotSupported(
                request.method().to_string(),
            ));
        }
        reject_loop(request.headers(), &self.name)?;
        // RFC 9112, section 3.2: the origin form begins with a slash. Every other request target is
        // a malformed head.
        if !path_and_query.starts_with('/') {
            return Err(RequestError::BadRequest(
                "the request line is malformed; ask like /https://host/path".to_owned(),
            ));
        }
        // The bytes as they came: anything that decodes them would make another target of some.
        let PrefixedUrl { target, expected } = PrefixedUrl::parse(path_and_query)?;
        read_cache_request(request, request_origin, Endpoint::Gateway, target, expected)
    }
}
