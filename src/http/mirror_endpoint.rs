//! Requests of build systems below `/mirror/<dialect>/` of the gateway port, from top to bottom.
//!
//! A path names a file or a digest. The catalog knows targets that have it, and the request path of
//! the gateway serves one of them. The main function is [`serve`].

use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::Method;

use super::client_info::TargetForm;
use super::error_status::status_of;
use super::login::require_user;
use super::mirror_pages as pages;
use super::mirror_request::MirrorRequest;
use super::mirror_upload;
use super::parse_request::{read_cache_request, reject_loop};
use super::responder::Responder;
use crate::admin::AdminError;
use crate::catalog::{CatalogQuery, KnownFile, KnownHow};
use crate::dialects::{Dialect, MirrorPath, Wanted, unknown_dialect};
use crate::gateway::{
    CacheRequest, ClientDownload, ClientRedirects, Endpoint, PrefixedUrl, RequestError,
};
use crate::limits::TransferKind;
use crate::model::Target;

/// Time after which no other target of a file is tried. A build system waits no longer.
const MAX_SEARCH: Duration = Duration::from_mins(1);

/// Error for a file that no known target has. A build system then asks its next mirror.
const UNKNOWN_FILE: RequestError = RequestError::NotFound("no target of this file is known");

/// Error for a file whose known targets may not be fetched. It is no failure of an origin.
const DENIED_FILE: RequestError =
    RequestError::NotFound("this gateway may not fetch the known targets of this file");

/// Response to a request below `/mirror/`.
pub enum MirrorResponse {
    Download(Box<ClientDownload>),
    Page(HttpResponse),
}

/// Returns the path of a request below `/mirror/`, if it is one.
pub fn mirror_path(form: &TargetForm) -> Option<MirrorPath<'_>> {
    let TargetForm::Origin(text) = form else {
        return None;
    };
    MirrorPath::parse(text)
}

/// Serves a request below `/mirror/`.
pub async fn serve(mirror: MirrorRequest<'_>, responder: Responder<'_>) -> HttpResponse {
    match respond(mirror).await {
        Ok(MirrorResponse::Download(download)) => responder.send_download(*download),
        Ok(MirrorResponse::Page(page)) => responder.send_page(page),
        Err(error) => responder.send_admin_error(&error),
    }
}

async fn respond(mirror: MirrorRequest<'_>) -> Result<MirrorResponse, AdminError> {
    admit(&mirror).await?;
    let MirrorPath::Files(dialect, path) = mirror.path else {
        return Err(RequestError::NotFound(unknown_dialect()).into());
    };
    let wanted = dialect.wanted(path);
    match (mirror.request.method().clone(), dialect) {
        (Method::GET | Method::HEAD, _) => Ok(read(&mirror, wanted).await?),
        (Method::POST, Dialect::Centos | Dialect::Fedora) => {
            mirror_upload::check(mirror).await.map(MirrorResponse::Page)
        }
        (Method::PUT, Dialect::Vcpkg) => mirror_upload::store(mirror, wanted)
            .await
            .map(MirrorResponse::Page),
        (method, _) => Err(RequestError::MethodNotSupported(method.to_string()).into()),
    }
}

/// Checks the login of a request, and counts it for its client.
async fn admit(mirror: &MirrorRequest<'_>) -> Result<(), RequestError> {
    let (service, origin) = (mirror.service, mirror.origin);
    require_user(service, mirror.request, origin, Endpoint::Gateway).await?;
    let kind = TransferKind::Download;
    service.gateway.admit_client(origin.client, kind)?;
    reject_loop(mirror.request.headers(), service.name.as_str())
}

/// Serves what a path asks for.
async fn read(mirror: &MirrorRequest<'_>, wanted: Wanted) -> Result<MirrorResponse, RequestError> {
    let files = match wanted {
        Wanted::Nothing => return Err(UNKNOWN_FILE),
        Wanted::Layout(text) => return Ok(MirrorResponse::Page(pages::layout(text))),
        Wanted::References(query) => {
            let files = known_files(mirror, &query).await?;
            return if files.is_empty() {
                Err(UNKNOWN_FILE)
            } else {
                Ok(MirrorResponse::Page(pages::references()))
            };
        }
        Wanted::Url(path) => return serve_url(mirror, &path).await,
        Wanted::File(query) => known_files(mirror, &query).await?,
    };
    let download = serve_first(mirror, &files).await?;
    Ok(MirrorResponse::Download(Box::new(download)))
}

/// Serves the target that a path contains. If it is denied, the client gets the reason.
async fn serve_url(mirror: &MirrorRequest<'_>, path: &str) -> Result<MirrorResponse, RequestError> {
    let PrefixedUrl { target, expected } = PrefixedUrl::parse(path)?;
    let file = KnownFile {
        target,
        expected,
        how: KnownHow::Listed,
    };
    let request = cache_request(mirror, &file)?;
    let download = mirror.service.gateway.handle(request).await?;
    Ok(MirrorResponse::Download(Box::new(download)))
}

async fn known_files(
    mirror: &MirrorRequest<'_>,
    query: &CatalogQuery,
) -> Result<Vec<KnownFile>, RequestError> {
    mirror.service.gateway.known_files(query).await
}

/// Serves the first target that has the file: a stored one, or else one that can be fetched.
///
/// # Errors
/// [`UNKNOWN_FILE`] if no target has it, or [`DENIED_FILE`]. If an origin failed, that failure: the
/// file may be there.
async fn serve_first(
    mirror: &MirrorRequest<'_>,
    files: &[KnownFile],
) -> Result<ClientDownload, RequestError> {
    let gateway = &mirror.service.gateway;
    let stored = files.iter().filter(|file| file.how != KnownHow::Listed);
    for file in stored.filter(|file| files.len() > 1 || file.how == KnownHow::StoredUnderName) {
        let request = CacheRequest {
            only_if_cached: true,
            ..cache_request(mirror, file)?
        };
        if let Ok(download) = gateway.handle(request).await {
            return Ok(download);
        }
    }
    let mut failure = None;
    let mut missing = UNKNOWN_FILE;
    let began = Instant::now();
    let others = files.iter();
    for file in others.filter(|file| file.how != KnownHow::StoredUnderName) {
        match gateway.handle(cache_request(mirror, file)?).await {
            Ok(download) => return Ok(download),
            Err(error) => match kind_of(&error) {
                TargetFailure::Absent => {}
                TargetFailure::Denied => missing = DENIED_FILE,
                TargetFailure::Unusable => failure = failure.or(Some(error)),
                TargetFailure::NoneUsable => return Err(error),
            },
        }
        if failure.is_some() && began.elapsed() > MAX_SEARCH {
            break;
        }
    }
    Err(failure.unwrap_or(missing))
}

/// Returns the request for a target. Few of these clients follow redirects.
fn cache_request(
    mirror: &MirrorRequest<'_>,
    file: &KnownFile,
) -> Result<CacheRequest, RequestError> {
    let (request, origin) = (mirror.request, mirror.origin);
    let (target, expected): (Target, _) = (file.target.clone(), file.expected.clone());
    let request = read_cache_request(request, origin, Endpoint::Gateway, target, expected)?;
    Ok(CacheRequest {
        redirects: ClientRedirects::Never,
        ..request
    })
}

/// Meaning of a failure for the other targets of a file.
enum TargetFailure {
    /// The origin does not have the file, or has other bytes.
    Absent,
    /// The target is not allowed. Some build systems go on to their next mirror after a 404 only.
    Denied,
    /// The origin failed.
    Unusable,
    /// No other target would be served either.
    NoneUsable,
}

fn kind_of(error: &RequestError) -> TargetFailure {
    match status_of(error, Endpoint::Gateway).status.as_u16() {
        404 | 409 | 410 => TargetFailure::Absent,
        403 => TargetFailure::Denied,
        502 | 504 => TargetFailure::Unusable,
        _ => TargetFailure::NoneUsable,
    }
}
