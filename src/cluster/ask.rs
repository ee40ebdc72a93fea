//! Requests to the owner of a target, and the proofs in its answers.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::link::MAX_SILENCE;
use super::mark::{ClusterKey, MARK_FIELD, MarkedRequest, PROOF_FIELD, REFUSAL_FIELD};
use super::membership::Cluster;
use super::refusal::{Nonce, PeerRefusal};
use super::traffic::SENDER_FIELD;
use crate::model::Target;
use crate::origin::{
    ConnectionFault, Method, OriginError, OriginRequest, ProtocolFault, Response, TimeoutPhase,
};
use crate::policy::Source;

/// Method by which a node asks whether the owner fetches a target.
pub const FETCH_METHOD: &str = "POST";

/// Response field with the entity tag that the origin has sent. Clients never get it.
pub const ORIGIN_TAG_FIELD: &str = "millpond-origin-etag";

/// Longest wait for the acknowledgement of an owner that answers pings meanwhile.
const MAX_ACKNOWLEDGE_WAIT: Duration = Duration::from_secs(10);

/// How long a node waits for another one that still asks a peer which was silent for this node.
const MAX_UNDECIDED_WAIT: Duration = Duration::from_secs(1);

/// Time between two questions to an undecided node.
const UNDECIDED_PAUSE: Duration = Duration::from_millis(50);

/// Answer of a peer that was asked for a target.
enum PeerAnswer {
    Accepted,
    /// The peer asks another one, and may begin itself if that one is silent.
    Undecided(OriginError),
}

/// Fields of a marked request, and its nonce.
#[derive(Debug)]
pub struct MarkedHeaders {
    pub fields: [(String, Vec<u8>); 2],
    pub nonce: Nonce,
}

/// Fields of an answer to a peer that its proof covers, with the target and the status. The body is
/// covered by its digest, which the peer asks for when it is complete.
const PROVEN_FIELDS: [&str; 5] = [
    "repr-digest",
    ORIGIN_TAG_FIELD,
    "content-type",
    "content-disposition",
    "last-modified",
];

impl Cluster {
    /// Asks a peer whether it fetches a target, and waits for the acknowledgement. The request for
    /// the body begins the fetch, so that a late one of this kind has no effect.
    ///
    /// If a better owner was silent (`is_after_silent`), the peer may still wait for that one too.
    /// It is asked again until it has decided.
    ///
    /// # Errors
    /// [`OriginError::Unreachable`] if the peer is silent. Its next poll decides whether it is used
    /// again. Another [`OriginError`] if the peer does not fetch the target.
    pub async fn request_fetch(
        &self,
        peer: &Source,
        target: &Target,
        is_after_silent: bool,
    ) -> Result<(), OriginError> {
        let wait = if is_after_silent {
            MAX_UNDECIDED_WAIT
        } else {
            Duration::ZERO
        };
        let deadline = Instant::now() + wait;
        loop {
            match self.ask_once(peer, target).await {
                Ok(PeerAnswer::Accepted) => return Ok(()),
                Ok(PeerAnswer::Undecided(_)) if Instant::now() < deadline => {
                    sleep(UNDECIDED_PAUSE).await;
                }
                Ok(PeerAnswer::Undecided(error)) | Err(error) => return Err(error),
            }
        }
    }

    async fn ask_once(&self, peer: &Source, target: &Target) -> Result<PeerAnswer, OriginError> {
        let mut request = OriginRequest {
            follow_redirects: false,
            ..OriginRequest::new(Method::Other(FETCH_METHOD.to_owned()))
        };
        let marked = self.mark_for(peer.target(), FETCH_METHOD, target)?;
        request.headers.extend(marked.fields);
        let asked = self.origin.request(peer.admitted(), request);
        let silent = || Err(ConnectionFault::Timeout(TimeoutPhase::Response).into());
        let answer = tokio::select! {
            biased;
            answer = asked => answer.map_err(OriginError::from),
            () = self.wait_no_sign(peer.target()) => silent(),
            () = sleep(MAX_ACKNOWLEDGE_WAIT) => silent(),
        };
        match answer {
            Ok(response) if response.status() == 202 => {
                self.check_proof(&response, &marked.nonce, target)?;
                Ok(PeerAnswer::Accepted)
            }
            Ok(response) if has_refused(&response, PeerRefusal::Elsewhere) => {
                Ok(PeerAnswer::Undecided(response.as_error()))
            }
            // The next peer is asked, as after a silent one.
            Ok(response) if has_refused(&response, PeerRefusal::Draining) => {
                Err(ConnectionFault::PeerDrains.into())
            }
            Ok(response) => {
                if has_refused(&response, PeerRefusal::Recipient) {
                    // The peer was restarted. The next poll shows its new process.
                    self.table.suspect(peer.target());
                }
                Err(response.as_error())
            }
            Err(error) => {
                self.table.suspect(peer.target());
                Err(error)
            }
        }
    }

    async fn wait_no_sign(&self, at_peer: &Target) {
        match self.link_to(at_peer) {
            Some(link) => link.wait_no_sign().await,
            None => sleep(MAX_SILENCE).await,
        }
    }

    /// Marks a request for a target to the peer of a URL.
    ///
    /// # Errors
    /// [`OriginError::InvalidResponse`] if nothing is known about the peer.
    pub fn mark_for(
        &self,
        at_peer: &Target,
        method: &str,
        target: &Target,
    ) -> Result<MarkedHeaders, OriginError> {
        let (key, recipient) = self.key().zip(self.run_of(at_peer)).ok_or_else(unproven)?;
        let request = MarkedRequest {
            recipient: &recipient,
            method,
            target: target.as_str(),
        };
        let mark = key.mark(request, SystemTime::now());
        Ok(MarkedHeaders {
            fields: self.marked_fields(mark.value),
            nonce: mark.nonce,
        })
    }

    /// Returns the fields of a request with this mark.
    pub(super) fn marked_fields(&self, mark: String) -> [(String, Vec<u8>); 2] {
        let sender = self.own().id.clone();
        [(MARK_FIELD, mark), (SENDER_FIELD, sender)]
            .map(|(name, value)| (name.to_owned(), value.into_bytes()))
    }

    /// Checks that an answer to the request with this nonce comes from a node with the secret.
    ///
    /// # Errors
    /// [`OriginError::InvalidResponse`] if the answer has no proof.
    pub fn check_proof(
        &self,
        response: &Response,
        nonce: &Nonce,
        target: &Target,
    ) -> Result<(), OriginError> {
        let field = |name: &str| response.list_header(name);
        let content = proven_content(target, response.status(), field);
        let proof = response.header(PROOF_FIELD).unwrap_or_default();
        let is_proven = |key: &ClusterKey| key.is_proven(nonce, &content, proof);
        if self.key().is_some_and(is_proven) {
            Ok(())
        } else {
            Err(unproven())
        }
    }
}

/// Returns the bytes that the proof of an answer covers. `field` returns the values of a field,
/// joined by commas.
#[must_use]
pub fn proven_content(target: &Target, status: u16, field: impl Fn(&str) -> String) -> Vec<u8> {
    let fields = PROVEN_FIELDS.map(field).join("\n");
    format!("{}\n{status}\n{fields}", target.as_str()).into_bytes()
}

fn has_refused(response: &Response, refusal: PeerRefusal) -> bool {
    response.header(REFUSAL_FIELD) == Some(refusal.as_str())
}

fn unproven() -> OriginError {
    ProtocolFault::UnprovenPeer.into()
}
