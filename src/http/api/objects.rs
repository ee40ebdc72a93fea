//! `/api/v1/objects`: lists, downloads, imports and removes objects.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Payload};
use futures_util::Stream;
use serde::Serialize;
use utoipa::ToSchema;

use super::list_builder::ListTotals;
use super::list_filter::ListFilter;
use super::list_order::ListPart;
use super::query::Query;
use super::request::ApiRequest;
use super::response::{ApiResponse, json_of, ok};
use super::target_list::{ListedObject, MAX_PAGE_LENGTH, read_page};
use super::values::{ObjectDigest, digests, redacted_url};
use crate::admin::{AdminError, AdminService, ImportUpload, KindCheck, ListReader, Operator};
use crate::gateway::{DigestRequest, Gateway, RequestError};
use crate::http::parse_request::{read_conditions, read_expected, read_range, single};
use crate::http::request_body::read_body;
use crate::model::{ExpectedDigests, Sha256, Target};
use crate::registry::RegistryTable;

/// One page of the list of stored targets.
#[derive(Serialize, ToSchema)]
pub struct ObjectPage {
    objects: Vec<ListedObject>,
    /// Value of `after` for the next page. Null on the last page.
    next: Option<String>,
    /// Totals of all targets that meet the filters, for `total=true` or an order.
    total: Option<ListTotals>,
}

/// Removed object.
#[derive(Serialize, ToSchema)]
pub struct ObjectRemoved {
    sha256: ObjectDigest,
    freed_bytes: u64,
}

/// Imported object.
#[derive(Serialize, ToSchema)]
pub struct ObjectImported {
    url: String,
    size_bytes: u64,
    /// All digests in hexadecimal, by algorithm.
    digests: BTreeMap<String, String>,
    pinned: ObjectDigest,
}

/// Bytes of a file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct ObjectBytes(());

/// Lists stored targets with the objects that answer for them, one page at a time
///
/// A page may have fewer than `limit` targets, or none, and a `next` all the same, if a filter
/// excludes many targets.
#[utoipa::path(
    get, path = "/api/v1/objects", operation_id = "listObjects", tag = "objects",
    params(ListFilter, ListPart),
    responses((status = 200, description = "A page of the list", body = ObjectPage)),
    security(("reader" = []), ("operator" = [])),
)]
pub async fn list(
    admin: &AdminService,
    reader: &ListReader,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let wanted = query.list(MAX_PAGE_LENGTH, SystemTime::now())?;
    query.finish()?;
    let page = read_page(admin, reader, wanted).await?;
    ok(&ObjectPage {
        objects: page.entries,
        next: page.next,
        total: page.totals,
    })
}

/// Downloads an object by its digest
///
/// Ranges and conditions apply as to any file. Needs no token, but a login or a token with
/// `gateway.download_users_file`.
#[utoipa::path(
    get, path = "/api/v1/objects/sha256/{sha256}", operation_id = "downloadObject",
    tag = "objects",
    params(("sha256" = String, Path, description = "SHA-256 in hexadecimal",
            pattern = "^[0-9a-fA-F]{64}$")),
    responses(
        (status = 200, description = "The bytes", body = ObjectBytes,
         content_type = "application/octet-stream"),
        (status = 206, description = "The bytes of a range", body = ObjectBytes,
         content_type = "application/octet-stream"),
        (status = 304, description = "The client has the bytes"),
    ),
)]
pub async fn download(
    (gateway, registries): (&Gateway, &RegistryTable),
    sha256: Sha256,
    (client, request): (IpAddr, &HttpRequest),
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let digest_request = DigestRequest {
        client,
        has_quota: true,
        sha256,
        range: read_range(request),
        conditions: read_conditions(request.headers()),
    };
    let may_have = |targets: &[Target]| registries.may_have_object(targets, client);
    let response = gateway.serve_object(digest_request, may_have).await?;
    Ok(ApiResponse::Object(Box::new(response)))
}

/// Sends an object to a peer, whatever its target. The offered records name those that it asks for.
pub async fn send_to_peer(
    api_request: &ApiRequest<'_>,
    sha256: Sha256,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let request = api_request.request;
    let digest_request = DigestRequest {
        client: api_request.origin.client,
        has_quota: false,
        sha256,
        range: read_range(request),
        conditions: read_conditions(request.headers()),
    };
    let gateway = &api_request.service.gateway;
    let response = gateway.serve_object(digest_request, |_| true).await?;
    Ok(ApiResponse::Object(Box::new(response)))
}

/// Parses the digest in the path of an object.
pub fn parse_digest(hex: &str) -> Result<Sha256, RequestError> {
    hex.parse()
        .map_err(|error| RequestError::BadRequest(format!("objects/sha256/: {error}")))
}

/// Removes an object and keeps its records
#[utoipa::path(
    delete, path = "/api/v1/objects/sha256/{sha256}", operation_id = "removeObject",
    tag = "objects",
    params(("sha256" = String, Path, description = "SHA-256 in hexadecimal",
            pattern = "^[0-9a-fA-F]{64}$")),
    responses((status = 200, description = "The object is removed", body = ObjectRemoved)),
    security(("operator" = [])),
)]
pub async fn remove(
    admin: &AdminService,
    operator: &Operator,
    sha256: Sha256,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let freed_bytes = admin.remove_object(operator, sha256).await?;
    ok(&ObjectRemoved {
        sha256: sha256.into(),
        freed_bytes,
    })
}

/// Parses the request of an import. The upload fails if the client sends nothing for
/// `idle_timeout`.
pub fn read_upload(
    request: &HttpRequest,
    body: Payload,
    idle_timeout: Duration,
    mut query: Query<'_>,
) -> Result<ImportUpload<impl Stream<Item = Result<Bytes, PayloadError>> + Unpin>, RequestError> {
    let target = query.target()?;
    let kind_check = if query.flag("force")? {
        KindCheck::Skip
    } else {
        KindCheck::Apply
    };
    query.finish()?;
    let mut expected = ExpectedDigests::nothing();
    read_expected(request.headers(), &mut expected)?;
    let length = single(request.headers(), "content-length").and_then(|length| length.parse().ok());
    Ok(ImportUpload {
        target,
        expected,
        kind_check,
        length,
        body: read_body(request, body, idle_timeout),
    })
}

/// Stores your own copy of a target and pins it
#[utoipa::path(
    put, path = "/api/v1/objects", operation_id = "importObject", tag = "objects",
    params(
        ("url" = String, Query, format = "uri", description = "URL of the target",
         example = "https://example.org/x-1.0.tar.gz"),
        ("force" = Option<bool>, Query,
         description = "Whether the first bytes may differ from what the name promises"),
        ("X-Expected-Sha256" = Option<String>, Header,
         description = "Digest that the bytes must have; also X-Expected-Sha512, -Sha1 and -Md5",
         pattern = "^[0-9a-fA-F]{64}$"),
    ),
    request_body(content = ObjectBytes, content_type = "application/octet-stream",
                 description = "The bytes of the file"),
    responses((status = 201, description = "The object is stored", body = ObjectImported)),
    security(("operator" = [])),
)]
pub async fn import(
    admin: &AdminService,
    operator: &Operator,
    upload: ImportUpload<impl Stream<Item = Result<Bytes, PayloadError>> + Unpin>,
) -> Result<ApiResponse, AdminError> {
    let record = admin.import(operator, upload).await?;
    let imported = json_of(&ObjectImported {
        url: redacted_url(&record.target),
        size_bytes: record.size_bytes,
        digests: digests(&record),
        pinned: record.sha256.into(),
    })?;
    Ok(ApiResponse::Json(StatusCode::CREATED, imported))
}
