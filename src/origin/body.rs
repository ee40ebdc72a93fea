//! Body of an origin's response, with an idle timeout and a minimum speed.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::config::Config;
use super::error::OriginError;
use super::fault::{ConnectionFault, TimeoutPhase};
use super::ftp::transfer::Transfer;
use super::http_error::classify;

/// Source of a body's bytes.
#[derive(Debug)]
pub enum BodyStream {
    Http(Incoming),
    Ftp(Box<Transfer>),
    Empty,
}

impl BodyStream {
    async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        match self {
            Self::Http(body) => next_data(body).await.map_err(|error| classify(&error)),
            Self::Ftp(transfer) => transfer.next().await,
            Self::Empty => Ok(None),
        }
    }
}

/// Returns the next data of an HTTP body. Trailers are dropped.
async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Body of a response, read chunk by chunk.
#[derive(Debug)]
pub struct Body {
    stream: BodyStream,
    idle_timeout: Duration,
    min_speed_bytes: u64,
    /// Time spent waiting for the origin in the current measuring window. The time that the reader
    /// takes does not count.
    waited: Duration,
    /// Bytes received in the current measuring window.
    window_bytes: u64,
}

impl Body {
    pub(super) fn new(stream: BodyStream, config: &Config) -> Self {
        Self {
            stream,
            idle_timeout: config.idle_timeout,
            min_speed_bytes: config.min_speed_bytes,
            waited: Duration::ZERO,
            window_bytes: 0,
        }
    }

    /// Returns whether the body comes from an HTTP origin.
    #[must_use]
    pub fn is_http(&self) -> bool {
        matches!(self.stream, BodyStream::Http(_))
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    /// [`OriginError::Unreachable`] if the origin sends nothing for the idle timeout, sends slower
    /// than the minimum speed, or ends the body before its stated length or its last chunk.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        let start = Instant::now();
        let chunk = timeout(self.idle_timeout, self.stream.next())
            .await
            .map_err(|_| ConnectionFault::Timeout(TimeoutPhase::Body))??;
        self.window_bytes += chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.waited += start.elapsed();
        if self.waited >= self.idle_timeout {
            if chunk.is_some() && self.is_too_slow() {
                return Err(ConnectionFault::TooSlow.into());
            }
            self.waited = Duration::ZERO;
            self.window_bytes = 0;
        }
        Ok(chunk)
    }

    fn is_too_slow(&self) -> bool {
        self.window_bytes < self.min_speed_bytes.saturating_mul(self.waited.as_secs())
    }
}
