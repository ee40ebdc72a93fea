//! The operators' page and the documentation below `/ui/`: routes, headers and tokens.
//!
//! The script keeps the token of the operator and sends it as `Authorization` with each request,
//! as any other client of the API does. There is no cookie: a browser adds nothing to requests by
//! itself, so no other page can make one that counts, and there is one check of tokens and one
//! bound on wrong ones. For the same reason, the page is followed with `fetch`, since `EventSource`
//! cannot send the field. This file changes nothing: changes go through the API.

use std::time::Duration;

use actix_web::body::{BodyStream, BoxBody};
use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderName, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::api::{Query, permission_of};
use super::builtin_pages::readiness;
use super::client_info::{RequestOrigin, TargetForm};
use super::page_body::in_pieces;
use super::parse_request::single;
use super::responder::Responder;
use super::state::HttpService;
use crate::admin::{AdminError, ListReader, Permission};
use crate::gateway::RequestError;
use crate::ui::{
    Asset, MAX_QUERY_BYTES, PageLine, PageRights, Period, PublicStatus, SearchResults, TargetStory,
    Viewer, find_document, render_shell,
};

const ROOT: &str = "/ui";

/// Nothing but the page's own files, and requests to this gateway only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; \
     base-uri 'none'";

/// Longest wait of a search for the first reading of all records.
const INDEX_WAIT: Duration = Duration::from_secs(2);

const NO_SUCH_PAGE: AdminError = AdminError::NotFound("there is no such page");

/// A part of the page.
enum UiResource {
    /// A path without its slash, and the path that is meant.
    Bare(&'static str),
    Shell,
    Asset(&'static Asset),
    /// The live blocks.
    Live,
    Chart,
    Search,
    Target,
}

/// A request for the page.
pub struct UiRequest<'a> {
    pub service: &'a HttpService,
    pub request: &'a HttpRequest,
    pub origin: &'a RequestOrigin,
    pub path: &'a str,
    pub query: &'a str,
}

/// Returns path and query of a request for the page, if it is one.
pub fn path_and_query(form: &TargetForm) -> Option<(&str, &str)> {
    let TargetForm::Origin(text) = form else {
        return None;
    };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let rest = path.strip_prefix(ROOT)?;
    (rest.is_empty() || rest.starts_with('/')).then_some((path, query))
}

/// Serves a request for the page.
pub async fn serve(ui_request: UiRequest<'_>, responder: Responder<'_>) -> HttpResponse {
    match route(ui_request).await {
        Ok(response) => responder.send_page(response),
        Err(error) => responder.send_admin_error(&error),
    }
}

async fn route(ui_request: UiRequest<'_>) -> Result<HttpResponse, AdminError> {
    let UiRequest {
        service,
        request,
        origin,
        path,
        query,
    } = ui_request;
    let resource = UiResource::parse(path)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(AdminError::MethodNotAllowed("GET, HEAD"));
    }
    let permission = permission_of(service, origin.client, request.headers())?;
    let mut query = Query::parse(query)?;
    match resource {
        UiResource::Bare(meant) => Ok(HttpResponse::PermanentRedirect()
            .insert_header((LOCATION, meant))
            .finish()),
        UiResource::Shell => Ok(shell(service)),
        UiResource::Asset(asset) => Ok(serve_asset(asset, request)),
        UiResource::Live => {
            let rights = match permission {
                Permission::Operate(_) => PageRights::Operate,
                Permission::Read(_) | Permission::Public => PageRights::Read,
            };
            let viewer = service.reports.page.open(permission.into_reader()?);
            Ok(live(rights, viewer.ok_or(RequestError::Busy)?))
        }
        UiResource::Chart => {
            permission.into_reader()?;
            let period = query.text("period")?;
            query.finish()?;
            let period = period.and_then(|name| Period::from_name(&name));
            let period = period.ok_or_else(|| bad("period must be 1h, 24h or 30d"))?;
            let chart = service.reports.page.chart(period).to_string();
            Ok(page(StatusCode::OK)
                .insert_header((CONTENT_TYPE, "application/json"))
                .body(chart))
        }
        UiResource::Search => search(service, permission.into_reader()?, query).await,
        UiResource::Target => story(service, permission.into_reader()?, query).await,
    }
}

impl UiResource {
    fn parse(path: &str) -> Result<Self, AdminError> {
        match path.strip_prefix(ROOT).unwrap_or_default() {
            "" => Ok(Self::Bare("/ui/")),
            "/docs" => Ok(Self::Bare("/ui/docs/")),
            "/" => Ok(Self::Shell),
            "/live" => Ok(Self::Live),
            "/chart" => Ok(Self::Chart),
            "/search" => Ok(Self::Search),
            "/target" => Ok(Self::Target),
            name => {
                let asset = match name.strip_prefix("/docs/") {
                    Some(document) => find_document(document),
                    None => name.strip_prefix('/').and_then(Asset::find),
                };
                asset.map(Self::Asset).ok_or(NO_SUCH_PAGE)
            }
        }
    }
}

/// Begins a response with the fields that all parts of the page have.
fn page(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((HeaderName::from_static("x-frame-options"), "DENY"))
        .insert_header((
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ))
        .insert_header((CACHE_CONTROL, "no-store"));
    response
}

fn html(markup: String) -> HttpResponse {
    page(StatusCode::OK)
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .body(markup)
}

fn shell(service: &HttpService) -> HttpResponse {
    html(render_shell(match readiness(service) {
        Ok(_) => PublicStatus::Ready,
        Err(_) => PublicStatus::NotReady,
    }))
}

/// Serves a file. A browser keeps it and asks each time whether it has changed.
fn serve_asset(asset: &'static Asset, request: &HttpRequest) -> HttpResponse {
    let accepted = single(request.headers(), ACCEPT_ENCODING).unwrap_or_default();
    let form = asset.form_for(accepted);
    let tag = asset.entity_tag(form);
    let known = single(request.headers(), IF_NONE_MATCH).unwrap_or_default();
    let is_known = known
        .split(',')
        .any(|known| known.trim().trim_start_matches("W/") == tag);
    let mut response = page(if is_known {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    });
    response
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((VARY, "Accept-Encoding"))
        .insert_header((ETAG, tag));
    if is_known {
        return response.finish();
    }
    response.insert_header((CONTENT_TYPE, asset.content_type));
    if form == crate::ui::AssetForm::Gzip {
        response.insert_header((CONTENT_ENCODING, "gzip"));
    }
    response.body(in_pieces(asset.bytes(form)))
}

/// Streams the blocks, one JSON document a line. The first one states the rights of the viewer.
fn live(rights: PageRights, viewer: Viewer) -> HttpResponse {
    let rights = match rights {
        PageRights::Read => "read",
        PageRights::Operate => "operate",
    };
    let greeting = format!("{}\n", json!({ "rights": rights }));
    page(StatusCode::OK)
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        // nginx would hold lines back until its buffer is full.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .body(BoxBody::new(BodyStream::new(Box::pin(lines(
            greeting, viewer,
        )))))
}

fn lines(
    greeting: String,
    viewer: Viewer,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    unfold(
        (Some(greeting), viewer),
        |(greeting, mut viewer)| async move {
            let line = match greeting {
                Some(greeting) => greeting,
                None => match viewer.next().await {
                    PageLine::Blocks(line) => line,
                    PageLine::Nothing => "\n".to_owned(),
                    PageLine::End => return None,
                },
            };
            Some((Ok(Bytes::from(line)), (None, viewer)))
        },
    )
}

async fn search(
    service: &HttpService,
    reader: ListReader,
    mut query: Query<'_>,
) -> Result<HttpResponse, AdminError> {
    let text = query.text("q")?.unwrap_or_default();
    query.finish()?;
    if text.len() > MAX_QUERY_BYTES {
        return Err(bad("the query is too long").into());
    }
    let live_page = &service.reports.page;
    live_page.note_reader(reader);
    live_page.index().wait_complete(INDEX_WAIT).await;
    let live_page = live_page.clone();
    // A large index takes a while, and requests must not wait for it.
    let rendered = spawn_blocking(move || {
        let text = text.trim();
        SearchResults::new(text, live_page.index().find(text)).render()
    });
    Ok(html(rendered.await.map_err(|_| RequestError::Unavailable)?))
}

async fn story(
    service: &HttpService,
    reader: ListReader,
    mut query: Query<'_>,
) -> Result<HttpResponse, AdminError> {
    let target = query.target()?;
    query.finish()?;
    let (records, observations) = match service.operators.admin.stored(&target).await {
        Err(AdminError::NotFound(_)) => (Vec::new(), Vec::new()),
        stored => stored?,
    };
    let story = TargetStory {
        explanation: service.operators.admin.explain(&reader, &target),
        required: service.operators.admin.required_sha256(&target),
        records,
        observations,
        target,
    };
    Ok(html(story.render()))
}

fn bad(why: &str) -> RequestError {
    RequestError::BadRequest(why.to_owned())
}
