//! The page `/ui/api/`: the description of the API, and a form for each operation.
//!
//! Swagger UI 5.35.0 is part of the binary, compressed and unchanged, so that the page needs no
//! other machine. Its licence is in `LICENSE.txt`. This module knows no operation. The main type is
//! [`SwaggerFile`].

use std::io::Read as _;
use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use flate2::read::GzDecoder;

use super::page_body::in_pieces;
use super::parse_request::single;

/// Path of the page. Its files are below.
const ROOT: &str = "/ui/api/";

const BUNDLE_GZIP: &[u8] = include_bytes!("swagger-ui-bundle.js.gz");
const STYLE_GZIP: &[u8] = include_bytes!("swagger-ui.css.gz");

static BUNDLE: LazyLock<Bytes> = LazyLock::new(|| decoded(BUNDLE_GZIP));
static STYLE: LazyLock<Bytes> = LazyLock::new(|| decoded(STYLE_GZIP));

/// Validator of all files: the versions of Swagger UI and of Millpond. It is weak, since the
/// compressed and the plain form of a file have the same one.
const TAG: &str = concat!("W/\"5.35.0-", env!("CARGO_PKG_VERSION"), "\"");

/// Nothing but the files of the page, and the API of this gateway. Swagger UI has images in its
/// style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwaggerFile {
    /// The path without its slash, which relative addresses need.
    Redirect,
    Page,
    Start,
    Bundle,
    Style,
}

impl SwaggerFile {
    /// Returns the file at a path without its query, if there is one.
    pub fn from_path(path: &str) -> Option<Self> {
        if path == ROOT.trim_end_matches('/') {
            return Some(Self::Redirect);
        }
        match path.strip_prefix(ROOT)? {
            "" => Some(Self::Page),
            "init.js" => Some(Self::Start),
            "swagger-ui-bundle.js" => Some(Self::Bundle),
            "swagger-ui.css" => Some(Self::Style),
            _ => None,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Page | Self::Redirect => "text/html; charset=utf-8",
            // Without its charset the bundle is a syntax error.
            Self::Start | Self::Bundle => "text/javascript; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
        }
    }

    fn embedded_bytes(self) -> EmbeddedBytes {
        match self {
            Self::Redirect => EmbeddedBytes::Plain(b""),
            Self::Page => EmbeddedBytes::Plain(include_bytes!("index.html")),
            Self::Start => EmbeddedBytes::Plain(include_bytes!("init.js")),
            Self::Bundle => EmbeddedBytes::Gzip(BUNDLE_GZIP, &BUNDLE),
            Self::Style => EmbeddedBytes::Gzip(STYLE_GZIP, &STYLE),
        }
    }
}

/// Bytes of a file in the binary.
enum EmbeddedBytes {
    Plain(&'static [u8]),
    /// The compressed bytes, and the others, which are decoded once when a client wants them.
    Gzip(&'static [u8], &'static LazyLock<Bytes>),
}

/// Renders a file for `GET` or `HEAD`.
pub fn serve(file: SwaggerFile, request: &HttpRequest) -> HttpResponse {
    let headers = request.headers();
    let status = match file {
        SwaggerFile::Redirect => StatusCode::PERMANENT_REDIRECT,
        _ if single(headers, IF_NONE_MATCH.as_str()) == Some(TAG) => StatusCode::NOT_MODIFIED,
        _ => StatusCode::OK,
    };
    let mut builder = HttpResponse::build(status);
    builder
        .insert_header((CONTENT_TYPE, file.content_type()))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((HeaderName::from_static("x-frame-options"), "DENY"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((VARY, "Accept-Encoding"))
        .insert_header((ETAG, TAG));
    match (status, file.embedded_bytes()) {
        (StatusCode::OK, EmbeddedBytes::Plain(bytes)) => builder.body(bytes),
        (StatusCode::OK, EmbeddedBytes::Gzip(bytes, _)) if accepts_gzip(headers) => builder
            .insert_header((CONTENT_ENCODING, "gzip"))
            .body(in_pieces(bytes)),
        (StatusCode::OK, EmbeddedBytes::Gzip(_, decoded)) => {
            builder.body(in_pieces(Bytes::clone(decoded)))
        }
        (StatusCode::PERMANENT_REDIRECT, _) => builder.insert_header((LOCATION, ROOT)).finish(),
        _ => builder.finish(),
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    single(headers, ACCEPT_ENCODING.as_str()).is_some_and(|codings| {
        codings
            .split(',')
            .any(|coding| coding.trim().eq_ignore_ascii_case("gzip"))
    })
}

/// Decodes a file of the binary, whose length is known.
fn decoded(bytes: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    GzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .expect("the file in the binary is compressed by gzip");
    plain.into()
}
