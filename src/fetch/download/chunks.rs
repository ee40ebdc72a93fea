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
    /// All peers that have the object.
    Peers(Box<PiecedBody>),
}

impl<'a> BodyChunks<'a> {
    /// Creates the body of a response, whose first byte is at `start`.
    pub fn of(download: &Download<'a>, response: Response, start: u64) -> Self {
        if let Some((peer, size_bytes)) = sending_peer(download, &response, start)
            && let Some(sha256) = download.stated_digest
        {
            let first = PeerObject::new(peer.clone(), response.into_body());
            let pieces = Arc::clone(&download.state.peer_pieces);
            let body = PiecedBody::new(pieces, (peer, first), sha256, size_bytes);
            return Self::Peers(body.into());
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
            Self::Peers(body) => body.next().await.map_err(error_of),
        }
    }

    /// Returns whether the body has peers as sources, whose silence it finds by itself.
    pub fn is_from_peers(&self) -> bool {
        matches!(self, Self::Peers(_))
    }

    /// Returns whether a part came from a response that was not compared with the bytes before.
    /// Pieces are compared with their digests.
    pub fn is_split(&self) -> bool {
        match self {
            Self::OneSource(body) => body.is_split(),
            Self::Peers(_) => false,
        }
    }
}

/// Returns the peer that sends a large object from its beginning, and the size of the object.
fn sending_peer(
    download: &Download<'_>,
    response: &Response,
    start: u64,
) -> Option<(PeerClient, u64)> {
    let source = download.source.filter(|source| is_peer(source))?;
    let size_bytes = response.length().filter(|size| PieceList::is_for(*size))?;
    let is_whole = start == 0 && response.header("content-encoding").is_none();
    let peer = PeerClient::of_url(&download.state.cluster, source.target());
    peer.filter(|_| is_whole).map(|peer| (peer, size_bytes))
}

/// Returns the error of a source for one of its peers. The origin sends the rest.
fn error_of(error: PeerError) -> OriginError {
    match error {
        PeerError::Request { error, .. } if error.is_transient() => error,
        PeerError::Silent(_) => peer_is_silent(),
        _ => ConnectionFault::ResumeFailed.into(),
    }
}
