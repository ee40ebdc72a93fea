//! Finds the peers that have an object, by asking each ready one.
//!
//! The main function is [`holders_of`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::membership::Cluster;
use super::poll::base_of;
use crate::model::{Sha256, Target};
use crate::origin::{Method, OriginRequest};

/// Longest wait for the answers of the peers. A client waits for them.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Returns the URLs of an object at the ready peers that have it, in the order of the
/// configuration.
pub async fn holders_of(cluster: &Cluster, sha256: Sha256) -> Arc<Vec<String>> {
    let known = &cluster.holders.0;
    known.get_with(sha256, ask_all(cluster, sha256)).await
}

async fn ask_all(cluster: &Cluster, sha256: Sha256) -> Arc<Vec<String>> {
    let peers = cluster.peers().into_iter();
    let ready = peers.filter(|peer| peer.state.serves_stored());
    let answers = ready.map(|peer| async move {
        let url = format!("{}/api/v1/objects/sha256/{sha256}", base_of(&peer.url));
        let answer = timeout(ANSWER_TIMEOUT, has(cluster, &url)).await;
        answer.unwrap_or(false).then_some(url)
    });
    Arc::new(join_all(answers).await.into_iter().flatten().collect())
}

/// Asks whether there is an object at a URL of a peer.
async fn has(cluster: &Cluster, url: &str) -> bool {
    let Ok(at_peer) = Target::parse(url) else {
        return false;
    };
    let request = OriginRequest {
        follow_redirects: false,
        ..OriginRequest::new(Method::Head)
    };
    let admitted = cluster.policy.admit_peer(at_peer);
    let response = cluster.origin.request(&admitted, request).await;
    response.is_ok_and(|response| response.status() == 200)
}
