//! One connection that brings consecutive pieces of an object of a peer. The main type is
//! [`PieceRun`].

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use crate::cluster::{PeerClient, PeerError, PeerObject};
use crate::model::{PieceList, Sha256};

/// Object of which pieces are fetched.
#[derive(Debug)]
pub struct PiecedObject {
    pub sha256: Sha256,
    pub list: PieceList,
}

/// Consecutive pieces that a connection brings.
pub struct PieceRun {
    /// Number of the source.
    pub source: usize,
    pub client: PeerClient,
    /// Pieces that are missing.
    pub pieces: Range<usize>,
    /// Response with the missing pieces. `None` before the request.
    pub body: Option<PeerObject>,
    /// Bytes that were received and belong to no complete piece.
    pub rest: BytesMut,
    /// Places in memory of the missing pieces. One that is returned at once needs none.
    pub places: Option<OwnedSemaphorePermit>,
}

/// Result of waiting for a piece.
pub enum ReceivedPiece {
    Right(Bytes),
    /// The bytes have this digest, which is not that of the list.
    Wrong(Sha256),
    Failed(PeerError),
}

impl PieceRun {
    /// Receives the first missing piece, and compares it with its digest.
    pub async fn receive(mut self, object: Arc<PiecedObject>) -> (Self, ReceivedPiece) {
        let at = self.pieces.start;
        let received = match self.receive_bytes(&object, at).await {
            Ok(bytes) => check(object, at, bytes).await,
            Err(error) => ReceivedPiece::Failed(error),
        };
        (self, received)
    }

    async fn receive_bytes(
        &mut self,
        object: &PiecedObject,
        at: usize,
    ) -> Result<Bytes, PeerError> {
        let length = object.list.length_of(at);
        let body = if let Some(body) = &mut self.body {
            body
        } else {
            let behind = PieceList::first_of(self.pieces.end);
            let part = PieceList::first_of(at)..behind.min(object.list.size_bytes());
            let size_bytes = object.list.size_bytes();
            let sent = self.client.object_part(object.sha256, part, size_bytes);
            self.body.insert(sent.await?)
        };
        while self.rest.len() < length {
            let bytes = body.next().await?;
            let bytes = bytes.ok_or_else(|| self.client.truncated())?;
            self.rest.extend_from_slice(&bytes);
        }
        Ok(self.rest.split_to(length).freeze())
    }
}

/// Compares a piece with its digest, on a thread that may be busy for so long.
async fn check(object: Arc<PiecedObject>, at: usize, bytes: Bytes) -> ReceivedPiece {
    let checking = spawn_blocking(move || {
        let found = PieceList::digest_of(&bytes);
        match object.list.digests().get(at) {
            Some(digest) if *digest == found => ReceivedPiece::Right(bytes),
            _ => ReceivedPiece::Wrong(found),
        }
    });
    let checked = checking.await;
    checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
