//! Requests for bodies of peers: their marks, the proofs of answers, and the silence of a peer.

use std::time::Duration;

use tokio::time::sleep;

use super::status::LastResponse;
use crate::cluster::ORIGIN_TAG_FIELD;
use crate::fetch::host_limits::HostLimiter;
use crate::fetch::moving_permit::MovingPermit;
use crate::fetch::state::FetcherState;
use crate::model::{Sha256, Target};
use crate::origin::{
    ConnectionFault, HostPermits as _, Method, OriginError, OriginRequest, Response, TimeoutPhase,
    Validator,
};
use crate::policy::{Source, SourceKind};

/// Time without a byte after which the state of a peer counts. A ping or a poll of a busy node may
/// fail while its bodies flow.
const MIN_SILENCE: Duration = Duration::from_secs(1);

/// Returns the permits for a source. A peer may wait for a permit of this node, so that the bodies
/// of peers have permits of their own.
pub fn limiter_for<'a>(state: &'a FetcherState, source: &Source) -> &'a HostLimiter {
    if is_peer(source) {
        &state.peer_limiter
    } else {
        &state.host_limiter
    }
}

/// Waits until a peer has sent nothing for a while, and answers no pings or polls either. Waits for
/// ever for another source, which has time limits of its own.
pub async fn wait_silent(state: &FetcherState, source: Option<&Source>) {
    match source.filter(|source| is_peer(source)) {
        Some(peer) => {
            sleep(MIN_SILENCE).await;
            state.cluster.wait_silent(peer.target()).await;
        }
        None => std::future::pending().await,
    }
}

/// Returns the error of a peer that is silent.
pub fn peer_is_silent() -> OriginError {
    ConnectionFault::Timeout(TimeoutPhase::Body).into()
}

/// Returns the validator that the origin of a peer's body has sent. It is valid at the origin only.
pub fn origin_validator(source: &Source, response: &Response) -> Option<Validator> {
    is_peer(source)
        .then(|| response.validator_with_tag(response.header(ORIGIN_TAG_FIELD)))
        .flatten()
}

pub fn is_peer(source: &Source) -> bool {
    source.kind() == SourceKind::Peer
}

/// Sends a request to a source. The answer of a peer must have a proof.
pub async fn exchange(
    state: &FetcherState,
    target: &Target,
    permit: &mut MovingPermit<'_>,
    (source, mut request): (&Source, OriginRequest),
) -> (LastResponse, Result<Response, OriginError>) {
    let unanswered = LastResponse::default();
    let mut nonce = None;
    if is_peer(source) {
        let is_head = request.method == Method::Head;
        let method = if is_head { "HEAD" } else { "GET" };
        let marked = match state.cluster.mark_for(source.target(), method, target) {
            Ok(marked) => marked,
            Err(error) => return (unanswered, Err(error)),
        };
        request.follow_redirects = false;
        request.headers.extend(marked.fields);
        nonce = Some(marked.nonce);
    }
    // After a redirect, another host has the permit.
    if let Err(error) = permit.move_to(source.admitted()).await {
        return (unanswered, Err(error));
    }
    let answering = state
        .origin
        .request_within(source.admitted(), request, permit);
    let answer = tokio::select! {
        answer = answering => answer,
        () = wait_silent(state, Some(source)) => return (unanswered, Err(peer_is_silent())),
    };
    let last = LastResponse::of(&answer);
    let proven = answer.map_err(OriginError::from).and_then(|response| {
        if let Some(nonce) = &nonce {
            state.cluster.check_proof(&response, nonce, target)?;
        }
        Ok(response)
    });
    (last, proven)
}

/// Returns the digest that a peer states. Its proof was checked before.
pub fn peer_digest(response: &Response) -> Option<Sha256> {
    Sha256::from_repr_digest(&response.list_header("repr-digest"))
}
