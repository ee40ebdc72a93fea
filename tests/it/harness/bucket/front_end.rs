//! Front end of the S3 server. It records and checks requests, injects faults, and adds the
//! features which the server lacks.

use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::host::SingleDomain;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;

use super::super::lock;
use super::fault::{Fault, Faults};
use super::files::Files;
use super::lists::{self, with_element};
use super::strict::{self, Refusal};
use super::uploads::Uploads;
use super::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY};

/// Largest request body. Tests send no more.
const MAX_BODY_BYTES: usize = 256 << 20;

/// Position of the bucket's name in a URL.
pub(super) enum Style {
    Path,
    /// In front of this domain, which includes a port.
    VirtualHost(String),
}

/// A request as the bucket received it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// Empty if the request is for the bucket itself.
    pub key: String,
    pub query: String,
    /// None before the response, and if there was no response.
    pub status: Option<u16>,
    headers: HeaderMap,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns whether the request has this method and a key with this prefix.
    pub fn is(&self, method: &str, prefix: &str) -> bool {
        self.method == method && self.key.starts_with(prefix)
    }
}

pub(super) struct FrontEnd {
    pub(super) style: Style,
    pub(super) files: Files,
    pub(super) faults: Faults,
    pub(super) seen: Mutex<Vec<Seen>>,
    pub(super) refused: Mutex<Vec<String>>,
    uploads: Uploads,
    is_public: AtomicBool,
    signed: S3Service,
    /// Accepts requests without a signature.
    open: S3Service,
}

impl FrontEnd {
    pub(super) fn new(style: Style) -> Self {
        let files = Files::new();
        let builder = || {
            let mut builder =
                S3ServiceBuilder::new(FileSystem::new(files.root()).expect("the folder exists"));
            if let Style::VirtualHost(domain) = &style {
                builder.set_host(SingleDomain::new(domain).expect("the domain is valid"));
            }
            builder
        };
        let mut signed = builder();
        signed.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let (signed, open) = (signed.build(), builder().build());
        let (faults, seen, refused) = (Faults::default(), Mutex::default(), Mutex::default());
        let (uploads, is_public) = (Uploads::default(), AtomicBool::new(false));
        Self {
            style,
            files,
            faults,
            seen,
            refused,
            uploads,
            is_public,
            signed,
            open,
        }
    }

    pub(super) fn make_public(&self) {
        self.is_public.store(true, Ordering::SeqCst);
    }

    /// Answers a request. An error closes the connection without a response.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let seen = self.seen(&head);
        let number = {
            let mut all = lock(&self.seen);
            all.push(seen.clone());
            all.len() - 1
        };
        let answered = match strict::head(&head, &self.style, &seen.key) {
            Ok(()) => self.admitted(&seen, head, body).await?,
            Err(refusal) => self.refuse(&seen, refusal),
        };
        lock(&self.seen)[number].status = Some(answered.status().as_u16());
        Ok(answered)
    }

    /// Answers a request whose head passed the checks.
    async fn admitted(
        &self,
        seen: &Seen,
        head: Parts,
        body: Incoming,
    ) -> io::Result<Response<Body>> {
        let fault = self.faults.of(seen);
        if matches!(fault, Some(Fault::Hangup)) {
            return Err(io::Error::other("injected fault: connection closed"));
        }
        let body = Body::from(body)
            .store_all_limited(MAX_BODY_BYTES)
            .await
            .map_err(io::Error::other)?;
        let is_end = head.method == Method::POST && seen.query.contains("uploadId=");
        let parts = || {
            if is_end {
                self.uploads.check(&seen.query, &body)
            } else {
                Ok(())
            }
        };
        if let Err(refusal) = strict::body(&head, &body).and_then(|()| parts()) {
            return Ok(self.refuse(seen, refusal));
        }
        match &fault {
            Some(Fault::Refuse(status, code)) => {
                return Ok(problem(seen, *status, code, "as the test wants it"));
            }
            Some(Fault::Stall(gate)) => {
                let gate = gate.clone();
                if !tokio::task::spawn_blocking(move || gate.pass()).await? {
                    return Err(io::Error::other("the test is over"));
                }
            }
            _ => {}
        }
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        let is_signed = head.headers.contains_key(header::AUTHORIZATION)
            || seen.query.contains("X-Amz-Signature=");
        let is_open =
            !is_signed && is_read && !seen.key.is_empty() && self.is_public.load(Ordering::SeqCst);
        let service = if is_open { &self.open } else { &self.signed };
        let answer = service
            .call(Request::from_parts(head, Body::from(body)))
            .await;
        let mut answer = answer.map_err(|_| io::Error::other("the server has failed"))?;
        // The server checks the signature before it answers 501 to this request.
        if answer.status() == StatusCode::NOT_IMPLEMENTED && lists::is_of_uploads(seen) {
            answer = lists::uploads(seen, &self.files);
        }
        answer = lists::without_marker(seen, answer).await?;
        if matches!(answer.status().as_u16(), 400 | 403 | 405 | 411 | 500 | 501) {
            let status = answer.status().as_u16();
            lock(&self.refused).push(format!(
                "{} {} {}: {status}",
                seen.method, seen.key, seen.query
            ));
        }
        if let Some(etag) = answer
            .headers()
            .get(header::ETAG)
            .filter(|_| seen.method == "PUT")
        {
            self.uploads
                .note(&seen.query, &String::from_utf8_lossy(etag.as_bytes()));
        }
        if seen.method == "DELETE" || seen.query.contains("delete") {
            self.files.tidy();
        }
        if is_read && answer.status().is_success() && !seen.key.is_empty() {
            complete(seen, &mut answer);
        }
        self.spoil(fault, seen, answer).await
    }

    /// Turns a correct response into the wrong one that the fault asks for.
    async fn spoil(
        &self,
        fault: Option<Fault>,
        seen: &Seen,
        answer: Response<Body>,
    ) -> io::Result<Response<Body>> {
        let is_success = answer.status().is_success();
        match fault {
            Some(Fault::Cut(count)) => {
                let (head, body) = answer.into_parts();
                let cut = Cut {
                    size: body.size_hint(),
                    body,
                    left: count,
                    is_flushed: false,
                };
                Ok(Response::from_parts(head, Body::http_body_unsync(cut)))
            }
            Some(Fault::WrongEtag) => {
                with_etag(answer, "\"00000000000000000000000000000000\"").await
            }
            Some(Fault::EmptyEtag) => with_etag(answer, "").await,
            Some(Fault::Keep(size)) if is_success => {
                // A part of a multipart upload is not an object yet.
                if self.files.read(&seen.key).is_some() {
                    self.files.truncate(&seen.key, size);
                }
                Ok(answer)
            }
            Some(Fault::Lose) if is_success => {
                if self.files.read(&seen.key).is_some() {
                    self.files.remove(&seen.key);
                }
                Ok(answer)
            }
            _ => Ok(answer),
        }
    }

    fn refuse(&self, seen: &Seen, (status, code, why): Refusal) -> Response<Body> {
        lock(&self.refused).push(format!(
            "{} {} {}: {why}",
            seen.method, seen.key, seen.query
        ));
        problem(seen, status, code, why)
    }

    fn seen(&self, head: &Parts) -> Seen {
        let path = head.uri.path().trim_start_matches('/');
        let key = match &self.style {
            Style::VirtualHost(_) => path,
            Style::Path => path
                .strip_prefix(BUCKET)
                .map_or(path, |key| key.trim_start_matches('/')),
        };
        let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        Seen {
            method: head.method.to_string(),
            key,
            query,
            status: None,
            headers: head.headers.clone(),
        }
    }
}

/// Builds an S3 error response.
fn problem(seen: &Seen, status: u16, code: &str, why: &str) -> Response<Body> {
    let is_head = seen.method == "HEAD";
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Error><Code>{code}</Code><Message>{why}</Message>\
         <RequestId>1</RequestId></Error>"
    );
    let mut answer = Response::new(if is_head {
        Body::empty()
    } else {
        Body::from(text)
    });
    *answer.status_mut() = StatusCode::from_u16(status).expect("the status is valid");
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/xml"),
    );
    answer
}

/// Adds the headers that every store sends with an object, and evaluates preconditions.
/// The server does neither.
fn complete(seen: &Seen, answer: &mut Response<Body>) {
    let headers = answer.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("binary/octet-stream"));
    let etag = headers
        .get(header::ETAG)
        .and_then(|etag| etag.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let date = headers
        .get(header::LAST_MODIFIED)
        .and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let names_it = |list: &str| {
        list.split(',')
            .any(|one| one.trim() == "*" || one.trim() == etag)
    };
    let is_newer = |than: &str| date > httpdate::parse_http_date(than).ok();
    let is_other = match (seen.header("if-match"), seen.header("if-unmodified-since")) {
        (Some(list), _) => !names_it(list),
        (None, Some(date)) => is_newer(date),
        (None, None) => false,
    };
    let is_same = match (
        seen.header("if-none-match"),
        seen.header("if-modified-since"),
    ) {
        (Some(list), _) => names_it(list),
        (None, Some(date)) => !is_newer(date),
        (None, None) => false,
    };
    if is_other {
        *answer = problem(seen, 412, "PreconditionFailed", "a condition does not hold");
    } else if is_same {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        *answer.body_mut() = Body::empty();
        answer.headers_mut().remove(header::CONTENT_LENGTH);
    }
}

/// Replaces the ETag of a response, in its head and in its XML.
async fn with_etag(answer: Response<Body>, etag: &'static str) -> io::Result<Response<Body>> {
    let (mut head, body) = answer.into_parts();
    let is_xml = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/xml");
    if head.headers.contains_key(header::ETAG) {
        head.headers
            .insert(header::ETAG, HeaderValue::from_static(etag));
    }
    if !is_xml {
        return Ok(Response::from_parts(head, body));
    }
    with_element(
        Response::from_parts(head, body),
        "ETag",
        Some(&etag.replace('"', "&quot;")),
    )
    .await
}

/// A body that is cut off.
struct Cut {
    body: Body,
    /// Size of the complete body.
    size: SizeHint,
    left: usize,
    is_flushed: bool,
}

impl hyper::body::Body for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.left == 0 {
            // hyper sends buffered data only when it is idle, and discards the data after an error.
            if !std::mem::replace(&mut this.is_flushed, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(io::Error::other("injected fault: body cut off"))));
        }
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            return Poll::Pending;
        };
        let Some(Ok(Ok(mut bytes))) = frame.map(|frame| frame.map(Frame::into_data)) else {
            return Poll::Ready(None);
        };
        bytes.truncate(this.left);
        this.left -= bytes.len();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}
