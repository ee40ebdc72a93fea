//! Has one peer copy one target of this node, and learns which objects the peer has then.
//!
//! The peer fetches and verifies. The main function is [`have_pulled`].

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::from_node::RECORDS_PATH;
use super::offer::OfferedTarget;
use super::pulls::PullState;
use crate::cache::CopyReport;
use crate::cluster::{Cluster, PeerClient, PeerError};
use crate::model::{Key, Target};

/// Wait between two requests for one pull, and between the tries of a target.
pub const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Longest wait for the pull of one target, after which its objects count as missing. An object of
/// 64 GiB takes nine hours at 2 MiB a second.
const MAX_PULL_TIME: Duration = Duration::from_hours(12);

/// Objects of a target that a peer must have.
pub struct WantedObjects {
    key: Key,
    /// Their SHA-256 in hexadecimal digits.
    digests: Vec<String>,
}

/// Objects of a target that a peer does not have after a pull.
#[derive(Debug, Clone, Copy, Default)]
pub struct MissingObjects {
    pub count: u64,
    /// Those for which the peer has no space, up to `count`.
    pub without_space: u64,
}

impl WantedObjects {
    /// Returns the objects that a peer must have. It gets from the bucket what it finds there.
    pub fn at(cluster: &Cluster, peer: &Target, key: Key, target: &OfferedTarget) -> Self {
        let own = &cluster.own().bucket;
        let shares_bucket = !own.is_empty() && cluster.bucket_of(peer) == *own;
        let wanted = target
            .parsed()
            .filter(|(offered, _)| offered.is_cached && !(shares_bucket && offered.is_in_bucket));
        Self {
            key,
            digests: wanted
                .map(|(_, record)| record.sha256.to_string())
                .collect(),
        }
    }

    pub fn count(&self) -> u64 {
        self.digests.len() as u64
    }
}

/// Has a peer copy a target, and counts what was copied. Returns the objects that the peer does not
/// have then.
///
/// # Errors
/// [`PeerError`].
pub async fn have_pulled(
    cluster: &Cluster,
    peer: &PeerClient,
    wanted: &WantedObjects,
    report: &mut CopyReport,
) -> Result<MissingObjects, PeerError> {
    let own = &cluster.own().id;
    let path = format!("{RECORDS_PATH}?keys={}&from={own}", wanted.key);
    let deadline = Instant::now() + MAX_PULL_TIME;
    loop {
        let document = peer.post(&path).await?;
        let state: PullState = serde_json::from_slice(&document)
            .map_err(|_| PeerError::Invalid(peer.url().to_owned()))?;
        if state.is_pending && Instant::now() < deadline {
            sleep(RETRY_DELAY).await;
            continue;
        }
        let is_missing = |digest: &&String| !state.stored.contains(digest);
        let count = wanted.digests.iter().filter(is_missing).count() as u64;
        // Without objects, only the records and pins are missing.
        let count = count.max(u64::from(state.has_failed));
        match state.copied_bytes {
            0 if count == 0 => report.present += 1,
            0 => {}
            copied_bytes => {
                report.copied += 1;
                report.copied_bytes += copied_bytes;
            }
        }
        return Ok(MissingObjects {
            count,
            without_space: state.without_space.min(count),
        });
    }
}
