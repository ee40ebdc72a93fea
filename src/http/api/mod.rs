//! The API below `/api/v1/`, and its description at `/openapi.json`: routes a request to its
//! resource and sends the result.
//!
//! Responses are JSON. Errors have the same form as at every endpoint. Each resource has a file of
//! its own.

mod catalog;
mod events;
mod fetches;
mod host_totals;
mod images;
mod incidents;
mod job_input;
mod job_views;
mod jobs;
mod list_builder;
mod list_filter;
mod list_order;
mod list_part;
mod metalink;
mod node;
mod node_pieces;
mod node_records;
mod nodes;
mod object_document;
mod objects;
mod openapi;
mod peer_access;
mod pins;
mod query;
mod refresh;
mod request;
mod resource;
mod response;
mod stats;
mod target_list;
mod targets;
mod torrent;
mod values;

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap};
use actix_web::http::{Method, StatusCode};

use super::client_info::TargetForm;
use super::host_check::is_known_host;
use super::login;
use super::parse_request::single;
use super::peer_request::sender_of;
use super::request_body::read_body;
use super::responder::Responder;
use super::state::HttpService;
use crate::admin::{AdminError, Permission};
use crate::cluster::{PeerProof, PeerTraffic};
use crate::gateway::ClientDownload;
use crate::limits::PendingTransfer;
use crate::policy::Class;
use peer_access::peer_of;
pub use query::Query;
pub use request::ApiRequest;
use resource::{ROOT, Resource};
use response::{ApiResponse, json_response, with_location};

/// Returns path and query of a request to the API, if it is one.
pub fn path_and_query(form: &TargetForm) -> Option<(&str, &str)> {
    match form {
        TargetForm::Origin(text) => {
            let (path, query) = text.split_once('?').unwrap_or((text, ""));
            (path.starts_with(ROOT) || path == openapi::PATH).then_some((path, query))
        }
        TargetForm::Absolute(_) => None,
    }
}

/// Serves a request to the API.
pub async fn serve(
    api_request: ApiRequest<'_>,
    transfer: PendingTransfer,
    responder: Responder<'_>,
) -> HttpResponse {
    let mut sender = None;
    let routed = route(api_request, &mut sender).await;
    let responder = responder.counted_for(sender);
    match routed {
        Ok(ApiResponse::Json(status, document)) => {
            responder.send_page(json_response(status, &document))
        }
        // The bytes of an object count as a download.
        Ok(ApiResponse::Object(response)) => match transfer.begin() {
            Ok(permit) => responder.send_download(ClientDownload {
                response: *response,
                class: Class::Immutable,
                permit,
            }),
            Err(error) => responder.send_error(&error.into()),
        },
        Ok(ApiResponse::Stream(response)) => responder.send_page(response),
        Ok(ApiResponse::Created { location, document }) => {
            let response = json_response(StatusCode::ACCEPTED, &document);
            responder.send_page(with_location(response, &location))
        }
        Err(error) => responder.send_admin_error(&error),
    }
}

/// Calls the function of the resource and method. Sets `sender` for a request of a peer.
async fn route(
    api_request: ApiRequest<'_>,
    sender: &mut Option<Arc<PeerTraffic>>,
) -> Result<ApiResponse, AdminError> {
    let resource = Resource::parse(api_request.path)?;
    let query = Query::parse(api_request.query)?;
    let (service, origin) = (api_request.service, api_request.origin);
    if let Some(peer) = peer_of(service, &api_request, &resource)? {
        *sender = sender_of(api_request.request.headers(), service);
        return read_for_peer(resource, &api_request, peer, query).await;
    }
    let permission = permission_of(service, origin.client, api_request.request.headers())?;
    match *api_request.request.method() {
        Method::GET | Method::HEAD => read(resource, &api_request, permission, query).await,
        _ => change(resource, api_request, permission, query).await,
    }
}

/// Shows a resource to a peer. Only the resources of [`peer_of`] are open to peers.
async fn read_for_peer(
    resource: Resource,
    api_request: &ApiRequest<'_>,
    peer: PeerProof,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let service = api_request.service;
    match resource {
        Resource::Node => node::show_to_peer(service, peer, query),
        Resource::NodeRecords if *api_request.request.method() == Method::POST => {
            node_records::pull_for_peer(service, peer, query).await
        }
        Resource::NodeRecords => node_records::show_to_peer(service, peer, query).await,
        Resource::NodePieces => node_pieces::show_to_peer(service, peer, query).await,
        Resource::Object(sha256) => objects::send_to_peer(api_request, sha256, query).await,
        _ => Err(AdminError::MethodNotAllowed(resource.methods())),
    }
}

/// Shows a resource.
async fn read(
    resource: Resource,
    api_request: &ApiRequest<'_>,
    permission: Permission,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let ApiRequest {
        service,
        request,
        origin,
        ..
    } = *api_request;
    let admin = &service.operators.admin;
    match resource {
        Resource::Object(sha256) => {
            if let Permission::Public = permission {
                login::check(service, origin.client, request.headers(), &[AUTHORIZATION]).await?;
            }
            let settings = service.settings.load();
            let stores = (&*service.gateway, &settings.registries);
            objects::download(stores, sha256, (origin.client, request), query).await
        }
        Resource::Metalink(sha256) => metalink::show(api_request, permission, sha256, query).await,
        Resource::Torrent(sha256) => torrent::show(api_request, permission, sha256, query).await,
        Resource::Objects => objects::list(admin, &permission.into_reader()?, query).await,
        Resource::Targets => targets::find(admin, permission, query).await,
        Resource::Pins => pins::list(admin, &permission.into_reader()?, query).await,
        Resource::Incidents => incidents::list(
            &service.operators.incidents,
            &permission.into_reader()?,
            query,
        ),
        Resource::Stats => stats::show(service, origin, permission, query).await,
        Resource::Node => node::show(service, &permission.into_reader()?, query),
        Resource::NodeRecords => {
            node_records::list(service, &permission.into_operator()?, query).await
        }
        Resource::NodePieces => {
            node_pieces::show(service, &permission.into_operator()?, query).await
        }
        Resource::Nodes => nodes::list(service, &permission.into_reader()?, query),
        Resource::Images => {
            let reader = permission.into_reader()?;
            images::list((admin, &service.images), &reader, query).await
        }
        Resource::Fetches => fetches::list(admin, &permission.into_reader()?, query),
        Resource::Jobs => jobs::list(&service.operators.jobs, &permission.into_reader()?, query),
        Resource::Job(id) => jobs::show(
            &service.operators.jobs,
            &permission.into_reader()?,
            &id,
            query,
        ),
        Resource::Events => {
            let (reader, headers) = (permission.into_reader()?, request.headers());
            let response = events::stream(&service.operators.events, &reader, headers, query)?;
            Ok(ApiResponse::Stream(response))
        }
        Resource::Catalog => catalog::search(admin, &permission.into_reader()?, query).await,
        Resource::Description => {
            query.finish()?;
            let document = openapi::document().to_owned();
            Ok(ApiResponse::Json(StatusCode::OK, document))
        }
        Resource::Refresh | Resource::Draining => {
            Err(AdminError::MethodNotAllowed(resource.methods()))
        }
    }
}

/// Changes a resource.
async fn change(
    resource: Resource,
    api_request: ApiRequest<'_>,
    permission: Permission,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let ApiRequest {
        service,
        request,
        payload,
        ..
    } = api_request;
    let (admin, jobs) = (&service.operators.admin, &service.operators.jobs);
    match (resource, request.method()) {
        (Resource::Object(sha256), &Method::DELETE) => {
            objects::remove(admin, &permission.into_operator()?, sha256, query).await
        }
        (Resource::Objects, &Method::PUT) => {
            let operator = permission.into_operator()?;
            let stall_timeout = service.settings.load().stall_timeout;
            let upload = objects::read_upload(request, payload, stall_timeout, query)?;
            objects::import(admin, &operator, upload).await
        }
        (Resource::Objects, &Method::DELETE) => {
            targets::remove(admin, &permission.into_operator()?, query).await
        }
        (Resource::Pins, &Method::PUT) => {
            pins::pin(admin, &permission.into_operator()?, query).await
        }
        (Resource::Pins, &Method::DELETE) => {
            pins::unpin(admin, &permission.into_operator()?, query).await
        }
        (Resource::Catalog, &Method::PUT) => {
            let operator = permission.into_operator()?;
            let stall_timeout = service.settings.load().stall_timeout;
            let body = read_body(request, payload, stall_timeout);
            catalog::import(admin, &operator, body, query).await
        }
        (Resource::Catalog, &Method::DELETE) => {
            catalog::remove(admin, &permission.into_operator()?, query).await
        }
        (Resource::NodeRecords, &Method::POST) => {
            node_records::pull(service, &permission.into_operator()?, query).await
        }
        (Resource::Draining, &Method::PUT) => {
            node::start_draining(service, &permission.into_operator()?, query).await
        }
        (Resource::Draining, &Method::DELETE) => {
            node::end_draining(service, &permission.into_operator()?, query).await
        }
        (Resource::Refresh, &Method::POST) => {
            let operator = permission.into_operator()?;
            refresh::refresh(admin, &operator, request.headers(), query).await
        }
        (Resource::Jobs, &Method::POST) => {
            let operator = permission.into_operator()?;
            let stall_timeout = service.settings.load().stall_timeout;
            let body = read_body(request, payload, stall_timeout);
            jobs::create(jobs, &operator, body, query).await
        }
        (Resource::Job(id), &(Method::GET | Method::HEAD)) => jobs::show(
            &service.operators.jobs,
            &permission.into_reader()?,
            &id,
            query,
        ),
        (Resource::Job(id), &Method::DELETE) => {
            jobs::cancel(jobs, &permission.into_operator()?, &id, query).await
        }
        (resource, _) => Err(AdminError::MethodNotAllowed(resource.methods())),
    }
}

/// Returns what a request may do. Without a token, it must name the gateway as the operator does.
pub fn permission_of(
    service: &HttpService,
    client: IpAddr,
    headers: &HeaderMap,
) -> Result<Permission, AdminError> {
    let permission = service
        .operators
        .admin
        .authorize(client, token_of(headers))?;
    match (&permission, single(headers, HOST.as_str())) {
        (Permission::Public, Some(host)) if !is_known_host(host, &service.settings.load()) => {
            Err(AdminError::UnknownHost)
        }
        _ => Ok(permission),
    }
}

/// Returns the token of `Authorization: Bearer`.
pub fn token_of(headers: &HeaderMap) -> Option<&str> {
    single(headers, AUTHORIZATION.as_str()).and_then(login::bearer)
}
