//! Requests whose host is a name of `[[hosts]]`: path and query belong to a target at the base URL
//! of that name, and nothing of the gateway itself is there.
//!
//! The main type is [`MappedRequest`].

use actix_web::http::header::{HOST, HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse};

use super::client_info::{RequestOrigin, TargetForm, split_http_uri};
use super::parse_request::single;
use super::state::Settings;
use crate::gateway::RequestError;
use crate::model::{Target, TargetError};

/// A request at a name of `[[hosts]]`.
pub struct MappedRequest {
    authority: String,
    target: Result<Target, TargetError>,
}

impl MappedRequest {
    /// Returns the request, if its host is such a name. An absolute request target takes
    /// precedence over `Host` (RFC 9112, section 3.2.2).
    pub fn of(request: &HttpRequest, origin: &RequestOrigin, settings: &Settings) -> Option<Self> {
        let (authority, path) = match &origin.form {
            TargetForm::Origin(path) => (single(request.headers(), HOST)?, path.as_str()),
            TargetForm::Absolute(uri) => split_http_uri(uri)?,
        };
        let has_path = path.starts_with('/');
        let rooted = if has_path { "" } else { "/" };
        // `*` and a malformed request line are no path.
        if !has_path && matches!(origin.form, TargetForm::Origin(_)) {
            return None;
        }
        let target = settings.hosts.target(authority, &[rooted, path].concat())?;
        Some(Self {
            authority: authority.to_owned(),
            target,
        })
    }

    /// Returns the target.
    ///
    /// # Errors
    /// [`RequestError::BadRequest`] or [`RequestError::TargetTooLong`].
    pub fn target(&self) -> Result<Target, RequestError> {
        self.target.clone().map_err(|error| match error {
            TargetError::TooLong => RequestError::TargetTooLong(error.to_string()),
            error => RequestError::BadRequest(error.to_string()),
        })
    }

    /// Corrects a redirect to a page behind the gateway's own URL, which no path at this name is.
    pub fn correct_location(&self, response: &mut HttpResponse, settings: &Settings) {
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        let Some(target) = location.and_then(|location| location.strip_prefix('/')) else {
            return;
        };
        let corrected = match (
            settings.hosts.path_of(&self.authority, target),
            &settings.public_url,
        ) {
            (Some(path), _) => path.to_owned(),
            (None, Some(public)) => format!("{public}/{target}"),
            (None, None) => target.to_owned(),
        };
        if let Ok(value) = HeaderValue::from_str(&corrected) {
            response.headers_mut().insert(LOCATION, value);
        }
    }
}
