//! Finds the peers that have an object, by asking each ready one, or
//! those that the shared index names.
//!
//! The main function is [`holders_of`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::membership::Cluster;
use super::peer_table::PeerView;
use super::urls::base_of;
use crate::model::{Sha256, Target};
use crate::origin::{Method, OriginRequest};

/// Longest wait for the answers of the peers. A client waits for them.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Returns the URLs of an object at the ready peers that have it, in the order of the
/// configuration. All of them have answered that they have it.
pub async fn holders_of(cluster: &Cluster, sha256: Sha256) -> Arc<Vec<String>> {
    let known = &cluster.holders.0;
    known.get_with(sha256, ask_all(cluster, sha256)).await
}

/// Asks the ready peers. If the shared index names holders among them, the others are asked only if
/// none of these has the object.
async fn ask_all(cluster: &Cluster, sha256: Sha256) -> Arc<Vec<String>> {
    let mut peers = cluster.peers();
    peers.retain(|peer| peer.state.serves_stored());
    // One node may be listed by two URLs.
    let mut seen = HashSet::new();
    peers.retain(|peer| {
        peer.node
            .as_ref()
            .is_none_or(|node| seen.insert(node.id.clone()))
    });
    let is_named = named_holders(cluster, sha256, &peers).await;
    let select = |named: bool| {
        let selected = peers.iter().zip(&is_named);
        selected.filter_map(move |(peer, is_named)| (*is_named == named).then_some(peer))
    };
    let mut found = ask(cluster, sha256, select(true)).await;
    for (peer, holding) in &found {
        if let (Holding::No, Some(index), Some(node)) =
            (holding, cluster.shared_index(), &peer.node)
        {
            index.remove_holder(sha256, &node.id);
        }
    }
    found.retain(|(_, holding)| *holding == Holding::Yes);
    if found.is_empty() {
        found = ask(cluster, sha256, select(false)).await;
    }
    let held = found.into_iter();
    let held = held.filter(|(_, holding)| *holding == Holding::Yes);
    Arc::new(held.map(|(peer, _)| url_at(peer, sha256)).collect())
}

/// Returns which peers the shared index names. None without the index.
async fn named_holders(cluster: &Cluster, sha256: Sha256, peers: &[PeerView]) -> Vec<bool> {
    match cluster.shared_index() {
        Some(index) if !peers.is_empty() => {
            let ids = peers.iter().map(|peer| peer.node.as_ref());
            let ids = ids.map(|node| node.map_or("", |node| node.id.as_str()));
            index.named_holders(sha256, &ids.collect::<Vec<_>>()).await
        }
        _ => vec![false; peers.len()],
    }
}

/// Asks peers at the same time.
async fn ask<'a>(
    cluster: &Cluster,
    sha256: Sha256,
    peers: impl Iterator<Item = &'a PeerView>,
) -> Vec<(&'a PeerView, Holding)> {
    let answers = peers.map(|peer| async move {
        let answer = timeout(ANSWER_TIMEOUT, has(cluster, &url_at(peer, sha256))).await;
        (peer, answer.unwrap_or(Holding::Unknown))
    });
    join_all(answers).await
}

fn url_at(peer: &PeerView, sha256: Sha256) -> String {
    format!("{}/api/v1/objects/sha256/{sha256}", base_of(&peer.url))
}

/// Answer of a peer about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holding {
    Yes,
    No,
    /// No answer, or none about the object.
    Unknown,
}

/// Asks whether there is an object at a URL of a peer.
async fn has(cluster: &Cluster, url: &str) -> Holding {
    let Ok(at_peer) = Target::parse(url) else {
        return Holding::Unknown;
    };
    let request = OriginRequest {
        follow_redirects: false,
        ..OriginRequest::new(Method::Head)
    };
    let admitted = cluster.policy.admit_peer(at_peer);
    match cluster.origin.request(&admitted, request).await {
        Ok(response) if response.status() == 200 => Holding::Yes,
        Ok(response) if response.status() == 404 => Holding::No,
        _ => Holding::Unknown,
    }
}
