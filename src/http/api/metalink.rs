//! `GET /api/v1/objects/sha256/{sha256}/metalink`: the sources of an object, and the digests of its
//! pieces. A client that may download the object may read them.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use utoipa::ToSchema;

use super::query::Query;
use super::request::ApiRequest;
use super::response::ApiResponse;
use crate::admin::{AdminError, Permission};
use crate::cluster::holders_of;
use crate::gateway::{
    ObjectDescription, Representation, RepresentationHead, Selection, describe_object, select,
};
use crate::http::login;
use crate::http::own_url::own_url;
use crate::http::page_body::in_pieces;
use crate::http::parse_request::read_conditions;
use crate::metalink::{MEDIA_TYPE, Metalink, MetalinkUrl, is_file_name};
use crate::model::{ExpectedDigests, Hasher, Sha256, StoredHeaders, Target};

/// Priority of the peers that have the object.
const PEER_PRIORITY: u32 = 1;

/// Priority of this node.
const OWN_PRIORITY: u32 = 2;

/// Priority of the first origin or mirror. The others follow in their order.
const FIRST_SOURCE_PRIORITY: u32 = 3;

/// Metalink document (RFC 5854).
#[derive(ToSchema)]
#[schema(value_type = String)]
pub struct MetalinkDocument(());

/// Describes the sources and pieces of an object
///
/// The document is Metalink 4 (RFC 5854). Its sources are the peers that have the object, this
/// node, and then origin and mirrors. A document without pieces is complete otherwise: pieces are
/// computed in the background, for objects of 16 MiB to 64 GiB. Needs what a download of the object
/// needs.
#[utoipa::path(
    get, path = "/api/v1/objects/sha256/{sha256}/metalink", operation_id = "showMetalink",
    tag = "objects",
    params(("sha256" = String, Path, description = "SHA-256 in hexadecimal",
            pattern = "^[0-9a-fA-F]{64}$")),
    responses(
        (status = 200, description = "The document", body = MetalinkDocument,
         content_type = "application/metalink4+xml"),
        (status = 304, description = "The client has the document"),
    ),
)]
pub async fn show(
    api_request: &ApiRequest<'_>,
    permission: Permission,
    sha256: Sha256,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let (service, request) = (api_request.service, api_request.request);
    let client = api_request.origin.client;
    if let Permission::Public = permission {
        login::check(service, client, request.headers(), &[AUTHORIZATION]).await?;
    }
    let settings = service.settings.load();
    let may_have = |targets: &[Target]| settings.registries.may_have_object(targets, client);
    let found = describe_object(&service.gateway, client, sha256, may_have).await?;
    let peers = holders_of(&service.cluster, sha256).await;
    let base = own_url(request, &settings);
    let document = metalink_of(found, &peers, &base).render();
    let (representation, selection) = select_document(&document, request.headers());
    let status = match selection {
        Selection::NotModified => StatusCode::NOT_MODIFIED,
        Selection::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        _ => StatusCode::OK,
    };
    let mut response = HttpResponse::build(status);
    response
        .insert_header((CONTENT_TYPE, MEDIA_TYPE))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-cache"));
    if let Some(tag) = representation.etag() {
        response.insert_header((ETAG, tag));
    }
    Ok(ApiResponse::Stream(match status {
        StatusCode::OK => response.body(in_pieces(document)),
        _ => response.finish(),
    }))
}

/// Evaluates the conditions of a request. The entity tag of the document is its digest.
fn select_document(
    document: &str,
    headers: &actix_web::http::header::HeaderMap,
) -> (Representation, Selection) {
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    hasher.update(document.as_bytes());
    let representation = Representation {
        length: Some(document.len() as u64),
        sha256: Some(hasher.finish().sha256),
        head: RepresentationHead::Recorded(StoredHeaders::default()),
        age: None,
        attachment: None,
    };
    let selection = select(&read_conditions(headers), None, &representation);
    (representation, selection)
}

/// Returns the document of an object, whose URLs at peers are `peers`. `base` is the URL of this
/// node.
fn metalink_of(found: ObjectDescription, peers: &[String], base: &str) -> Metalink {
    let sha256 = found.sha256;
    let at_peers = peers.iter().map(|url| (url.clone(), PEER_PRIORITY));
    let own = format!("{base}/api/v1/objects/sha256/{sha256}");
    let sources = found
        .sources
        .iter()
        .map(|source| source.as_str().to_owned());
    let sources = sources.zip(FIRST_SOURCE_PRIORITY..);
    let urls = at_peers.chain([(own, OWN_PRIORITY)]).chain(sources);
    Metalink {
        name: found
            .name
            .filter(|name| is_file_name(name))
            .unwrap_or_else(|| sha256.to_string()),
        size_bytes: found.size_bytes,
        sha256,
        pieces: found.pieces,
        urls: urls
            .map(|(url, priority)| MetalinkUrl { url, priority })
            .collect(),
    }
}
