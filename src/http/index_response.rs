//! Replaces the body of a rendered response by the rewritten index.
//!
//! The main type is [`IndexRewriting`].

use std::io::Read as _;
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody as _, to_bytes_limited};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, LAST_MODIFIED, VARY,
};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::body::HeadBody;
use super::page_body::in_pieces_with;
use crate::gateway::RequestError;
use crate::indexes::{self, IndexDocument, LinkBudget, LinkPlaces};
use crate::limits::{AdmissionControl, DocumentPermit, PoolClient};
use crate::model::{ContentCoding, Target};

/// Bound on the length of a document. The largest ones of public registries have 40 MB.
const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// Length up to which a document is rewritten at once. The others need a permit, and a thread.
const SMALL_DOCUMENT_BYTES: u64 = 256 << 10;

/// Longest wait for a permit.
const MAX_PERMIT_WAIT: Duration = Duration::from_mins(1);

/// Fields that describe the document of the origin only.
const FIELDS_OF_ORIGINAL: [HeaderName; 7] = [
    ACCEPT_RANGES,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    ETAG,
    LAST_MODIFIED,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("repr-digest"),
];

/// First bytes of a gzip member (RFC 1952, section 2.3.1).
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";

const TOO_LARGE: &str = "the index of upstream is too large";

/// Content coding of a document that an origin has sent without being asked for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IndexCoding {
    Identity,
    Gzip,
}

/// Rewriting of one index for one request.
#[derive(Debug)]
pub struct IndexRewriting<'a> {
    /// Permits for large documents.
    pub admission: &'a AdmissionControl,
    /// Client that a document counts for.
    pub client: PoolClient,
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

impl IndexRewriting<'_> {
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
        let coding = IndexCoding::of(response.headers())?;
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        // A short document may be coded, and have any length.
        let is_small = coding == IndexCoding::Identity
            && matches!(
                response.body().size(),
                BodySize::None | BodySize::Sized(..=SMALL_DOCUMENT_BYTES)
            );
        let permit = if is_small {
            None
        } else {
            Some(self.acquire_permit().await?)
        };
        let (head, body) = response.into_parts();
        let body = collect(body).await?;
        let rewritten = self.rewrite(content_type, coding, body, is_small).await?;
        Ok(self.respond(&head, rewritten, permit, is_head))
    }

    async fn acquire_permit(&self) -> Result<DocumentPermit, RequestError> {
        let permit = self
            .admission
            .acquire_document_permit(self.client, self.page.host());
        let permit = timeout(MAX_PERMIT_WAIT, permit).await;
        permit.ok().flatten().ok_or(RequestError::Busy)
    }

    async fn rewrite(
        &self,
        content_type: String,
        coding: IndexCoding,
        body: Bytes,
        is_small: bool,
    ) -> Result<Vec<u8>, RequestError> {
        let (document, page) = (self.document, self.page.clone());
        let (upstream, gateway) = (self.upstream.clone(), self.gateway.clone());
        let rewrite = move || {
            let budget = LinkBudget::default();
            let places = LinkPlaces {
                budget: &budget,
                page: &page,
                upstream: &upstream,
                gateway: &gateway,
            };
            let rewrite = |body: &[u8]| indexes::rewrite(document, &content_type, body, places);
            match coding {
                // Some origins name a coding that they have not applied.
                IndexCoding::Gzip if !body.starts_with(GZIP_MAGIC) => rewrite(&body),
                IndexCoding::Identity => rewrite(&body),
                IndexCoding::Gzip => {
                    let unpacked = unpack(&body)?;
                    drop(body);
                    rewrite(&unpacked)
                }
            }
            .map_err(|error| RequestError::UnreadableIndex(error.to_string()))
        };
        if is_small {
            return rewrite();
        }
        let rewritten = spawn_blocking(rewrite).await;
        rewritten.map_err(|_| RequestError::Unavailable)?
    }

    /// Renders the rewritten document with a validator of its own. The body holds the permit.
    fn respond(
        &self,
        head: &HttpResponse<()>,
        body: Vec<u8>,
        permit: Option<DocumentPermit>,
        is_head: bool,
    ) -> HttpResponse {
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
            builder.body(in_pieces_with(body, permit))
        }
    }
}

impl IndexCoding {
    fn of(headers: &HeaderMap) -> Result<Self, RequestError> {
        let values = headers.get_all(CONTENT_ENCODING);
        let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
        match ContentCoding::parse(&values.join(",")) {
            None => Ok(Self::Identity),
            Some(coding) if coding.is_gzip() => Ok(Self::Gzip),
            Some(_) => Err(unreadable("the index of upstream has an unknown coding")),
        }
    }
}

/// Returns the document of a body in gzip (RFC 1952).
fn unpack(body: &[u8]) -> Result<Vec<u8>, RequestError> {
    let mut unpacked = Vec::new();
    let bound = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX);
    let read = MultiGzDecoder::new(body)
        .take(bound.saturating_add(1))
        .read_to_end(&mut unpacked);
    match read {
        Ok(length) if length > MAX_DOCUMENT_BYTES => Err(unreadable(TOO_LARGE)),
        Ok(_) => Ok(unpacked),
        Err(_) => Err(unreadable("the index of upstream is no valid gzip")),
    }
}

/// Reads a whole body.
async fn collect(body: BoxBody) -> Result<Bytes, RequestError> {
    match to_bytes_limited(body, MAX_DOCUMENT_BYTES).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(unreadable("the index of upstream is incomplete")),
        Err(_) => Err(unreadable(TOO_LARGE)),
    }
}

fn unreadable(reason: &str) -> RequestError {
    RequestError::UnreadableIndex(reason.to_owned())
}
