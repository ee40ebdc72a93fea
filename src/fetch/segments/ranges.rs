//! Connections that each bring one piece of a body after the other. The main type is [`Ranges`].

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::piece::{RangePiece, SEAM_BYTES, is_answered_by};
use super::plan::SplitPlan;
use crate::fetch::host_limits::HostUse;
use crate::fetch::moving_permit::MovingPermit;
use crate::origin::{Body, ConnectionFault, HostPermits, OriginError};
use crate::policy::Admitted;

/// How long until a permit or a place in memory is looked for again.
const SEARCH_INTERVAL: Duration = Duration::from_millis(500);

/// Pieces of a body, and the connections that bring them.
pub struct Ranges<'a> {
    plan: SplitPlan<'a>,
    piece_bytes: u64,
    /// Pieces that were requested and not returned yet, in order and without gaps.
    pieces: VecDeque<RangePiece<'a>>,
    /// Steps of the connections that have a piece.
    steps: FuturesUnordered<BoxFuture<'a, Step<'a>>>,
    /// Connections without a piece.
    idle: Vec<RangePermit<'a>>,
    /// Whether a further connection was opened since the last response to a request for a piece.
    /// They are opened one by one, so that a host which refuses ranges gets few requests.
    is_opening: bool,
    next_connection_at: Option<Instant>,
    /// Last bytes that were returned.
    tail: BytesMut,
}

/// Result of looking for the next bytes.
pub enum NextBytes {
    Bytes(Bytes),
    End,
    /// They were not received yet.
    Nothing,
}

/// Permit of a connection for the host that it asks.
enum RangePermit<'a> {
    /// Permit of the fetch, whose first response was given up.
    OfFetch,
    Own(MovingPermit<'a>),
}

impl HostPermits for RangePermit<'_> {
    async fn move_to(&mut self, hop: &Admitted) -> Result<(), OriginError> {
        match self {
            Self::OfFetch => Ok(()),
            Self::Own(permit) => permit.move_to(hop).await,
        }
    }
}

/// Connection that brings a piece.
struct RangeConnection<'a> {
    permit: RangePermit<'a>,
    /// Offset of the piece.
    start: u64,
    body: Body,
}

/// Result of waiting for a connection.
enum Step<'a> {
    Opened(Result<RangeConnection<'a>, OriginError>),
    Received(RangeConnection<'a>, Result<Option<Bytes>, OriginError>),
}

impl<'a> Ranges<'a> {
    /// Creates the ranges of a body of which the bytes up to `position` were received.
    pub fn new(plan: SplitPlan<'a>, position: u64) -> Self {
        Self {
            piece_bytes: plan.piece_bytes(position),
            plan,
            pieces: VecDeque::new(),
            steps: FuturesUnordered::new(),
            idle: Vec::new(),
            is_opening: false,
            next_connection_at: None,
            tail: BytesMut::new(),
        }
    }

    /// Returns how many bytes are before the first piece. `None` without a piece.
    pub fn bytes_before(&self, position: u64) -> Option<usize> {
        let piece = self.pieces.front()?;
        usize::try_from(piece.range.start.saturating_sub(position)).ok()
    }

    /// Returns whether the first piece begins at `position`.
    pub fn starts_at(&self, position: u64) -> bool {
        self.bytes_before(position) == Some(0)
    }

    /// Returns whether the origin has answered with the first piece.
    pub fn is_first_answered(&self) -> bool {
        self.pieces.front().is_some_and(RangePiece::is_answered)
    }

    /// Adds a connection with the permit of the fetch, whose first response is given up.
    pub fn take_over(&mut self) {
        self.idle.push(RangePermit::OfFetch);
    }

    /// Takes the bytes at `position` from the first piece.
    ///
    /// # Errors
    /// [`ConnectionFault::ResumeFailed`] if the piece does not continue the bytes before it.
    pub fn take(&mut self, position: u64) -> Result<NextBytes, OriginError> {
        while let Some(piece) = self.pieces.front_mut() {
            if let Some(bytes) = piece.pop() {
                if !piece.continues(&self.tail) {
                    self.record_refusal("its ranges do not fit together");
                    return Err(ConnectionFault::ResumeFailed.into());
                }
                return Ok(NextBytes::Bytes(bytes));
            }
            if !piece.is_complete() {
                return Ok(NextBytes::Nothing);
            }
            self.pieces.pop_front();
        }
        Ok(if position == self.plan.complete_bytes {
            NextBytes::End
        } else {
            NextBytes::Nothing
        })
    }

    /// Keeps the last bytes that were returned, for the seam of the next piece.
    pub fn keep_tail(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(SEAM_BYTES)..];
        self.tail.extend_from_slice(new);
        let surplus = self.tail.len().saturating_sub(SEAM_BYTES);
        drop(self.tail.split_to(surplus));
    }

    /// Gives pieces to idle connections, and opens the next one if it is time. `position` is the
    /// offset of the next byte that is returned, and `has_first` whether the first response brings
    /// it.
    pub fn open_connections(&mut self, position: u64, has_first: bool) {
        let mut start = match self.pieces.back() {
            Some(last) => last.range.end,
            // The first response goes on for one piece.
            None if has_first => position + self.piece_bytes,
            None => position,
        };
        let now = Instant::now();
        if self.idle.is_empty() && self.next_connection_at.is_some_and(|at| now < at) {
            return;
        }
        self.next_connection_at = None;
        while start < self.plan.complete_bytes && self.pieces.len() < self.plan.max_pieces() {
            let place = self.plan.hosts.try_place();
            // A piece that is read at once needs no place, so that the body always goes on.
            if place.is_none() && (has_first || !self.pieces.is_empty()) {
                self.next_connection_at = Some(now + SEARCH_INTERVAL);
                return;
            }
            let Some(permit) = self.idle.pop().or_else(|| self.new_connection(has_first)) else {
                return;
            };
            let end = (start + self.piece_bytes).min(self.plan.complete_bytes);
            self.request(permit, RangePiece::new(start..end, place));
            start = end;
        }
    }

    /// Returns a permit for a further connection, if one may be opened now.
    fn new_connection(&mut self, has_first: bool) -> Option<RangePermit<'a>> {
        let plan = &self.plan;
        let connections = self.steps.len() + self.idle.len() + usize::from(has_first);
        if self.is_opening || connections >= plan.segments {
            return None;
        }
        let host = plan.admitted.target().host();
        if let Err(next_at) = plan.hosts.reserve_connection(host) {
            self.next_connection_at = Some(next_at);
            return None;
        }
        let mut permit = MovingPermit::new(
            plan.limiter,
            plan.readership,
            HostUse::Fetch,
            plan.longest_wait,
        );
        // A further connection must not wait for permits that other fetches need.
        let Some(Ok(())) = permit.acquire(plan.admitted).now_or_never() else {
            self.next_connection_at = Some(Instant::now() + SEARCH_INTERVAL);
            return None;
        };
        self.is_opening = true;
        Some(RangePermit::Own(permit))
    }

    /// Returns when another connection may be opened. `None` if only a step can allow it.
    pub fn next_connection_at(&self) -> Option<Instant> {
        self.next_connection_at
    }

    /// Starts the request for a piece.
    fn request(&mut self, mut permit: RangePermit<'a>, piece: RangePiece<'a>) {
        let plan = &self.plan;
        let (origin, admitted) = (plan.origin, plan.admitted);
        let (validator, complete_bytes) = (plan.validator.clone(), plan.complete_bytes);
        let request = piece.request(&validator, plan.digest_expected);
        let range = piece.range.clone();
        self.pieces.push_back(piece);
        let opening = async move {
            permit.move_to(admitted).await?;
            let sent = origin.request_within(admitted, request, &mut permit);
            let response = sent.await?;
            if !is_answered_by(&range, complete_bytes, &validator, &response) {
                return Err(match response.status() {
                    200..=299 => ConnectionFault::ResumeFailed.into(),
                    _ => response.as_error(),
                });
            }
            Ok(RangeConnection {
                permit,
                start: range.start,
                body: response.into_body(),
            })
        };
        self.steps.push(opening.map(Step::Opened).boxed());
    }

    /// Waits for a step of any connection. Never returns if no connection has a piece.
    ///
    /// # Errors
    /// [`OriginError`] if a connection failed.
    pub async fn step(&mut self) -> Result<(), OriginError> {
        match self.steps.next().await {
            None => pending().await,
            Some(Step::Opened(opened)) => self.begin_piece(opened),
            Some(Step::Received(connection, received)) => self.receive(connection, received?),
        }
    }

    fn begin_piece(
        &mut self,
        opened: Result<RangeConnection<'a>, OriginError>,
    ) -> Result<(), OriginError> {
        self.is_opening = false;
        let connection = opened.inspect_err(|error| {
            let is_own = error.is_own_shortage()
                || matches!(
                    error,
                    OriginError::Unreachable(ConnectionFault::NoFreeConnection)
                );
            if !is_own {
                self.record_refusal(&error.to_string());
            }
        })?;
        self.piece_at(connection.start)?.mark_answered();
        self.await_bytes(connection);
        Ok(())
    }

    fn receive(
        &mut self,
        connection: RangeConnection<'a>,
        received: Option<Bytes>,
    ) -> Result<(), OriginError> {
        let bytes = received.ok_or(ConnectionFault::Truncated)?;
        let piece = self.piece_at(connection.start)?;
        let pushed = piece.push(bytes);
        pushed.map_err(|_| ConnectionFault::ResumeFailed)?;
        if piece.is_complete() {
            self.idle.push(connection.permit);
        } else {
            self.await_bytes(connection);
        }
        Ok(())
    }

    fn await_bytes(&mut self, mut connection: RangeConnection<'a>) {
        let receiving = async move {
            let received = connection.body.next().await;
            Step::Received(connection, received)
        };
        self.steps.push(receiving.boxed());
    }

    /// Returns the piece that begins at `start`. A connection has one until it is complete.
    fn piece_at(&mut self, start: u64) -> Result<&mut RangePiece<'a>, ConnectionFault> {
        let mut pieces = self.pieces.iter_mut();
        let found = pieces.find(|piece| piece.range.start == start);
        found.ok_or(ConnectionFault::ResumeFailed)
    }

    /// Asks the host for no more ranges, for this reason.
    pub fn record_refusal(&self, reason: &str) {
        let host = self.plan.admitted.target().host();
        self.plan.hosts.record_refusal(host);
        tracing::info!(host, reason, "host is asked for no ranges for an hour");
    }
}
