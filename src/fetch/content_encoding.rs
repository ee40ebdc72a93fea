//! Check of `Content-Encoding` in responses of origins.

use crate::model::FileType;
use crate::origin::{OriginError, ProtocolFault, Response};
use crate::policy::Admitted;

/// Rejects a response with a content coding, because the coded bytes would be stored as the file.
///
/// A coding that is the format of the file itself is accepted: origins often send
/// `Content-Encoding: gzip` for a `.tar.gz`.
///
/// # Errors
/// [`OriginError::InvalidResponse`].
pub fn check_content_encoding(response: &Response, admitted: &Admitted) -> Result<(), OriginError> {
    let path = admitted.target().path();
    match response.content_encoding() {
        Some(coding) if !FileType::is_own_coding(path, &coding) => {
            Err(ProtocolFault::ContentEncoding(coding).into())
        }
        _ => Ok(()),
    }
}
