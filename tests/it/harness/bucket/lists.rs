//! Lists in the form of other stores: multipart uploads, which the server does not implement, and
//! objects in the older version of the API.

use std::fmt::Write as _;
use std::io;

use hyper::Response;
use hyper::header;
use percent_encoding::percent_decode_str;
use s3s::Body;

use super::BUCKET;
use super::files::Files;
use super::front_end::Seen;

/// Largest list in any test.
const MAX_LIST_BYTES: usize = 16 << 20;

/// Returns whether the request lists the incomplete multipart uploads.
pub(super) fn is_of_uploads(seen: &Seen) -> bool {
    seen.is("GET", "") && seen.key.is_empty() && parameter(seen, "uploads").is_some()
}

/// Lists the incomplete multipart uploads.
pub(super) fn uploads(seen: &Seen, files: &Files) -> Response<Body> {
    let prefix = parameter(seen, "prefix").unwrap_or_default();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ListMultipartUploadsResult><Bucket>{BUCKET}</Bucket>\
         <MaxUploads>1000</MaxUploads><IsTruncated>false</IsTruncated>"
    );
    for upload in files
        .uploads()
        .into_iter()
        .filter(|upload| upload.key.starts_with(&prefix))
    {
        let began = humantime::format_rfc3339_millis(upload.began);
        let (key, id) = (upload.key, upload.id);
        let element =
            format!("<Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{began}</Initiated>");
        write!(text, "<Upload>{element}</Upload>").expect("a string can be written");
    }
    text += "</ListMultipartUploadsResult>";
    let mut answer = Response::new(Body::from(text));
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/xml"),
    );
    answer
}

/// Removes `NextMarker`: in the older version only a list with a delimiter has that element.
pub(super) async fn without_marker(
    seen: &Seen,
    answer: Response<Body>,
) -> io::Result<Response<Body>> {
    let is_list = seen.is("GET", "") && seen.key.is_empty() && answer.status().is_success();
    if !is_list || parameter(seen, "list-type").is_some() || parameter(seen, "delimiter").is_some()
    {
        return Ok(answer);
    }
    with_element(answer, "NextMarker", None).await
}

/// Replaces the text of the first element with this name, or removes the element.
pub(super) async fn with_element(
    answer: Response<Body>,
    name: &str,
    new: Option<&str>,
) -> io::Result<Response<Body>> {
    let (mut head, mut body) = answer.into_parts();
    let text = body
        .store_all_limited(MAX_LIST_BYTES)
        .await
        .map_err(io::Error::other)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (opening, closing) = (format!("<{name}>"), format!("</{name}>"));
    let found = text.find(&opening).zip(text.find(&closing));
    let text = found.map_or(text.clone(), |(begin, end)| {
        let element = new
            .map(|new| [&opening, new, &closing].concat())
            .unwrap_or_default();
        [&text[..begin], &element, &text[end + closing.len()..]].concat()
    });
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::TRANSFER_ENCODING);
    Ok(Response::from_parts(head, Body::from(text)))
}

/// Returns a decoded query parameter. It is empty if the parameter has no value.
fn parameter(seen: &Seen, name: &str) -> Option<String> {
    let mut pairs = seen
        .query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(own, _)| *own == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}
