//! Copies records and objects of another node of the cluster to this one.
//!
//! This node fetches each object, and compares its digest before it counts as stored. Records that
//! this node has with their objects are skipped, so a copy that was interrupted continues when it
//! is started again. The main type is [`NodeCopier`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::sleep;

use super::MigrateError;
use super::export::{create_record, has_record};
use super::folder_copy::import_pins;
use super::offer::{OfferedPage, OfferedRecord, OfferedTarget};
use super::placement::PlacedRecord;
use crate::cache::{Cache, CacheError, CopyReport, TierCopy, TierPart};
use crate::cluster::{Cluster, PeerClient, PeerError, PeerObject};
use crate::disk::{DiskStore, IoClass, records};
use crate::fetch::{PeerPieces, PiecedBody};
use crate::model::{ExpectedDigests, Hasher, Key, PieceList, Record, RecordSet};

/// Records that all jobs together copy from other nodes at the same time.
const MAX_COPIES: usize = 4;

/// Longest wait for a peer that does not answer. It may be restarted meanwhile.
const PEER_WAIT: Duration = Duration::from_mins(1);

/// Tries of a part, if requests to a peer fail although it answers polls.
const MAX_TRIES: u32 = 10;

/// Tries of an object that the peer does not send whole.
const MAX_OBJECT_TRIES: u32 = 3;

/// Tries of an object that the peer refuses, or does not answer for. They take half a minute.
const MAX_REFUSALS: u32 = 6;

/// Wait between tries. It doubles with each refusal.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Longest wait that a peer may ask for. Behind it, the object is left out.
const MAX_RETRY_DELAY: Duration = Duration::from_mins(1);

/// Path of the records that a node offers.
pub const RECORDS_PATH: &str = "/api/v1/node/records";

/// Targets of another node that are copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSelection {
    /// URL of the node, as in `cluster.peers`.
    pub peer: String,
    /// Hosts of the targets. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Only targets that this node owns.
    #[serde(default)]
    pub owned: bool,
}

/// Error returned when targets of another node could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum NodeCopyError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Local(#[from] MigrateError),
}

impl From<CacheError> for NodeCopyError {
    fn from(error: CacheError) -> Self {
        Self::Local(error.into())
    }
}

/// Copies records and objects of other nodes to this one.
pub struct NodeCopier {
    cluster: Arc<Cluster>,
    cache: Cache,
    pieces: Arc<PeerPieces>,
    /// Permits of the records that are copied now.
    copies: Semaphore,
    /// Held while space is looked for and reserved, so that two copies do not find the same.
    reserving: Mutex<()>,
}

impl NodeCopier {
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, cache: Cache, pieces: Arc<PeerPieces>) -> Self {
        Self {
            cluster,
            cache,
            pieces,
            copies: Semaphore::new(MAX_COPIES),
            reserving: Mutex::new(()),
        }
    }

    /// Checks whether the node can be asked, as far as that is known now.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn check(&self, from: &NodeSelection) -> Result<(), PeerError> {
        PeerClient::find(&self.cluster, &from.peer).map(drop)
    }

    /// Copies the selected targets of a part. Waits a bounded time for a node that does not answer.
    ///
    /// # Errors
    /// [`NodeCopyError`]. Objects that were copied before stay.
    pub async fn copy(
        &self,
        from: &NodeSelection,
        part: TierPart,
    ) -> Result<CopyReport, NodeCopyError> {
        let mut report = CopyReport::default();
        let mut tries = 0;
        loop {
            tries += 1;
            let peer = PeerClient::await_present(&self.cluster, &from.peer, PEER_WAIT).await?;
            let copied = self.copy_part(&peer, from, part, &mut report).await;
            match copied {
                Err(NodeCopyError::Peer(error))
                    if PeerClient::may_return(&self.cluster, &error) && tries < MAX_TRIES =>
                {
                    tracing::debug!(%error, "copy from a peer failed, will retry");
                    // A second pass counts afresh what it finds.
                    report.present = 0;
                    (report.damaged, report.without_space, report.refused) = (0, 0, 0);
                    let delay = error.retry_after().unwrap_or_default();
                    sleep(delay.clamp(RETRY_DELAY, MAX_RETRY_DELAY)).await;
                }
                copied => return copied.map(|()| report),
            }
        }
    }

    async fn copy_part(
        &self,
        peer: &PeerClient,
        from: &NodeSelection,
        part: TierPart,
        report: &mut CopyReport,
    ) -> Result<(), NodeCopyError> {
        let mut after = None;
        loop {
            let page = read_page(peer, part, after.as_deref()).await?;
            for target in &page.targets {
                self.copy_target(peer, from, target, report).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn copy_target(
        &self,
        peer: &PeerClient,
        from: &NodeSelection,
        target: &OfferedTarget,
        report: &mut CopyReport,
    ) -> Result<(), NodeCopyError> {
        let offered: Vec<(&OfferedRecord, Record)> = target.parsed().collect();
        let Some((_, first)) = offered.first() else {
            report.damaged += target.records.len() as u64;
            return Ok(());
        };
        let key = first.key();
        let is_one_target = offered.iter().all(|(_, record)| record.key() == key);
        let is_wanted = is_one_target && !first.target.is_private() && self.selects(from, first);
        if !is_wanted {
            return Ok(());
        }
        report.damaged += (target.records.len() - offered.len()) as u64;
        let shares_bucket = self.shares_bucket_with(peer).await?;
        let source = RecordSet {
            readable: offered.iter().map(|(_, record)| record.clone()).collect(),
            unreadable: Vec::new(),
        };
        // Before the objects, so that this node does not evict them, and before any record, so that
        // only its own records count as answers.
        import_pins(&self.cache, key, target.parsed_pins()).await?;
        for (offered, record) in offered {
            let permit = self.copies.acquire().await;
            let _permit = permit.expect("this semaphore is never closed");
            // The records of the bucket are found there.
            let copied = if shares_bucket && offered.is_in_bucket {
                TierCopy::Present
            } else {
                self.copy_record(peer, &source, (offered, record)).await?
            };
            report.add(copied);
        }
        Ok(())
    }

    fn selects(&self, from: &NodeSelection, record: &Record) -> bool {
        let host = record.target.host();
        let is_host = from.hosts.is_empty() || from.hosts.iter().any(|wanted| wanted == host);
        is_host && (!from.owned || self.cluster.owners_before_self(record.key()).is_empty())
    }

    /// Whether the peer and this node have one bucket, from which this node gets what it has.
    async fn shares_bucket_with(&self, peer: &PeerClient) -> Result<bool, PeerError> {
        let own = &self.cluster.own().bucket;
        Ok(!own.is_empty() && peer.wait_present(PEER_WAIT).await?.bucket == *own)
    }

    /// Copies a record with its object, unless this node has both. Evicts nothing for it.
    async fn copy_record(
        &self,
        peer: &PeerClient,
        source: &RecordSet,
        (offered, record): (&OfferedRecord, Record),
    ) -> Result<TierCopy, NodeCopyError> {
        let cache = &self.cache;
        let (key, sha256) = (record.key(), record.sha256);
        if has_record(cache, key, sha256).await? {
            return Ok(TierCopy::Present);
        }
        let size_bytes = record.size_bytes;
        if offered.is_cached && !self.fits(size_bytes).await? {
            return Ok(TierCopy::NoSpace);
        }
        let existing = self.existing_records(key).await?;
        let has_record = existing.digests().any(|known| known == sha256);
        let record = PlacedRecord::among(&existing, source, record).record;
        let copied = if offered.is_cached {
            self.copy_object(peer, &record).await?
        } else {
            TierCopy::RecordOnly
        };
        if copied == TierCopy::RecordOnly {
            if has_record {
                return Ok(TierCopy::Present);
            }
            create_record(cache, record).await?;
            cache.invalidate(key);
        }
        Ok(copied)
    }

    /// Whether this node takes an object of this length without an eviction.
    async fn fits(&self, size_bytes: u64) -> Result<bool, CacheError> {
        let fits = move |disk: &DiskStore| disk.fits_without_eviction(size_bytes);
        Ok(self.cache.disk().run(IoClass::Maintenance, fits).await?)
    }

    async fn existing_records(&self, key: Key) -> Result<RecordSet, CacheError> {
        let read = move |disk: &DiskStore| records::read_all(&disk.layout, key);
        Ok(self.cache.disk().run(IoClass::Maintenance, read).await?)
    }

    /// Copies the object of a record. One that the peer cannot send whole, although it answers
    /// otherwise, is damaged there. A peer that refuses may be busy.
    async fn copy_object(
        &self,
        peer: &PeerClient,
        record: &Record,
    ) -> Result<TierCopy, NodeCopyError> {
        let sha256 = record.sha256;
        let (mut cuts, mut refusals) = (0_u32, 0_u32);
        loop {
            let error = match peer.object(sha256).await {
                Ok(Some(object)) => match self.receive(peer, object, record).await {
                    // Another peer may have failed, or have stated wrong pieces.
                    Err(NodeCopyError::Peer(error)) => {
                        read_page(peer, TierPart::Target(record.key()), None).await?;
                        cuts += 1;
                        error
                    }
                    received => return received,
                },
                // The peer has evicted the object meanwhile.
                Ok(None) => return Ok(TierCopy::RecordOnly),
                Err(PeerError::Silent(url)) => return Err(PeerError::Silent(url).into()),
                Err(error) if error.is_transient() => {
                    refusals += 1;
                    error
                }
                Err(error) => return Err(error.into()),
            };
            let delay = error
                .retry_after()
                .unwrap_or(RETRY_DELAY * 2_u32.pow(refusals) / 2);
            let given_up = if cuts == MAX_OBJECT_TRIES {
                Some(TierCopy::Damaged)
            } else if refusals == MAX_REFUSALS || delay > MAX_RETRY_DELAY {
                Some(TierCopy::Refused)
            } else {
                None
            };
            if let Some(copy) = given_up {
                tracing::warn!(%sha256, %error, "object of a peer was not copied");
                return Ok(copy);
            }
            sleep(delay.max(RETRY_DELAY)).await;
        }
    }

    /// Receives the object of a record, and publishes it if it has its digest.
    async fn receive(
        &self,
        peer: &PeerClient,
        object: PeerObject,
        record: &Record,
    ) -> Result<TierCopy, NodeCopyError> {
        let sha256 = record.sha256;
        let mut staging = {
            let _reserving = self.reserving.lock().await;
            if !self.fits(record.size_bytes).await? {
                return Ok(TierCopy::NoSpace);
            }
            let hasher = Hasher::new(&ExpectedDigests::nothing());
            match self.cache.stage(Some(record.size_bytes), hasher).await {
                Err(error) if error.is_no_space() => return Ok(TierCopy::NoSpace),
                staging => staging?,
            }
        };
        let mut object = ObjectBody::new(&self.pieces, (peer, object), record);
        while let Some(bytes) = object.next().await? {
            match staging.append(bytes).await.map_err(CacheError::from) {
                Err(error) if error.is_no_space() => return Ok(TierCopy::NoSpace),
                appended => appended?,
            }
        }
        let finished = staging.finish().map_err(CacheError::from)?;
        if finished.digests.sha256 != sha256 {
            tracing::warn!(peer = peer.url(), %sha256, "peer has sent other bytes, not stored");
            return Ok(TierCopy::Damaged);
        }
        let sealed = finished.seal().await.map_err(CacheError::from)?;
        let size_bytes = sealed.size_bytes;
        self.cache.publish_recorded(sealed, record.clone()).await?;
        Ok(TierCopy::Copied { size_bytes })
    }
}

/// Body of an object, from one peer or from all that have it.
enum ObjectBody {
    OnePeer(Box<PeerObject>),
    Peers(Box<PiecedBody>),
}

impl ObjectBody {
    fn new(
        pieces: &Arc<PeerPieces>,
        (peer, object): (&PeerClient, PeerObject),
        record: &Record,
    ) -> Self {
        if !PieceList::is_for(record.size_bytes) {
            return Self::OnePeer(object.into());
        }
        let first = (peer.clone(), object);
        let body = PiecedBody::new(Arc::clone(pieces), first, record.sha256, record.size_bytes);
        Self::Peers(body.into())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        match self {
            Self::OnePeer(object) => object.next().await,
            Self::Peers(body) => body.next().await,
        }
    }
}

async fn read_page(
    peer: &PeerClient,
    part: TierPart,
    after: Option<&str>,
) -> Result<OfferedPage, PeerError> {
    let after = after.map_or_else(String::new, |after| format!("&after={after}"));
    let path = format!("{RECORDS_PATH}?keys={part}{after}");
    let document = peer.get(&path).await?;
    serde_json::from_slice(&document).map_err(|_| PeerError::Invalid(peer.url().to_owned()))
}
