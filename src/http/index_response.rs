//! Replaces the body of a rendered response by the rewritten index.
//!
//! The main type is [`IndexRewriting`].

use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody as _, to_bytes_limited};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    LAST_MODIFIED, VARY,
};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::body::HeadBody;
use crate::gateway::RequestError;
use crate::indexes::{self, IndexDocument, LinkPlaces};
use crate::model::Target;

/// Bound on the length of a document. The largest ones of public registries have 40 MB.
const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// Length up to which a document is rewritten at once. The others need a permit, and a thread.
const SMALL_DOCUMENT_BYTES: u64 = 256 << 10;

/// Bound on large documents in memory. Each takes up to four times its length.
static LARGE_DOCUMENTS: Semaphore = Semaphore::const_new(4);

/// Longest wait for a permit.
const MAX_PERMIT_WAIT: Duration = Duration::from_mins(1);

/// Fields that describe the document of the origin only.
const FIELDS_OF_ORIGINAL: [HeaderName; 6] = [
    ACCEPT_RANGES,
    CONTENT_LENGTH,
    ETAG,
    LAST_MODIFIED,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("repr-digest"),
];

/// Rewriting of one index for one request.
#[derive(Debug)]
pub struct IndexRewriting {
    pub document: IndexDocument,
    /// Target of the document.
    pub page: Target,
    /// Base URL of the registry.
    pub upstream: String,
    /// URL of this gateway.
    pub gateway: String,
    /// `If-None-Match` of the client.
    pub known_etags: Option<String>,
}

impl IndexRewriting {
    /// Rewrites the document of a 200. Other responses stay as they are.
    ///
    /// # Errors
    /// [`RequestError::UnreadableIndex`] if the document cannot be rewritten, and
    /// [`RequestError::Busy`] if too many large ones are being rewritten.
    pub async fn apply(
        &self,
        response: HttpResponse,
        is_head: bool,
    ) -> Result<HttpResponse, RequestError> {
        if response.status() != StatusCode::OK {
            return Ok(response);
        }
        if response.headers().contains_key(CONTENT_ENCODING) {
            return Err(unreadable("the index of upstream is compressed"));
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let is_small = match response.body().size() {
            BodySize::None | BodySize::Sized(..=SMALL_DOCUMENT_BYTES) => true,
            BodySize::Sized(_) | BodySize::Stream => false,
        };
        let permit = if is_small {
            None
        } else {
            Some(acquire_permit().await?)
        };
        let (head, body) = response.into_parts();
        let body = collect(body).await?;
        let rewritten = self.rewrite(content_type, body, is_small).await?;
        drop(permit);
        Ok(self.respond(&head, rewritten, is_head))
    }

    async fn rewrite(
        &self,
        content_type: String,
        body: Bytes,
        is_small: bool,
    ) -> Result<Vec<u8>, RequestError> {
        let (document, page) = (self.document, self.page.clone());
        let (upstream, gateway) = (self.upstream.clone(), self.gateway.clone());
        let rewrite = move || {
            let places = LinkPlaces {
                page: &page,
                upstream: &upstream,
                gateway: &gateway,
            };
            indexes::rewrite(document, &content_type, &body, places)
        };
        let rewritten = if is_small {
            rewrite()
        } else {
            spawn_blocking(rewrite)
                .await
                .map_err(|_| RequestError::Unavailable)?
        };
        rewritten.map_err(|error| RequestError::UnreadableIndex(error.to_string()))
    }

    /// Renders the rewritten document with a validator of its own.
    fn respond(&self, head: &HttpResponse<()>, body: Vec<u8>, is_head: bool) -> HttpResponse {
        let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&body)[..16]));
        let is_known = self.known_etags.as_deref().is_some_and(|known| {
            let mut tags = known.split(',').map(str::trim);
            tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
        });
        let status = if is_known {
            StatusCode::NOT_MODIFIED
        } else {
            StatusCode::OK
        };
        let mut builder = HttpResponseBuilder::new(status);
        for (name, value) in head.headers() {
            // RFC 9110, section 15.4.5.
            let describes_body = is_known && name.as_str().starts_with("content-");
            if !FIELDS_OF_ORIGINAL.contains(name) && !describes_body {
                builder.append_header((name, value));
            }
        }
        if let Ok(value) = HeaderValue::from_str(&etag) {
            builder.insert_header((ETAG, value));
        }
        if self.document.accept("").is_some() {
            builder.append_header((VARY, HeaderValue::from_static("Accept")));
        }
        if is_known {
            builder.finish()
        } else if is_head {
            let length = u64::try_from(body.len()).ok();
            builder.body(HeadBody { length })
        } else {
            builder.body(body)
        }
    }
}

async fn acquire_permit() -> Result<SemaphorePermit<'static>, RequestError> {
    let permit = timeout(MAX_PERMIT_WAIT, LARGE_DOCUMENTS.acquire()).await;
    // The semaphore is never closed.
    permit.ok().and_then(Result::ok).ok_or(RequestError::Busy)
}

/// Reads a whole body.
async fn collect(body: BoxBody) -> Result<Bytes, RequestError> {
    match to_bytes_limited(body, MAX_DOCUMENT_BYTES).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(unreadable("the index of upstream is incomplete")),
        Err(_) => Err(unreadable("the index of upstream is too large")),
    }
}

fn unreadable(reason: &str) -> RequestError {
    RequestError::UnreadableIndex(reason.to_owned())
}
