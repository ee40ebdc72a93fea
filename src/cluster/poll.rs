//! Asks each peer for its state every few seconds.

use std::io;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::link::LinkState;
use super::mark::{
    ANY_RECIPIENT, MARK_FIELD, MAX_CLOCK_SKEW, MarkedRequest, PROOF_FIELD, REFUSAL_FIELD,
    milliseconds,
};
use super::membership::Cluster;
use super::node::NodeDocument;
use super::open_link::open;
use super::peer_state::PeerState;
use super::peer_table::PeerView;
use super::urls::base_of;
use crate::dial::Reach;
use crate::model::{Scheme, Target};
use crate::origin::{Body, Method, OriginError, OriginRequest, Response};

/// Path at which a node states its facts.
pub const NODE_PATH: &str = "/api/v1/node";

/// Time between two polls of a peer.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Shortest time between two polls, if requests of peers wake the poller.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Longest wait for a peer's answer.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// Request field of a poll of a peer that was not seen before, or was silent. The peer then polls
/// too, so that a node that starts is known at once. The content of the field has no meaning.
pub const WAKE_FIELD: &str = "millpond-peer-wake";

/// Request of a poll.
pub const POLL_REQUEST: MarkedRequest<'_> = MarkedRequest {
    recipient: ANY_RECIPIENT,
    method: "GET",
    target: NODE_PATH,
};

/// Maximum length of the document of a peer.
const MAX_DOCUMENT_BYTES: usize = 16 * 1024;

impl Cluster {
    /// Polls the peers for ever. Returns at once if this node belongs to no cluster.
    pub async fn run(&self) {
        if self.key().is_none() {
            return;
        }
        loop {
            join_all(self.peers().into_iter().map(|peer| self.poll(peer))).await;
            sleep(MIN_POLL_INTERVAL).await;
            let rest = POLL_INTERVAL.saturating_sub(MIN_POLL_INTERVAL);
            tokio::select! {
                () = sleep(rest) => {}
                () = self.table.wait_awake() => {}
            }
        }
    }

    async fn poll(&self, peer: PeerView) {
        let url = &peer.url;
        let answer = timeout(POLL_TIMEOUT, self.ask(&peer)).await;
        let (state, node) = match answer {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::debug!(peer = url.as_str(), %error, "poll of a peer failed");
                (PeerState::Silent, None)
            }
            // A busy peer answers pings only.
            Err(_) if self.link_to(url).is_some_and(|link| link.is_answering()) => return,
            Err(_) => (PeerState::Silent, None),
        };
        if let (PeerState::Ready | PeerState::Draining, Some(node)) = (state, &node) {
            self.keep_link(url, &node.run).await;
        }
        self.table.set_state(url, state, node);
    }

    /// Opens the link to the process `recipient` at a URL, unless it is open.
    async fn keep_link(&self, url: &Target, recipient: &str) {
        let (Some(key), Some(link)) = (self.key(), self.link_to(url)) else {
            return;
        };
        // TLS ends at a front server, which has no links.
        if link.is_open() || url.scheme() != Scheme::Http {
            return;
        }
        let (host, port) = (url.host(), url.port());
        let connecting = self
            .dialer
            .connect_to_host(host, port, Reach::Configured, None);
        let opening = async {
            let stream = connecting.await.map_err(io::Error::other)?;
            open(stream, &format!("{host}:{port}"), key, recipient).await
        };
        let opened = timeout(POLL_TIMEOUT, opening).await;
        match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => self.links.send_pings(stream, link),
            Err(error) => {
                tracing::debug!(peer = url.as_str(), %error, "peer has no link");
                link.set(LinkState::Absent);
            }
        }
    }

    /// Asks a peer for its document.
    async fn ask(&self, peer: &PeerView) -> Result<(PeerState, Option<NodeDocument>), OriginError> {
        let silent = Ok((PeerState::Silent, None));
        let at_peer = Target::parse(&format!("{}{NODE_PATH}", base_of(&peer.url)));
        let (Some(key), Ok(target)) = (self.key(), at_peer) else {
            return silent;
        };
        let admitted = self.policy.admit_peer(target);
        let sent = SystemTime::now();
        let mark = key.mark(POLL_REQUEST, sent);
        let mut headers = vec![(MARK_FIELD.to_owned(), mark.value.into_bytes())];
        if peer.needs_wake {
            headers.push((WAKE_FIELD.to_owned(), b"1".to_vec()));
        }
        let request = OriginRequest {
            headers,
            follow_redirects: false,
            ..OriginRequest::new(Method::Get)
        };
        let response = self.origin.request(&admitted, request).await?;
        if response.status() != 200 {
            return Ok((state_of_refusal(&response), None));
        }
        let proof = response.header(PROOF_FIELD).unwrap_or_default().to_owned();
        let Some(body) = read_document(response.into_body()).await? else {
            return silent;
        };
        if !key.is_proven(&mark.nonce, &body, &proof) {
            return Ok((PeerState::WrongSecret, None));
        }
        let Ok(node) = serde_json::from_slice::<NodeDocument>(&body) else {
            // Only another version states other facts.
            return Ok((PeerState::OtherVersion, None));
        };
        Ok((
            self.judge(peer, &node, (sent, SystemTime::now())),
            Some(node),
        ))
    }

    /// Returns the state of a peer by its document, which was requested and received at these
    /// times.
    fn judge(
        &self,
        peer: &PeerView,
        node: &NodeDocument,
        (sent, received): (SystemTime, SystemTime),
    ) -> PeerState {
        let earliest = milliseconds(sent.checked_sub(MAX_CLOCK_SKEW).unwrap_or(sent));
        let latest = milliseconds(received + MAX_CLOCK_SKEW);
        let own = self.own();
        if node.id == own.id {
            PeerState::Itself
        } else if peer.is_found && !states_address(node, &peer.url) {
            PeerState::OtherAddress
        } else if !node.folder.is_empty() && node.folder == own.folder {
            PeerState::SameFolder
        } else if node.version != own.version || node.layout != own.layout {
            PeerState::OtherVersion
        } else if !(earliest..=latest).contains(&node.clock_ms) {
            PeerState::WrongClock
        } else if node.ready && node.draining {
            PeerState::Draining
        } else if node.ready {
            PeerState::Ready
        } else {
            PeerState::Unready
        }
    }
}

/// Returns whether a node states this URL as its own. Otherwise the URL may be that of a server
/// that passes requests on to the node.
fn states_address(node: &NodeDocument, url: &Target) -> bool {
    let stated = node
        .advertise
        .as_deref()
        .and_then(|url| Target::parse(url).ok());
    stated.is_some_and(|stated| base_of(&stated) == base_of(url))
}

fn state_of_refusal(response: &Response) -> PeerState {
    match response.header(REFUSAL_FIELD) {
        Some("secret") => PeerState::WrongSecret,
        Some("clock") => PeerState::WrongClock,
        _ => PeerState::Silent,
    }
}

/// Reads a body. Returns `None` for one that is too long.
async fn read_document(mut body: Body) -> Result<Option<Vec<u8>>, OriginError> {
    let mut document = Vec::new();
    while let Some(bytes) = body.next().await? {
        if document.len() + bytes.len() > MAX_DOCUMENT_BYTES {
            return Ok(None);
        }
        document.extend_from_slice(&bytes);
    }
    Ok(Some(document))
}
