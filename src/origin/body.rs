//! Body of an origin's response, with an idle timeout and a minimum speed.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use tokio::time::{sleep, timeout};

use super::config::Config;
use super::error::OriginError;
use super::fault::{ConnectionFault, TimeoutPhase};
use super::ftp::transfer::Transfer;
use super::http_error::classify;
use crate::metrics::HostCounts;

/// Chunk size below which a body waits for more bytes. Each chunk costs a write, a hash update and
/// the wake-up of all readers, and an origin may send chunks of one byte.
const SMALL_CHUNK_BYTES: usize = 2 * 1024;

/// Size of a chunk that is made of small ones.
const GATHERED_CHUNK_BYTES: usize = 16 * 1024;

/// How long a small chunk waits for more bytes.
const GATHER_TIME: Duration = Duration::from_millis(2);

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

    /// Whether the rest of a chunk may follow soon. Data of FTP comes as the kernel has it.
    fn may_be_in_small_chunks(&self) -> bool {
        match self {
            Self::Http(body) => !body.is_end_stream(),
            Self::Ftp(_) | Self::Empty => false,
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
    /// Counts of the host. `None` before the response is complete.
    counts: Option<Arc<HostCounts>>,
    /// Small chunks that were received and not returned yet. They survive a caller that drops the
    /// future of [`Body::next`].
    gathered: BytesMut,
    /// Result that came after gathered chunks, and follows them.
    following: Option<Result<Option<Bytes>, OriginError>>,
}

impl Body {
    pub(super) fn new(stream: BodyStream, config: &Config) -> Self {
        Self {
            stream,
            idle_timeout: config.idle_timeout,
            min_speed_bytes: config.min_speed_bytes,
            waited: Duration::ZERO,
            window_bytes: 0,
            counts: None,
            gathered: BytesMut::new(),
            following: None,
        }
    }

    /// Counts the bytes that arrive from now on.
    pub(super) fn counting(self, counts: Arc<HostCounts>) -> Self {
        Self {
            counts: Some(counts),
            ..self
        }
    }

    /// Returns whether the body comes from an HTTP origin.
    #[must_use]
    pub fn is_http(&self) -> bool {
        matches!(self.stream, BodyStream::Http(_))
    }

    /// Returns the next bytes, or `None` at the end. If the caller drops the future, no byte is
    /// lost.
    ///
    /// # Errors
    /// [`OriginError::Unreachable`] if the origin sends nothing for the idle timeout, sends slower
    /// than the minimum speed, or ends the body before its stated length or its last chunk.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        if self.gathered.is_empty() {
            if let Some(following) = self.following.take() {
                return following;
            }
            match self.receive().await? {
                Some(chunk)
                    if chunk.len() < SMALL_CHUNK_BYTES && self.stream.may_be_in_small_chunks() =>
                {
                    self.gathered.extend_from_slice(&chunk);
                }
                chunk => return Ok(chunk),
            }
        }
        self.gather().await;
        Ok(Some(self.gathered.split().freeze()))
    }

    /// Adds the chunks that follow a small one within [`GATHER_TIME`]. One timer serves all of
    /// them, because a timer for each chunk costs more than the chunk.
    async fn gather(&mut self) {
        let start = Instant::now();
        let pause = sleep(GATHER_TIME);
        tokio::pin!(pause);
        while self.following.is_none()
            && self.gathered.len() < GATHERED_CHUNK_BYTES
            && self.stream.may_be_in_small_chunks()
        {
            // Nothing is lost if the time passes, because a chunk is taken only when it is there.
            let received = tokio::select! {
                biased;
                received = self.stream.next() => received,
                () = &mut pause => break,
            };
            let chunk = received.as_ref().ok().and_then(Option::as_ref);
            self.count_received(chunk.map_or(0, |bytes| bytes.len() as u64));
            match received {
                Ok(Some(chunk)) if chunk.len() < GATHERED_CHUNK_BYTES => {
                    self.gathered.extend_from_slice(&chunk);
                }
                following => self.following = Some(following),
            }
        }
        self.waited += start.elapsed();
    }

    /// Receives the next chunk from the origin.
    async fn receive(&mut self) -> Result<Option<Bytes>, OriginError> {
        let start = Instant::now();
        let chunk = timeout(self.idle_timeout, self.stream.next())
            .await
            .map_err(|_| ConnectionFault::Timeout(TimeoutPhase::Body))??;
        self.count_received(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64));
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

    fn count_received(&mut self, size_bytes: u64) {
        self.window_bytes += size_bytes;
        if let Some(counts) = &self.counts {
            counts.received_bytes.add(size_bytes);
        }
    }

    fn is_too_slow(&self) -> bool {
        self.window_bytes < self.min_speed_bytes.saturating_mul(self.waited.as_secs())
    }
}
