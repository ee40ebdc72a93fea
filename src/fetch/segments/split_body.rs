//! Bytes of a body in order, from one response or from several ranges at once. The main type is
//! [`SplitBody`].
//!
//! The response to the first request goes on until its bytes meet the first range that another
//! connection brings. Until then, a host that refuses ranges costs nothing: the ranges are dropped,
//! and the first response brings the whole body.

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::plan::{SplitPlan, SplitTrigger};
use super::ranges::{NextBytes, Ranges};
use crate::origin::{Body, ConnectionFault, OriginError};

/// How long the first connection is measured.
const MEASURING_TIME: Duration = Duration::from_secs(5);

/// How long the first response waits for the answer to the first range. Then it goes on alone.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Body of a response, which may be split into ranges.
pub struct SplitBody<'a> {
    /// Response to the first request, until its bytes meet the first piece.
    first: Option<Body>,
    /// Bytes of the first response that belong to a piece which has no response yet.
    surplus: Bytes,
    /// Since when the first response waits for the answer to a range.
    paused_since: Option<Instant>,
    /// Offset of the next byte that is returned.
    position: u64,
    started: Instant,
    /// Bytes that were returned.
    returned_bytes: u64,
    splitting: Splitting<'a>,
}

enum Splitting<'a> {
    /// The first response brings the rest.
    Never,
    Possible(Box<SplitPlan<'a>>),
    Running(Box<Ranges<'a>>),
}

impl<'a> SplitBody<'a> {
    /// `position` is the offset of the first byte of `body`.
    pub fn new(body: Body, position: u64, plan: Option<SplitPlan<'a>>) -> Self {
        Self {
            first: Some(body),
            surplus: Bytes::new(),
            paused_since: None,
            position,
            started: Instant::now(),
            returned_bytes: 0,
            splitting: plan.map_or(Splitting::Never, |plan| Splitting::Possible(plan.into())),
        }
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    /// [`OriginError`] of the first response, or of the ranges once it was given up.
    /// [`ConnectionFault::ResumeFailed`] if the ranges of this origin cannot be trusted.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        self.begin_if_useful();
        loop {
            let Splitting::Running(ranges) = &mut self.splitting else {
                return self.next_of_first().await;
            };
            let is_paused = self.first.is_some() && ranges.starts_at(self.position);
            if is_paused && ranges.is_first_answered() {
                self.first = None;
                self.surplus.clear();
                ranges.take_over();
            }
            if self.first.is_none() {
                match ranges.take(self.position)? {
                    NextBytes::Bytes(bytes) => return Ok(Some(self.count(bytes))),
                    NextBytes::End => return Ok(None),
                    NextBytes::Nothing => {}
                }
            }
            ranges.open_connections(self.position, self.first.is_some());
            let connection_at = ranges.next_connection_at();
            let is_paused = is_paused && self.first.is_some();
            let pause_end = is_paused.then(|| {
                let since = self.paused_since.get_or_insert_with(Instant::now);
                *since + MAX_PAUSE
            });
            let first = self.first.as_mut().filter(|_| !is_paused);
            tokio::select! {
                received = next_of(first) => return Ok(self.take_from_first(received?)),
                stepped = ranges.step() => {
                    if let Err(error) = stepped {
                        self.stop_splitting(error)?;
                    }
                }
                () = wait_until(pause_end) => {
                    ranges.record_refusal("it does not answer");
                    self.splitting = Splitting::Never;
                }
                () = wait_until(connection_at) => {}
            }
        }
    }

    /// Returns whether a part of the body came from another response than the first.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.first.is_none()
    }

    /// Splits the rest of the body, if it is time.
    fn begin_if_useful(&mut self) {
        let Splitting::Possible(plan) = &self.splitting else {
            return;
        };
        let elapsed = self.started.elapsed();
        let is_useful = match plan.trigger {
            SplitTrigger::AtOnce => true,
            SplitTrigger::Below(_) if elapsed < MEASURING_TIME => return,
            SplitTrigger::Below(rate) => {
                let limit = u128::from(rate) * elapsed.as_millis() / 1000;
                u128::from(self.returned_bytes) < limit
            }
        };
        let splitting = std::mem::replace(&mut self.splitting, Splitting::Never);
        if let (Splitting::Possible(plan), true) = (splitting, is_useful) {
            self.splitting = Splitting::Running(Ranges::new(*plan, self.position).into());
        }
    }

    async fn next_of_first(&mut self) -> Result<Option<Bytes>, OriginError> {
        let received = if self.surplus.is_empty() {
            next_of(self.first.as_mut()).await?
        } else {
            Some(std::mem::take(&mut self.surplus))
        };
        Ok(received.map(|bytes| self.count(bytes)))
    }

    /// Returns bytes of the first response up to the first piece.
    fn take_from_first(&mut self, received: Option<Bytes>) -> Option<Bytes> {
        let mut bytes = received?;
        if let Splitting::Running(ranges) = &self.splitting
            && let Some(own_bytes) = ranges.bytes_before(self.position)
            && own_bytes < bytes.len()
        {
            self.surplus = bytes.split_off(own_bytes);
        }
        Some(self.count(bytes))
    }

    /// Counts bytes that are returned.
    fn count(&mut self, bytes: Bytes) -> Bytes {
        self.position += bytes.len() as u64;
        self.returned_bytes += bytes.len() as u64;
        if let Splitting::Running(ranges) = &mut self.splitting {
            ranges.keep_tail(&bytes);
        }
        bytes
    }

    /// Goes on with the first response alone.
    ///
    /// # Errors
    /// The error of the ranges, if the first response was given up.
    fn stop_splitting(&mut self, error: OriginError) -> Result<(), OriginError> {
        self.splitting = Splitting::Never;
        if self.first.is_some() {
            tracing::debug!(%error, "ranges failed, one connection brings the body");
            return Ok(());
        }
        // Other errors would end the fetch, although they concern the ranges only.
        Err(if error.is_transient() {
            error
        } else {
            ConnectionFault::ResumeFailed.into()
        })
    }
}

/// Returns the next bytes of a body. Without one, never.
async fn next_of(body: Option<&mut Body>) -> Result<Option<Bytes>, OriginError> {
    match body {
        Some(body) => body.next().await,
        None => pending().await,
    }
}

async fn wait_until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
