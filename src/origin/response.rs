//! An origin's answer, as far as it concerns the rest of the house.

use std::str::Utf8Error;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use reqwest::header::{HeaderMap, LOCATION};
use tokio::time::timeout;

use super::ftp::{FtpHead, Transfer};
use super::{Config, OriginError};
use crate::model::{StoredHeaders, Target};

/// The longest wait that an origin may ask for in `Retry-After` before it counts as no answer at
/// all.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

#[derive(Debug)]
pub struct Response {
    status: u16,
    headers: HeaderMap,
    /// See [`Response::validator`], where no header field says it.
    validator: Option<String>,
    /// How many bytes before the rest that was asked for are sent again.
    overlap_bytes: u64,
    /// Scheme and host of the last hop.
    source: String,
    /// It is not the target's own host that gives it.
    is_redirected: bool,
    stream: Stream,
    idle_timeout: Duration,
    min_speed_bytes: u64,
}

/// Where the bytes come from.
#[derive(Debug)]
enum Stream {
    Http(reqwest::Response),
    Ftp(Box<Transfer>),
    /// There are none.
    Ended,
}

impl Stream {
    async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        match self {
            Self::Http(answer) => answer.chunk().await.map_err(OriginError::of_client),
            Self::Ftp(transfer) => transfer.next().await,
            Self::Ended => Ok(None),
        }
    }
}

impl Response {
    pub(super) fn of_http(mut answer: reqwest::Response, hop: &Target, config: &Config) -> Self {
        Self {
            status: answer.status().as_u16(),
            headers: std::mem::take(answer.headers_mut()),
            validator: None,
            overlap_bytes: 0,
            source: source(hop),
            is_redirected: false,
            stream: Stream::Http(answer),
            idle_timeout: config.idle_timeout,
            min_speed_bytes: config.min_speed_bytes,
        }
    }

    pub(super) fn of_ftp(
        head: FtpHead,
        transfer: Option<Transfer>,
        hop: &Target,
        config: &Config,
    ) -> Self {
        Self {
            status: head.status,
            headers: head.headers,
            validator: head.validator,
            overlap_bytes: head.overlap_bytes,
            source: source(hop),
            is_redirected: false,
            stream: transfer.map_or(Stream::Ended, |transfer| Stream::Ftp(Box::new(transfer))),
            idle_timeout: config.idle_timeout,
            min_speed_bytes: config.min_speed_bytes,
        }
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The same answer, `redirects` hops behind the target.
    pub(super) fn with_redirect_count(self, redirects: usize) -> Self {
        Self {
            is_redirected: redirects > 0,
            ..self
        }
    }

    /// Where this answer redirects to, if it does (RFC 9110, section 15.4).
    pub(super) fn location(&self) -> Option<Result<&str, Utf8Error>> {
        if !matches!(self.status, 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        Some(std::str::from_utf8(self.headers.get(LOCATION)?.as_bytes()))
    }

    /// What tells this body from any other of the same target, if there is something that does:
    /// under it the rest can be asked for (RFC 9110, section 8.8.1).
    #[must_use]
    pub fn validator(&self) -> Option<String> {
        self.validator.clone().or_else(|| {
            self.stored_headers()
                .etag
                .filter(|etag| etag.starts_with('"'))
        })
    }

    /// How many bytes before the offset of the [`super::Resume`] this answer begins.
    #[must_use]
    pub fn overlap_bytes(&self) -> u64 {
        self.overlap_bytes
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether another host than the target's own gives it.
    #[must_use]
    pub fn is_redirected(&self) -> bool {
        self.is_redirected
    }

    /// A header field, the first if it occurs more than once, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All values of a list header as one, empty if there is none.
    #[must_use]
    pub fn joined(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .collect::<Vec<_>>()
            .join(",")
    }

    /// All header fields as they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    #[must_use]
    pub fn stored_headers(&self) -> StoredHeaders {
        StoredHeaders::collect(|name| self.header(name))
    }

    /// `Content-Length`, in bytes. A transfer coding overrides it (RFC 9112, section 6.3).
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        if self.header("transfer-encoding").is_some() {
            return None;
        }
        self.header("content-length")?.parse().ok()
    }

    /// The first byte and the complete length of a 206 (RFC 9110, section 14.4); `None` unless both
    /// are stated.
    #[must_use]
    pub fn content_range(&self) -> Option<(u64, u64)> {
        let (span, complete) = self
            .header("content-range")?
            .strip_prefix("bytes ")?
            .split_once('/')?;
        let (first, last) = span.split_once('-')?;
        let (first, last, complete) = (
            first.parse().ok()?,
            last.parse::<u64>().ok()?,
            complete.parse::<u64>().ok()?,
        );
        (last.checked_add(1) == Some(complete)).then_some((first, complete))
    }

    /// The codings that the body is wrapped in, lower case; none for `identity`.
    #[must_use]
    pub fn content_encoding(&self) -> Option<String> {
        let coding = self.header("content-encoding")?.trim().to_ascii_lowercase();
        (!coding.is_empty() && coding != "identity").then_some(coding)
    }

    /// This answer's status as an error, for those who wanted a body.
    #[must_use]
    pub fn as_error(&self) -> OriginError {
        let now = SystemTime::now();
        let retry_after = self
            .header("retry-after")
            .and_then(|value| match value.trim().parse() {
                Ok(seconds) => Some(Duration::from_secs(seconds)),
                Err(_) => httpdate::parse_http_date(value)
                    .ok()?
                    .duration_since(now)
                    .ok(),
            });
        OriginError::Status {
            status: self.status(),
            retry_after: retry_after.map(|wait| wait.min(MAX_RETRY_AFTER)),
        }
    }

    #[must_use]
    pub fn into_body(self) -> Body {
        Body {
            stream: self.stream,
            idle_timeout: self.idle_timeout,
            min_speed_bytes: self.min_speed_bytes,
            waited: Duration::ZERO,
            window_bytes: 0,
        }
    }
}

fn source(hop: &Target) -> String {
    format!("{}://{}", hop.scheme().as_str(), hop.host())
}

/// The bytes of an answer as they come.
#[derive(Debug)]
pub struct Body {
    stream: Stream,
    idle_timeout: Duration,
    min_speed_bytes: u64,
    /// For the origin alone: what a client takes to read is not the origin's time.
    waited: Duration,
    window_bytes: u64,
}

impl Body {
    /// The next bytes, or `None` at the end. A body that is shorter than its length, or whose last
    /// chunk is missing, does not end: it breaks off.
    ///
    /// # Errors
    /// [`OriginError::Unreachable`] if it breaks off, says nothing for the idle timeout, or is
    /// slower than the minimum speed.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        let asked = Instant::now();
        let chunk = timeout(self.idle_timeout, self.stream.next())
            .await
            .map_err(|_| OriginError::Unreachable("the origin stopped sending".to_owned()))??;
        self.window_bytes += chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.waited += asked.elapsed();
        if self.waited >= self.idle_timeout {
            if chunk.is_some()
                && self.window_bytes < self.min_speed_bytes.saturating_mul(self.waited.as_secs())
            {
                return Err(OriginError::Unreachable(
                    "the origin sends slower than fetch.min_speed".to_owned(),
                ));
            }
            self.waited = Duration::ZERO;
            self.window_bytes = 0;
        }
        Ok(chunk)
    }
}
