//! Statuses of responses to requests for a body, and facts about the last response. The main
//! function is [`check_status`].

use crate::fetch::parent_cache;
use crate::origin::{OriginError, RequestFailed, Response};
use crate::policy::{Source, SourceKind};

/// Facts about the response to the last attempt.
#[derive(Debug, Clone, Copy, Default)]
pub struct LastResponse {
    /// The response, or the error in its place, came from another host after a redirect.
    pub is_redirected: bool,
    /// A response arrived. The host works, whatever its status says and happens to its body.
    pub has_answered: bool,
}

impl LastResponse {
    pub fn of(answer: &Result<Response, RequestFailed>) -> Self {
        Self {
            is_redirected: match answer {
                Ok(response) => response.is_redirected(),
                Err(failed) => failed.is_redirected,
            },
            has_answered: answer.is_ok(),
        }
    }
}

/// Returns a response with a whole body.
///
/// # Errors
/// The status as an error.
pub fn check_status(source: &Source, response: Response) -> Result<Response, OriginError> {
    match response.status() {
        _ if has_whole_body(&response) => Ok(response),
        // A parent returns 504 to `only-if-cached` if it has no stored response (RFC 9111, section
        // 5.2.1.7).
        504 if source.kind() == SourceKind::Parent => Err(parent_cache::not_found()),
        _ => Err(response.as_error()),
    }
}

/// Whether a response has the whole body. A 203 and a 226 have it as a 200 (RFC 9110, section
/// 15.3.4; RFC 3229). So has a 300 without `Location` for wget and curl.
pub fn has_whole_body(response: &Response) -> bool {
    matches!(response.status(), 200 | 203 | 226 | 300)
}
