//! `GET /api/v1/objects/sha256/{sha256}/torrent`: an object for clients of BitTorrent that take web
//! seeds. A client that may download the object may read it.

use utoipa::ToSchema;

use super::object_document::{DescribedObject, respond};
use super::query::Query;
use super::request::ApiRequest;
use super::response::ApiResponse;
use crate::admin::{AdminError, Permission};
use crate::gateway::RequestError;
use crate::model::{PieceList, Sha256};
use crate::torrent::{MEDIA_TYPE, Torrent};

/// Error for an object whose pieces are never computed.
const NO_PIECES: AdminError =
    AdminError::NotFound("there are torrents for objects of 16 MiB to 64 GiB only");

/// Torrent file (BEP 3).
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct TorrentFile(());

/// Describes an object for clients of BitTorrent that take web seeds
///
/// The file is a torrent of version 1 (BEP 3) with web seeds (BEP 19): the peers that have the
/// object, and this node. There is no tracker, and Millpond does not seed. Pieces are computed in
/// the background, for objects of 16 MiB to 64 GiB. Needs what a download of the object needs.
#[utoipa::path(
    get, path = "/api/v1/objects/sha256/{sha256}/torrent", operation_id = "showTorrent",
    tag = "objects",
    params(("sha256" = String, Path, description = "SHA-256 in hexadecimal",
            pattern = "^[0-9a-fA-F]{64}$")),
    responses(
        (status = 200, description = "The file", body = TorrentFile,
         content_type = "application/x-bittorrent"),
        (status = 304, description = "The client has the file"),
        (status = 503, description = "The pieces are being computed"),
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
    if !PieceList::is_for(object.facts.size_bytes) {
        return Err(NO_PIECES);
    }
    let pieces = object.facts.pieces.as_ref().and_then(PieceList::sha1);
    let torrent = Torrent {
        name: &object.name(),
        size_bytes: object.facts.size_bytes,
        pieces: pieces.ok_or(RequestError::PiecesPending)?,
        comment: format!("SHA-256 of the file: {sha256}"),
        web_seeds: object
            .at_peers
            .iter()
            .chain([&object.own_url])
            .cloned()
            .collect(),
    };
    let headers = api_request.request.headers();
    Ok(respond(torrent.render(), MEDIA_TYPE, headers))
}
