//! Pieces of an object that several peers send at the same time, in their order. The main type is
//! [`PiecePull`].
//!
//! A piece is returned only if it has its digest. A peer with another piece is dropped, and is
//! named once a further peer has sent the right one. If a further peer sends the same bytes, the
//! list is wrong.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};
use tokio::time::{Instant, sleep_until};

use super::connection::{PieceRun, PiecedObject, ReceivedPiece};
use super::plan::PiecePlan;
use super::shared::{PeerPieces, PreparedPieces};
use super::sources::{NextSource, PieceSources, SourceFailure};
use crate::cluster::{PeerClient, PeerError, PeerObject};
use crate::model::{PIECE_BYTES, Sha256};

/// Bounds of the number of connections of one body. Each peer gets two, so that one has a request
/// while the other one's bytes arrive.
const MIN_CONNECTIONS: usize = 4;
const MAX_CONNECTIONS: usize = 6;

/// Longest run of pieces in one request. Longer ones take more memory.
const MAX_RUN: usize = 2;

/// How many pieces may be ahead of the one that is returned next, beyond those of the connections.
const PIECES_AHEAD: usize = 2;

/// How long until a place in memory is looked for again.
const SEARCH_INTERVAL: Duration = Duration::from_millis(500);

/// Body of an object, whose pieces come from several peers.
pub struct PiecePull {
    shared: Arc<PeerPieces>,
    object: Arc<PiecedObject>,
    peers: Vec<PeerClient>,
    list_peer: PeerClient,
    plan: PiecePlan,
    sources: PieceSources,
    connections: usize,
    steps: FuturesUnordered<BoxFuture<'static, (PieceRun, ReceivedPiece)>>,
    /// Right pieces that wait for one before them.
    ahead: BTreeMap<usize, PlacedPiece>,
    /// The piece that is returned next.
    next: usize,
    suspects: Vec<PieceSuspect>,
    retry_at: Option<Instant>,
    last_error: Option<PeerError>,
    /// Memory of the piece that is returned next, and of the one that arrives.
    _places: OwnedSemaphorePermit,
}

/// A piece, and its place in memory.
struct PlacedPiece {
    bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

/// Piece whose bytes are not those of the list. The peer or the list is wrong.
struct PieceSuspect {
    at: usize,
    source: usize,
    found: Sha256,
}

/// Response with the whole object, of which the first `position` bytes were taken.
pub struct BegunResponse {
    pub peer: PeerClient,
    pub body: PeerObject,
    /// Bytes that were received behind `position`.
    pub surplus: BytesMut,
    pub position: u64,
}

impl PiecePull {
    /// Creates the rest of a body, from the first byte of a piece on. The response that was begun
    /// brings the first pieces, unless its peer is not one of the sources.
    pub fn new(shared: Arc<PeerPieces>, prepared: PreparedPieces, begun: BegunResponse) -> Self {
        let PreparedPieces {
            object,
            peers,
            list_peer,
            places,
        } = prepared;
        let connections = (2 * peers.len()).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS);
        let next = begun.position / PIECE_BYTES;
        let next = usize::try_from(next).expect("a list of pieces fits into memory");
        let mut plan = PiecePlan::new(object.list.digests().len(), connections);
        for at in 0..next {
            plan.complete(at);
        }
        let sources = PieceSources::new(peers.iter().map(|peer| peer.url().to_owned()));
        let mut pull = Self {
            shared,
            object: Arc::new(object),
            peers,
            list_peer,
            plan,
            sources,
            connections,
            steps: FuturesUnordered::new(),
            ahead: BTreeMap::new(),
            next,
            suspects: Vec::new(),
            retry_at: None,
            last_error: None,
            _places: places,
        };
        pull.go_on_with(begun);
        pull
    }

    fn go_on_with(&mut self, begun: BegunResponse) {
        let mut peers = self.peers.iter();
        let Some(source) = peers.position(|peer| peer.url() == begun.peer.url()) else {
            return;
        };
        let Some(pieces) = self.plan.claim_before(self.next + MAX_RUN, MAX_RUN) else {
            return;
        };
        self.sources.begin(source);
        self.start(PieceRun {
            source,
            client: begun.peer,
            pieces,
            body: Some(begun.body),
            rest: begun.surplus,
            places: None,
        });
    }

    /// Returns the next piece, or `None` at the end.
    ///
    /// # Errors
    /// [`PeerError`] if no peer is left, or the list of pieces is wrong.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        loop {
            if let Some(piece) = self.ahead.remove(&self.next) {
                self.next += 1;
                return Ok(Some(piece.bytes));
            }
            if self.next == self.object.list.digests().len() {
                return Ok(None);
            }
            self.open_connections();
            if self.steps.is_empty() && self.retry_at.is_none() {
                return Err(self.give_up());
            }
            let retry_at = self.retry_at;
            tokio::select! {
                Some((run, received)) = self.steps.next() => self.settle(run, received)?,
                () = wait_until(retry_at) => {}
            }
        }
    }

    /// Gives the next pieces to connections, until all have some.
    fn open_connections(&mut self) {
        self.retry_at = None;
        while self.steps.len() < self.connections {
            let now = Instant::now();
            let source = match self.sources.next(now) {
                NextSource::Ask(source) => source,
                NextSource::WaitUntil(until) => {
                    self.retry_at = Some(until);
                    return;
                }
                NextSource::Nothing => return,
            };
            let window = self.connections * MAX_RUN + PIECES_AHEAD;
            let claimed = self.plan.claim_before(self.next + window, MAX_RUN);
            let Some(mut pieces) = claimed else {
                self.sources.end(source, Ok(()), now);
                return;
            };
            // A piece that is returned at once needs no place, so that the body always goes on.
            let is_next = pieces.start == self.next;
            let count = pieces.len() - usize::from(is_next);
            let places = match self.places(count) {
                Ok(places) => Some(places),
                Err(_) if is_next => {
                    self.plan.release(pieces.start + 1..pieces.end);
                    pieces.end = pieces.start + 1;
                    None
                }
                Err(_) => {
                    self.plan.release(pieces);
                    self.sources.end(source, Ok(()), now);
                    self.retry_at = Some(now + SEARCH_INTERVAL);
                    return;
                }
            };
            self.start(PieceRun {
                source,
                client: self.peers[source].clone(),
                pieces,
                body: None,
                rest: BytesMut::new(),
                places,
            });
        }
    }

    /// Returns places in memory for so many pieces, if there are enough.
    fn places(&self, count: usize) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        let count = u32::try_from(count).expect("a run is short");
        Arc::clone(&self.shared.places).try_acquire_many_owned(count)
    }

    fn start(&self, run: PieceRun) {
        self.steps
            .push(run.receive(Arc::clone(&self.object)).boxed());
    }

    /// Records the result of waiting for a piece.
    ///
    /// # Errors
    /// [`PeerError`] if the list of pieces is wrong.
    fn settle(&mut self, mut run: PieceRun, received: ReceivedPiece) -> Result<(), PeerError> {
        let (at, source) = (run.pieces.start, run.source);
        let failure = match received {
            ReceivedPiece::Right(bytes) => {
                let place = run.places.as_mut().and_then(|places| places.split(1));
                self.take(source, at, bytes, place);
                run.pieces.start += 1;
                if run.pieces.is_empty() {
                    self.sources.end(source, Ok(()), Instant::now());
                } else {
                    self.start(run);
                }
                return Ok(());
            }
            ReceivedPiece::Wrong(found) => {
                self.suspect(PieceSuspect { at, source, found })?;
                SourceFailure::Lasting(format!("piece {at} has wrong bytes"))
            }
            ReceivedPiece::Failed(error) => {
                let (is_passing, text) = (error.is_transient(), error.to_string());
                self.last_error = Some(error);
                if is_passing {
                    SourceFailure::Passing(text)
                } else {
                    SourceFailure::Lasting(text)
                }
            }
        };
        self.plan.release(run.pieces);
        if let Some(reason) = self.sources.end(source, Err(failure), Instant::now()) {
            let (peer, sha256) = (self.peers[source].url(), self.object.sha256);
            tracing::info!(peer, %sha256, reason, "peer is asked for no more pieces of an object");
        }
        Ok(())
    }

    /// Keeps a right piece, unless another connection was faster.
    fn take(
        &mut self,
        source: usize,
        at: usize,
        bytes: Bytes,
        place: Option<OwnedSemaphorePermit>,
    ) {
        if !self.plan.complete(at) {
            return;
        }
        self.sources.note_piece(source, bytes.len());
        let piece = PlacedPiece {
            bytes,
            _place: place,
        };
        self.ahead.insert(at, piece);
        let is_settled = |suspect: &mut PieceSuspect| suspect.at == at;
        for liar in self.suspects.extract_if(.., is_settled).collect::<Vec<_>>() {
            self.report(&liar);
        }
    }

    /// Records a piece with other bytes than those of the list.
    ///
    /// # Errors
    /// [`PeerError::Invalid`] if two peers have the same bytes.
    fn suspect(&mut self, suspect: PieceSuspect) -> Result<(), PeerError> {
        if self.plan.has(suspect.at) {
            self.report(&suspect);
            return Ok(());
        }
        let is_confirmed = |other: &PieceSuspect| {
            (other.at, other.found) == (suspect.at, suspect.found) && other.source != suspect.source
        };
        if self.suspects.iter().any(is_confirmed) {
            self.suspects.clear();
            let reason = format!("states a wrong digest of piece {}", suspect.at);
            let (shared, list_peer) = (&self.shared, &self.list_peer);
            shared.distrust(list_peer, self.object.sha256, &reason);
            return Err(PeerError::Invalid(list_peer.url().to_owned()));
        }
        self.suspects.push(suspect);
        Ok(())
    }

    fn report(&self, liar: &PieceSuspect) {
        let reason = format!("has sent wrong bytes of piece {}", liar.at);
        let peer = &self.peers[liar.source];
        self.shared.distrust(peer, self.object.sha256, &reason);
    }

    /// Names the peers whose bytes no other peer has confirmed, and returns the last error.
    fn give_up(&mut self) -> PeerError {
        for liar in std::mem::take(&mut self.suspects) {
            self.report(&liar);
        }
        let error = self.last_error.take();
        error.unwrap_or_else(|| self.list_peer.truncated())
    }
}

async fn wait_until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
