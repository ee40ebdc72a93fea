//! Requests below `/mirror/` with a body: the check of a lookaside cache, and the upload of vcpkg.

use actix_web::HttpResponse;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::api::{Query, token_of};
use super::mirror_pages as pages;
use super::mirror_request::MirrorRequest;
use super::parse_request::single;
use super::request_body::read_body;
use crate::admin::{AdminError, ImportUpload, KindCheck};
use crate::catalog::KnownHow;
use crate::dialects::{Wanted, read_form, upload_check};
use crate::gateway::RequestError;
use crate::model::{Digest, ExpectedDigests, Target};

/// Bound on the body of a check, in bytes. Three short fields take less than 1 KiB.
const MAX_FORM_BYTES: usize = 16 << 10;

/// Text for a form without a digest.
const NO_DIGEST: &str = "the form must have the fields name, <algorithm>sum and filename";

/// Answers whether a file is stored, so that it need not be uploaded.
pub async fn check(mirror: MirrorRequest<'_>) -> Result<HttpResponse, AdminError> {
    let MirrorRequest {
        service,
        request,
        payload,
        ..
    } = mirror;
    let stall_timeout = service.settings.load().stall_timeout;
    let content_type = single(request.headers(), CONTENT_TYPE).unwrap_or_default();
    let body = read_form_bytes(read_body(request, payload, stall_timeout)).await?;
    let query = upload_check(&read_form(content_type, &body))
        .ok_or_else(|| RequestError::BadRequest(NO_DIGEST.to_owned()))?;
    let files = service.gateway.known_files(&query).await?;
    // A file that is only listed may be gone when a build needs it.
    let is_available = files.iter().any(|file| file.how == KnownHow::Stored);
    Ok(pages::availability(is_available))
}

async fn read_form_bytes(
    mut body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<Vec<u8>, RequestError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| RequestError::BadRequest(error.to_string()))?;
        if bytes.len() + chunk.len() > MAX_FORM_BYTES {
            let reason = format!(
                "the form is longer than {MAX_FORM_BYTES} bytes; this checks uploads, and takes \
                 none"
            );
            return Err(RequestError::BadRequest(reason));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Stores an upload under its digest. It needs the operator token, as a field or in the query.
pub async fn store(mirror: MirrorRequest<'_>, wanted: Wanted) -> Result<HttpResponse, AdminError> {
    let MirrorRequest {
        service,
        request,
        origin,
        payload,
        ..
    } = mirror;
    let admin = &service.operators.admin;
    let query = origin.form.as_str().split_once('?');
    let mut query = Query::parse(query.map_or("", |(_, query)| query))?;
    let in_query = query.text("token")?;
    let headers = request.headers();
    let token = token_of(headers).or(in_query.as_deref());
    let operator = admin.authorize(origin.client, token)?.into_operator()?;
    let Wanted::File(file) = wanted else {
        let reason = "the path must be a SHA-512 in hexadecimal";
        return Err(RequestError::BadRequest(reason.to_owned()).into());
    };
    let stall_timeout = service.settings.load().stall_timeout;
    let upload = ImportUpload {
        target: upload_target(&file.digests)?,
        expected: file.digests,
        kind_check: KindCheck::Skip,
        length: content_length(headers),
        body: read_body(request, payload, stall_timeout),
    };
    admin.import(&operator, upload).await?;
    Ok(pages::created())
}

/// Returns the target of an upload, which has no URL of its own. The name never resolves (RFC 6761,
/// section 6.4), and the digest in the path makes the target immutable.
fn upload_target(digests: &ExpectedDigests) -> Result<Target, RequestError> {
    let hex = digests.iter().map(Digest::hex).next().unwrap_or_default();
    let target = Target::parse(&format!("https://vcpkg.invalid/sha512/{hex}"));
    target.map_err(|error| RequestError::BadRequest(error.to_string()))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    single(headers, CONTENT_LENGTH).and_then(|length| length.parse().ok())
}
