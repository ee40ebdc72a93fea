//! Requests of build systems below `/mirror/<dialect>/` of the gateway port.
//!
//! A path names a file or a digest. The main function is [`serve`].

use actix_web::{HttpRequest, HttpResponse};

use super::client_info::{RequestOrigin, TargetForm};
use super::login::require_user;
use super::responder::Responder;
use super::state::HttpService;
use crate::dialects::{MirrorPath, unknown_dialect};
use crate::gateway::{Endpoint, RequestError};
use crate::limits::TransferKind;

/// Text for a file that no known target has.
const UNKNOWN_FILE: &str = "no target of this file is known";

/// A request below `/mirror/`.
pub struct MirrorRequest<'a> {
    pub service: &'a HttpService,
    pub request: &'a HttpRequest,
    pub origin: &'a RequestOrigin,
    pub path: MirrorPath<'a>,
}

/// Returns the path of a request below `/mirror/`, if it is one.
pub fn mirror_path(form: &TargetForm) -> Option<MirrorPath<'_>> {
    let TargetForm::Origin(text) = form else {
        return None;
    };
    MirrorPath::parse(text.split('?').next().unwrap_or_default())
}

/// Serves a request below `/mirror/`.
pub async fn serve(mirror: MirrorRequest<'_>, responder: Responder<'_>) -> HttpResponse {
    let error = match admit(&mirror).await {
        Ok(()) => RequestError::NotFound(match mirror.path {
            MirrorPath::Files(..) => UNKNOWN_FILE,
            MirrorPath::Unknown => unknown_dialect(),
        }),
        Err(error) => error,
    };
    responder.send_error(&error)
}

/// Checks the login of a request, and counts it for its client.
async fn admit(mirror: &MirrorRequest<'_>) -> Result<(), RequestError> {
    let (service, origin) = (mirror.service, mirror.origin);
    require_user(service, mirror.request, origin, Endpoint::Gateway).await?;
    let kind = TransferKind::Download;
    service.gateway.admit_client(origin.client, kind).map(drop)
}
