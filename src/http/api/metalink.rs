//! `GET /api/v1/objects/sha256/{sha256}/metalink`: the sources of an object, and the digests of its
//! pieces. A client that may download the object may read them.

use utoipa::ToSchema;

use super::object_document::{DescribedObject, respond};
use super::query::Query;
use super::request::ApiRequest;
use super::response::ApiResponse;
use crate::admin::{AdminError, Permission};
use crate::metalink::{MEDIA_TYPE, Metalink, MetalinkUrl};
use crate::model::Sha256;

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
    let object = DescribedObject::read(api_request, permission, sha256).await?;
    let document = metalink_of(object).render().into_bytes();
    let headers = api_request.request.headers();
    Ok(respond(document, MEDIA_TYPE, headers))
}

/// Returns the document of an object.
fn metalink_of(object: DescribedObject) -> Metalink {
    let name = object.name();
    let facts = object.facts;
    let at_peers = object.at_peers.iter().cloned();
    let at_peers = at_peers.map(|url| (url, PEER_PRIORITY));
    let sources = facts.sources.iter();
    let sources = sources.map(|source| source.as_str().to_owned());
    let sources = sources.zip(FIRST_SOURCE_PRIORITY..);
    let own = (object.own_url, OWN_PRIORITY);
    let urls = at_peers.chain([own]).chain(sources);
    Metalink {
        name,
        size_bytes: facts.size_bytes,
        sha256: facts.sha256,
        urls: urls
            .map(|(url, priority)| MetalinkUrl { url, priority })
            .collect(),
        pieces: facts.pieces,
    }
}
