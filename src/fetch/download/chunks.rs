//! Bytes of a body in order, over one connection or several. The main type is [`BodyChunks`].

use std::sync::Arc;

use bytes::Bytes;

use super::Download;
use super::from_peer::{is_peer, peer_is_silent};
use super::split::split_plan;
use crate::cluster::{PeerClient, PeerError, PeerObject};
use crate::fetch::pieces::PiecedBody;
use crate::fetch::segments::SplitBody;
use crate::model::PieceList;
use crate::origin::{ConnectionFault, OriginError, Response};

/// Body of a response, and where its rest comes from.
pub enum BodyChunks<'a> {
    /// The source of the response, also in ranges.
    OneSource(Box<SplitBody<'a>>),
    OnePeer(Box<PeerObject>),
    /// All peers that have the object.
    Peers(Box<PiecedBody>),
}

impl<'a> BodyChunks<'a> {
    /// Creates the body of a response, whose first byte is at `start`.
    pub fn of(download: &Download<'a>, response: Response, start: u64) -> Self {
        let state = download.state;
        if let Some(source) = download.source.filter(|source| is_peer(source))
            && let Some(peer) = PeerClient::of_url(&state.cluster, source.target())
        {
            let size_bytes = pieced_bytes(&response, start);
            let body = PeerObject::new(peer.clone(), response.into_body());
            let Some((size_bytes, sha256)) = size_bytes.zip(download.stated_digest) else {
                return Self::OnePeer(body.into());
            };
            let pieces = Arc::clone(&state.peer_pieces);
            return Self::Peers(PiecedBody::new(pieces, (peer, body), sha256, size_bytes).into());
        }
        let plan = split_plan(download, &response, start);
        Self::OneSource(SplitBody::new(response.into_body(), start, plan).into())
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    /// [`OriginError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        match self {
            Self::OneSource(body) => body.next().await,
            Self::OnePeer(body) => body.next().await.map_err(error_of),
            Self::Peers(body) => body.next().await.map_err(error_of),
        }
    }

    /// Returns whether the body has peers as sources, whose silence it finds by itself.
    pub fn is_from_peers(&self) -> bool {
        matches!(self, Self::OnePeer(_) | Self::Peers(_))
    }

    /// Returns whether a part came from a response that was not compared with the bytes before.
    /// Pieces are compared with their digests.
    pub fn is_split(&self) -> bool {
        match self {
            Self::OneSource(body) => body.is_split(),
            Self::OnePeer(_) | Self::Peers(_) => false,
        }
    }
}

/// Returns the size of an object that may come in pieces, if a response has it from its beginning.
fn pieced_bytes(response: &Response, start: u64) -> Option<u64> {
    let size_bytes = response.length().filter(|size| PieceList::is_for(*size))?;
    let is_whole = start == 0 && response.header("content-encoding").is_none();
    is_whole.then_some(size_bytes)
}

/// Returns the error of a source for one of its peers. The origin sends the rest.
fn error_of(error: PeerError) -> OriginError {
    match error {
        PeerError::Request { error, .. } if error.is_transient() => error,
        PeerError::Silent(_) => peer_is_silent(),
        _ => ConnectionFault::ResumeFailed.into(),
    }
}
