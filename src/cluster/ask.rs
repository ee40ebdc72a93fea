//! Requests to the owner of a target, and the proofs in its answers.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::mark::{ClusterKey, MARK_FIELD, MarkedRequest, PROOF_FIELD, REFUSAL_FIELD};
use super::membership::Cluster;
use super::refusal::{Nonce, PeerRefusal};
use crate::model::Target;
use crate::origin::{
    ConnectionFault, Method, OriginError, OriginRequest, ProtocolFault, Response, TimeoutPhase,
};
use crate::policy::Source;

/// Method by which a node asks whether the owner fetches a target.
pub const FETCH_METHOD: &str = "POST";

/// Response field with the entity tag that the origin has sent. Clients never get it.
pub const ORIGIN_TAG_FIELD: &str = "millpond-origin-etag";

/// Longest wait for the acknowledgement of an owner. It says only that the owner runs.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_millis(300);

/// Field of a marked request, and its nonce.
#[derive(Debug)]
pub struct MarkedHeaders {
    pub field: (String, Vec<u8>),
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
    /// # Errors
    /// [`OriginError::Unreachable`] if the peer is silent. Its next poll decides whether it is used
    /// again. Another [`OriginError`] if the peer does not fetch the target.
    pub async fn request_fetch(&self, peer: &Source, target: &Target) -> Result<(), OriginError> {
        let mut request = OriginRequest {
            follow_redirects: false,
            ..OriginRequest::new(Method::Other(FETCH_METHOD.to_owned()))
        };
        let marked = self.mark_for(peer.target(), FETCH_METHOD, target)?;
        request.headers.push(marked.field);
        let asked = self.origin.request(peer.admitted(), request);
        let answer = match timeout(ACKNOWLEDGE_TIMEOUT, asked).await {
            Ok(answer) => answer.map_err(OriginError::from),
            Err(_) => Err(ConnectionFault::Timeout(TimeoutPhase::Response).into()),
        };
        match answer {
            Ok(response) if response.status() == 202 => {
                self.check_proof(&response, &marked.nonce, target)
            }
            Ok(response) => {
                if response.header(REFUSAL_FIELD) == Some(PeerRefusal::Recipient.as_str()) {
                    // The peer was restarted. The next poll shows its new process.
                    self.suspect(peer.target());
                }
                Err(response.as_error())
            }
            Err(error) => {
                self.suspect(peer.target());
                Err(error)
            }
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
            field: (MARK_FIELD.to_owned(), mark.value.into_bytes()),
            nonce: mark.nonce,
        })
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

fn unproven() -> OriginError {
    ProtocolFault::UnprovenPeer.into()
}
