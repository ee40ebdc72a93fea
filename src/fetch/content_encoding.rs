//! Check of `Content-Encoding` in responses of origins.

use crate::origin::{OriginError, Response};
use crate::policy::Admitted;

/// Rejects a response with a content coding, because the coded bytes would be stored as the file.
///
/// A coding that is the format of the file itself is accepted: origins often send
/// `Content-Encoding: gzip` for a `.tar.gz`.
///
/// # Errors
/// [`OriginError::InvalidResponse`].
pub fn check_content_encoding(response: &Response, admitted: &Admitted) -> Result<(), OriginError> {
    let path = admitted.target().path().to_ascii_lowercase();
    let path = path.strip_suffix("/download").unwrap_or(&path);
    match response.content_encoding() {
        Some(coding)
            if !suffixes(&coding)
                .iter()
                .any(|suffix| path.ends_with(suffix)) =>
        {
            Err(OriginError::InvalidResponse(format!(
                "the origin sent the file with content encoding {coding}"
            )))
        }
        _ => Ok(()),
    }
}

/// Returns the suffixes of files whose format is the coding.
fn suffixes(coding: &str) -> &'static [&'static str] {
    match coding {
        "gzip" | "x-gzip" => &[".gz", ".tgz", ".crate"],
        "bzip2" | "x-bzip2" => &[".bz2", ".tbz2"],
        "xz" | "x-xz" => &[".xz", ".txz"],
        "zstd" => &[".zst", ".tzst"],
        _ => &[],
    }
}
