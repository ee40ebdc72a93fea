//! `/api/v1/objects`: lists, downloads, imports and removes objects.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Payload};
use futures_util::Stream;
use serde_json::{Value, json};

use super::query::Query;
use super::response::{ApiResponse, date, digests, ok, redacted_url};
use crate::admin::{AdminError, AdminService, ImportUpload, KindCheck, ListReader, Operator};
use crate::cache::ListedTarget;
use crate::gateway::{DigestRequest, Gateway, RequestError};
use crate::http::parse_request::{read_conditions, read_expected, read_range, single};
use crate::http::request_body::read_body;
use crate::model::{ExpectedDigests, Sha256};
use crate::policy::Class;

/// Bound on the targets of one page.
const MAX_PAGE_LENGTH: usize = 1000;

/// Lists targets in the order of their keys, one page at a time. A page has fewer than `limit`
/// targets, or none, if a filter excludes the others.
pub async fn list(
    admin: &AdminService,
    reader: &ListReader,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let (after, limit) = (query.after()?, query.limit(MAX_PAGE_LENGTH)?);
    let filter = query.filter(SystemTime::now())?;
    query.finish()?;
    let page = admin.list(reader, after, limit).await?;
    let next = page
        .last()
        .filter(|_| page.len() == limit)
        .map(|last| last.key.to_string());
    let classified = page
        .iter()
        .map(|listed| (listed, admin.class(&listed.record.target)));
    let accepted = classified.filter(|(listed, class)| filter.accepts(listed, *class));
    Ok(ok(json!({
        "objects": accepted.map(|(listed, class)| target_json(listed, class)).collect::<Vec<_>>(),
        "next": next,
    })))
}

/// Downloads an object by its digest.
pub async fn download(
    gateway: &Gateway,
    sha256: Sha256,
    (client, request): (IpAddr, &HttpRequest),
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let digest_request = DigestRequest {
        client,
        sha256,
        range: read_range(request),
        conditions: read_conditions(request.headers()),
    };
    let response = gateway.serve_object(digest_request).await?;
    Ok(ApiResponse::Object(Box::new(response)))
}

/// Removes an object and keeps its records.
pub async fn remove(
    admin: &AdminService,
    operator: &Operator,
    sha256: Sha256,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    query.finish()?;
    let freed_bytes = admin.remove_object(operator, sha256).await?;
    Ok(ok(json!({ "sha256": sha256, "freed_bytes": freed_bytes })))
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

/// Stores an operator's copy of a target and pins it.
pub async fn import(
    admin: &AdminService,
    operator: &Operator,
    upload: ImportUpload<impl Stream<Item = Result<Bytes, PayloadError>> + Unpin>,
) -> Result<ApiResponse, AdminError> {
    let record = admin.import(operator, upload).await?;
    let imported = json!({
        "url": redacted_url(&record.target),
        "size_bytes": record.size_bytes,
        "digests": digests(&record),
        "pinned": record.sha256,
    });
    Ok(ApiResponse::Json(StatusCode::CREATED, imported))
}

fn target_json(listed: &ListedTarget, class: Class) -> Value {
    json!({
        "url": redacted_url(&listed.record.target),
        "class": class,
        "sha256": listed.record.sha256,
        "size_bytes": listed.record.size_bytes,
        "source": listed.record.source,
        "first_seen": date(listed.record.first_seen),
        "last_used": listed.last_used.map(date),
        "cached": listed.is_cached,
        "pinned": listed.is_pinned,
    })
}
