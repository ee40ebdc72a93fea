//! Body of an object of a peer. The main type is [`PiecedBody`].
//!
//! The peer that was asked first sends the body from its beginning, while the digests of the pieces
//! are looked for. Its bytes are compared with them too, and are returned piece by piece.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::time::{Instant, sleep_until};

use super::pull::{BegunResponse, PiecePull};
use super::shared::{PeerPieces, PreparedPieces};
use crate::cluster::{PeerClient, PeerError, PeerObject};
use crate::model::{PIECE_BYTES, Sha256};

/// How long the first bytes wait for the digests of the pieces. After that, the bytes of the first
/// peer are returned, and only the digest of the whole object decides on them.
const MAX_HOLD: Duration = Duration::from_millis(150);

/// Body of an object, from one peer or from several.
pub struct PiecedBody {
    shared: Arc<PeerPieces>,
    peer: PeerClient,
    size_bytes: u64,
    /// Offset of the next byte that is returned.
    position: u64,
    /// Bytes of the first response behind `position`.
    surplus: BytesMut,
    hold_until: Instant,
    stage: BodyStage,
}

enum BodyStage {
    /// The first response brings the bytes. The pieces are being looked for.
    Preparing(PeerObject, BoxFuture<'static, Option<PreparedPieces>>),
    /// The first response goes on to the next piece.
    Prepared(PeerObject, Box<PreparedPieces>),
    /// The first response brings the rest.
    Single(PeerObject),
    Pulling(Box<PiecePull>),
    /// Never kept: the first response was given away.
    Ended,
}

impl PiecedBody {
    /// Creates the body of an object of `size_bytes`, which a peer has begun to send from its
    /// beginning. The rest comes from all peers that have the object.
    #[must_use]
    pub fn new(
        shared: Arc<PeerPieces>,
        (peer, first): (PeerClient, PeerObject),
        sha256: Sha256,
        size_bytes: u64,
    ) -> Self {
        let preparing = Arc::clone(&shared).prepare(peer.clone(), sha256, size_bytes);
        Self {
            shared,
            peer,
            size_bytes,
            position: 0,
            surplus: BytesMut::new(),
            hold_until: Instant::now() + MAX_HOLD,
            stage: BodyStage::Preparing(first, preparing.boxed()),
        }
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    /// [`PeerError`] if no peer sends the rest.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        loop {
            self.begin_pulling();
            match &mut self.stage {
                BodyStage::Pulling(pull) => return pull.next().await,
                BodyStage::Single(_) | BodyStage::Prepared(..) => {
                    return self.next_of_first().await;
                }
                BodyStage::Preparing(..) => {
                    if let ControlFlow::Break(received) = self.prepare().await? {
                        return Ok(received);
                    }
                }
                BodyStage::Ended => return Err(self.peer.truncated()),
            }
        }
    }

    /// Takes the rest from several peers, if the next byte is the first of a piece.
    fn begin_pulling(&mut self) {
        let is_first_byte = self.position.is_multiple_of(PIECE_BYTES);
        if !is_first_byte || !matches!(self.stage, BodyStage::Prepared(..)) {
            return;
        }
        let stage = std::mem::replace(&mut self.stage, BodyStage::Ended);
        if let BodyStage::Prepared(first, prepared) = stage {
            let begun = BegunResponse {
                peer: self.peer.clone(),
                body: first,
                surplus: std::mem::take(&mut self.surplus),
                position: self.position,
            };
            let pull = PiecePull::new(Arc::clone(&self.shared), *prepared, begun);
            self.stage = BodyStage::Pulling(pull.into());
        }
    }

    /// Waits for the pieces, or the next bytes of the first response. Continues if the stage or the
    /// time has changed.
    async fn prepare(&mut self) -> Result<ControlFlow<Option<Bytes>>, PeerError> {
        let BodyStage::Preparing(first, preparing) = &mut self.stage else {
            return Ok(ControlFlow::Continue(()));
        };
        let is_held = Instant::now() < self.hold_until;
        tokio::select! {
            biased;
            prepared = preparing => {
                let stage = std::mem::replace(&mut self.stage, BodyStage::Ended);
                if let BodyStage::Preparing(first, _) = stage {
                    self.stage = match prepared {
                        Some(prepared) => BodyStage::Prepared(first, prepared.into()),
                        None => BodyStage::Single(first),
                    };
                }
                Ok(ControlFlow::Continue(()))
            }
            received = first.next(), if !is_held => {
                let bytes = received?;
                self.advance(bytes.as_ref().map_or(0, Bytes::len))?;
                Ok(ControlFlow::Break(bytes))
            }
            () = sleep_until(self.hold_until), if is_held => Ok(ControlFlow::Continue(())),
        }
    }

    /// Returns the next bytes of the first response, at most up to the next piece.
    async fn next_of_first(&mut self) -> Result<Option<Bytes>, PeerError> {
        let (BodyStage::Single(first) | BodyStage::Prepared(first, _)) = &mut self.stage else {
            return Ok(None);
        };
        let Some(mut bytes) = first.next().await? else {
            return Ok(None);
        };
        let rest = self.position.next_multiple_of(PIECE_BYTES) - self.position;
        let rest = usize::try_from(rest).expect("a piece fits into memory");
        if rest < bytes.len() && matches!(self.stage, BodyStage::Prepared(..)) {
            self.surplus.extend_from_slice(&bytes.split_off(rest));
        }
        self.advance(bytes.len())?;
        Ok(Some(bytes))
    }

    /// Counts bytes of the first response.
    ///
    /// # Errors
    /// [`PeerError`] if the peer has sent more than the object.
    fn advance(&mut self, count: usize) -> Result<(), PeerError> {
        self.position += count as u64;
        if self.position > self.size_bytes {
            return Err(PeerError::Invalid(self.peer.url().to_owned()));
        }
        Ok(())
    }
}
