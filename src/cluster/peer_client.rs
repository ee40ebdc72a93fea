//! Requests of this node to the API of one peer: documents with a proof, and objects.
//!
//! This file must not know what is copied. The main type is [`PeerClient`].

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::mark::{MarkedRequest, PROOF_FIELD, REFUSAL_FIELD};
use super::membership::Cluster;
use super::node::NodeDocument;
use super::offered_pieces::{OfferedPieces, PIECES_PATH};
use super::peer_error::PeerError;
use super::peer_state::PeerState;
use super::refusal::{Nonce, PeerRefusal};
use super::traffic::PeerTraffic;
use super::urls::base_of;
use crate::model::{PieceList, Sha256, Target};
use crate::origin::{Body, ConnectionFault, Method, OriginError, OriginRequest, Response};

/// Time without a byte after which the state of a peer counts. A ping or a poll of a busy node may
/// fail while its bodies flow.
const MIN_SILENCE: Duration = Duration::from_secs(1);

/// Bound on a document, in bytes. A page of records ends at 1 MiB, and after the records of one
/// target, of which there are 256 of at most 64 KiB.
const MAX_DOCUMENT_BYTES: usize = 32 << 20;

/// Bound on the text of an error of a peer, in bytes.
const MAX_PROBLEM_BYTES: usize = 300;

/// The API of one peer of the configuration. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerClient {
    pub(super) cluster: Arc<Cluster>,
    pub(super) url: Target,
}

/// Bytes of an object at a peer. The reader compares their digest.
pub struct PeerObject {
    client: PeerClient,
    body: Body,
    traffic: Option<Arc<PeerTraffic>>,
}

impl PeerClient {
    /// Returns the base URL of the peer.
    #[must_use]
    pub fn url(&self) -> &str {
        base_of(&self.url)
    }

    /// Waits until the peer answers polls.
    ///
    /// # Errors
    /// [`PeerError::Silent`] after `limit`, or [`PeerError::Unfit`].
    pub async fn wait_present(&self, limit: Duration) -> Result<NodeDocument, PeerError> {
        let mut changes = self.cluster.changes();
        let waiting = async {
            loop {
                if let Some(node) = self.state()? {
                    return Ok(node);
                }
                // The sender is a field of the cluster, so the channel cannot close.
                let _ = changes.changed().await;
            }
        };
        timeout(limit, waiting).await.map_err(|_| self.silent())?
    }

    /// Returns the URL of an object at the peer.
    #[must_use]
    pub fn object_url(&self, sha256: Sha256) -> String {
        format!("{}{}", self.url(), object_path(sha256))
    }

    /// Returns the error of a body that the peer has ended early.
    #[must_use]
    pub fn truncated(&self) -> PeerError {
        self.failed(&ConnectionFault::Truncated.into())
    }

    /// Returns the facts about the peer. `None` if it does not answer now.
    pub(super) fn state(&self) -> Result<Option<NodeDocument>, PeerError> {
        let peers = self.cluster.peers();
        let peer = peers.into_iter().find(|peer| peer.url == self.url);
        let peer = peer.ok_or_else(|| PeerError::NotListed(self.url().to_owned()))?;
        match peer.state {
            PeerState::Unknown | PeerState::Silent => Ok(None),
            PeerState::Ready | PeerState::Unready | PeerState::Draining => Ok(peer.node),
            state => Err(PeerError::Unfit {
                peer: self.url().to_owned(),
                state,
            }),
        }
    }

    /// Checks that the peer takes targets of this node. One that does not answer may do so later.
    ///
    /// # Errors
    /// [`PeerError::Unfit`] if it drains, or nothing can be copied to it.
    pub fn check_receiver(&self) -> Result<(), PeerError> {
        match self.state()? {
            Some(node) if node.draining => Err(PeerError::Unfit {
                peer: self.url().to_owned(),
                state: PeerState::Draining,
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn silent(&self) -> PeerError {
        PeerError::Silent(self.url().to_owned())
    }

    /// Requests a document, and checks its proof.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn get(&self, path_and_query: &str) -> Result<Vec<u8>, PeerError> {
        self.document(Method::Get, path_and_query).await
    }

    /// Sends a POST without content, and returns the document of the answer. Checks its proof.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn post(&self, path_and_query: &str) -> Result<Vec<u8>, PeerError> {
        let method = Method::Other("POST".to_owned());
        self.document(method, path_and_query).await
    }

    async fn document(&self, method: Method, path_and_query: &str) -> Result<Vec<u8>, PeerError> {
        let (response, nonce) = self.send(method, path_and_query, None).await?;
        let proof = response.header(PROOF_FIELD).unwrap_or_default().to_owned();
        if response.status() != 200 {
            return Err(self.refused(response).await);
        }
        let mut object = self.body_of(response);
        let mut document = Vec::new();
        while let Some(bytes) = object.next().await? {
            if document.len() + bytes.len() > MAX_DOCUMENT_BYTES {
                return Err(PeerError::Invalid(self.url().to_owned()));
            }
            document.extend_from_slice(&bytes);
        }
        let key = self.cluster.key();
        if key.is_some_and(|key| key.is_proven(&nonce, &document, &proof)) {
            Ok(document)
        } else {
            Err(PeerError::Invalid(self.url().to_owned()))
        }
    }

    /// Requests an object. Returns `None` if the peer does not have it.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn object(&self, sha256: Sha256) -> Result<Option<PeerObject>, PeerError> {
        let (response, _) = self.send(Method::Get, &object_path(sha256), None).await?;
        match response.status() {
            200 => Ok(Some(self.body_of(response))),
            404 => Ok(None),
            _ => Err(self.failed(&response.as_error())),
        }
    }

    /// Requests a part of an object of `size_bytes`.
    ///
    /// # Errors
    /// [`PeerError`], also if the answer is another part.
    pub async fn object_part(
        &self,
        sha256: Sha256,
        part: Range<u64>,
        size_bytes: u64,
    ) -> Result<PeerObject, PeerError> {
        let range = format!("bytes={}-{}", part.start, part.end.saturating_sub(1));
        let path = object_path(sha256);
        let (response, _) = self.send(Method::Get, &path, Some(range)).await?;
        match response.status() {
            206 if response.stated_range() == Some((part, size_bytes)) => {
                Ok(self.body_of(response))
            }
            200..=299 => Err(PeerError::Invalid(self.url().to_owned())),
            _ => Err(self.failed(&response.as_error())),
        }
    }

    /// Requests the pieces of an object. Returns `None` if the peer has not computed them.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn pieces(&self, sha256: Sha256) -> Result<Option<PieceList>, PeerError> {
        let document = self.get(&format!("{PIECES_PATH}?sha256={sha256}")).await?;
        let invalid = || PeerError::Invalid(self.url().to_owned());
        let offered: OfferedPieces = serde_json::from_slice(&document).map_err(|_| invalid())?;
        offered.into_list().map_err(|_| invalid())
    }

    fn body_of(&self, response: Response) -> PeerObject {
        PeerObject::new(self.clone(), response.into_body())
    }

    /// Sends a marked request to the process that the last poll has found.
    async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        range: Option<String>,
    ) -> Result<(Response, Nonce), PeerError> {
        let at_peer = Target::parse(&format!("{}{path_and_query}", self.url()));
        let at_peer = at_peer.map_err(|_| PeerError::Invalid(self.url().to_owned()))?;
        let run = self.cluster.run_of(&at_peer);
        let (Some(key), Some(recipient)) = (self.cluster.key(), run) else {
            return Err(self.silent());
        };
        let request = MarkedRequest {
            recipient: &recipient,
            method: match &method {
                Method::Get => "GET",
                Method::Head => "HEAD",
                Method::Other(name) => name,
            },
            target: path_and_query,
        };
        let mark = key.mark(request, SystemTime::now());
        let mut headers = self.cluster.marked_fields(mark.value).to_vec();
        headers.extend(range.map(|range| ("range".to_owned(), range.into_bytes())));
        let request = OriginRequest {
            headers,
            follow_redirects: false,
            digest_expected: true,
            ..OriginRequest::new(method)
        };
        let admitted = self.cluster.policy.admit_peer(at_peer);
        let answering = self.cluster.origin.request(&admitted, request);
        let response = self.unless_silent(answering).await?;
        let response = response.map_err(|failed| self.failed(&failed.error))?;
        match response.header(REFUSAL_FIELD) {
            None => Ok((response, mark.nonce)),
            Some(reason) if reason == PeerRefusal::Recipient.as_str() => {
                // The peer was restarted. The next poll shows its new process.
                self.cluster.table.suspect(&self.url);
                Err(self.silent())
            }
            Some(reason) if reason == PeerRefusal::Busy.as_str() => Err(self.silent()),
            Some(_) => Err(self.failed(&response.as_error())),
        }
    }

    /// Waits for an answer of the peer, unless it sends nothing and answers no pings or polls.
    async fn unless_silent<T>(&self, answering: impl Future<Output = T>) -> Result<T, PeerError> {
        let silence = async {
            sleep(MIN_SILENCE).await;
            self.cluster.wait_silent(&self.url).await;
        };
        tokio::select! {
            answer = answering => Ok(answer),
            () = silence => Err(self.silent()),
        }
    }

    fn failed(&self, error: &OriginError) -> PeerError {
        PeerError::Request {
            peer: self.url().to_owned(),
            error: error.clone(),
            text: String::new(),
        }
    }

    /// Returns the error for an error response, with its first line.
    async fn refused(&self, response: Response) -> PeerError {
        let error = response.as_error();
        let mut object = self.body_of(response);
        let mut document = Vec::new();
        while document.len() < MAX_PROBLEM_BYTES
            && let Ok(Some(bytes)) = object.next().await
        {
            document.extend_from_slice(&bytes);
        }
        document.truncate(MAX_PROBLEM_BYTES);
        let text = String::from_utf8_lossy(&document);
        let line = text.lines().next().unwrap_or_default();
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        PeerError::Request {
            peer: self.url().to_owned(),
            error,
            text: if line.is_empty() {
                line
            } else {
                format!(": {line}")
            },
        }
    }
}

impl PeerObject {
    /// Creates the object of a response that a peer has sent.
    #[must_use]
    pub fn new(client: PeerClient, body: Body) -> Self {
        Self {
            traffic: client.cluster.traffic_of(&client.url),
            client,
            body,
        }
    }

    /// Returns the next bytes, or `None` at the end.
    ///
    /// # Errors
    /// [`PeerError`] if the peer ends or falls silent before.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        let client = &self.client;
        let next = client.unless_silent(self.body.next()).await?;
        let bytes = next.map_err(|error| client.failed(&error))?;
        if let (Some(traffic), Some(bytes)) = (&self.traffic, &bytes) {
            traffic.add_received(bytes.len() as u64);
        }
        Ok(bytes)
    }
}

fn object_path(sha256: Sha256) -> String {
    format!("/api/v1/objects/sha256/{sha256}")
}
