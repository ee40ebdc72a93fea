//! Facts about the head of a response of class `revalidate`.
//!
//! This file must not know exchanges. Its main function is [`end_to_end_fields`].

use crate::freshness::Observation;
use crate::model::{Fields, is_end_to_end_header};
use crate::origin::{Response, is_page_type};

/// Whether a response is a page in place of what was no page. A bot protection answers so, and a
/// host that has lost its files.
pub(super) fn replaces_file_by_page(response: &Response, stored: &Observation) -> bool {
    let stored_type = stored.fields.first("content-type");
    response.status() == 200 && response.is_page() && !stored_type.is_some_and(is_page_type)
}

/// Returns the fields that are stored with a response.
///
/// If redirects led to a file without a stated name, their last one states it. Only clients of the
/// gateway endpoint get such a response.
pub(super) fn end_to_end_fields(response: &Response) -> Fields {
    let connection = response.list_header("connection");
    let mut fields: Fields = response
        .headers()
        .filter(|(name, _)| is_end_to_end_header(name, &connection))
        .collect();
    if let Some(attachment) = response.attachment().filter(|_| response.is_redirected()) {
        fields.remove("content-disposition");
        fields.push("content-disposition", attachment.to_string().as_bytes());
    }
    fields
}
