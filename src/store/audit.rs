//! Holding what is believed of the bucket against the bucket, by listings: a thousand names for one request.

use std::collections::HashSet;
use std::time::SystemTime;

use fs_err as fs;

use super::index::{Pending, since_epoch};
use super::tier::{Tier, adopt};
use super::{Shared, Store, StoreError, blocking, bucket, folders, records};
use crate::model::{Key, Record, Sha256};

/// How many records one audit fetches at most. The next goes on.
const MAX_ADOPTED: usize = 10_000;

/// What an audit has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// Objects that the bucket has.
    pub objects: u64,
    /// Records of other instances, of targets that are known here.
    pub adopted: u64,
    /// What was believed to be in the bucket and is not. What the disk has of it goes up again.
    pub missing: u64,
}

impl Store {
    /// Looks through the whole bucket. `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError`]; what was found up to then is noted.
    pub async fn audit(&self) -> Result<Option<Audit>, StoreError> {
        let Some(tier) = &self.shared.tier else { return Ok(None) };
        let started = since_epoch(SystemTime::now());
        let objects = self.see_all(tier).await?;
        let adopted = self.adopt_unknown(tier).await?;
        self.adopt_unknown_pins().await?;
        let store = self.clone();
        let missing = blocking(move || {
            let Some(tier) = &store.shared.tier else { return Ok(0) };
            store.shared.index.forget_unseen(started)?;
            requeue_missing(&store.shared, tier, started)
        });
        Ok(Some(Audit { objects, adopted, missing: missing.await? }))
    }

    async fn see_all(&self, tier: &Tier) -> Result<u64, StoreError> {
        let mut listing = tier.bucket.list(tier.bucket.names().objects());
        let mut count = 0;
        while let Some(page) = listing.next().await? {
            count += self.see(tier, &page).await.len() as u64;
        }
        Ok(count)
    }

    /// Learns what other instances have got from targets that this one has got something else from.
    async fn adopt_unknown(&self, tier: &Tier) -> Result<u64, StoreError> {
        let mut listing = tier.bucket.list(tier.bucket.names().records());
        let mut adopted = 0;
        while let Some(page) = listing.next().await? {
            let listed: Vec<_> = page.iter().filter_map(|one| bucket::record_of(&one.name)).collect();
            let store = self.clone();
            let unknown = blocking(move || Ok(unknown_of(&store.shared, listed))).await?;
            for (key, sha256) in unknown {
                let found: Vec<Record> = tier.bucket.record(key, sha256).await?.into_iter().collect();
                adopted += adopt(&self.shared, found).await;
                self.shared.map.forget(key).await;
                if adopted >= MAX_ADOPTED as u64 {
                    return Ok(adopted);
                }
            }
        }
        Ok(adopted)
    }
}

/// Those of targets that are known here, but not with these bytes. Targets that are not known cost a look when they are asked
/// for, and nothing before.
fn unknown_of(shared: &Shared, listed: Vec<(Key, Sha256)>) -> Vec<(Key, Sha256)> {
    let is_unknown = |(key, sha256): &(Key, Sha256)| {
        shared.layout.records_of(*key).is_dir() && !shared.layout.record(*key, *sha256).exists()
    };
    listed.into_iter().filter(is_unknown).collect()
}

/// Takes the markers away of what no listing has shown since `started`, or in another length, and puts into the queue what
/// the disk has of it. Where retention removes things, only those that were asked for in vain are put there again.
fn requeue_missing(shared: &Shared, tier: &Tier, started: i64) -> Result<u64, StoreError> {
    let mut missing = HashSet::new();
    for folder in tier.markers.objects()? {
        for sha256 in folders::names_in(&folder)?.iter().filter_map(|name| name.parse::<Sha256>().ok()) {
            let held_bytes = fs::metadata(shared.layout.object(sha256)).ok().map(|metadata| metadata.len());
            let is_right = match shared.index.seen_since(sha256, started)? {
                Some(size_bytes) => held_bytes.is_none_or(|held_bytes| held_bytes == size_bytes),
                None => false,
            };
            if !is_right {
                tier.believe(sha256, false);
                missing.insert(sha256);
            }
        }
    }
    if missing.is_empty() || tier.bucket.config().has_retention() {
        return Ok(missing.len() as u64);
    }
    tracing::error!(count = missing.len(), "the bucket lacks objects that it had");
    // Into the queue before the marker goes: a process that dies between the two must not forget them.
    let mut wanted = Vec::new();
    records::walk(&shared.layout, |key, sha256| {
        if missing.contains(&sha256) && shared.layout.object(sha256).exists() {
            wanted.push(Pending { key, sha256 });
        }
        Ok(())
    })?;
    shared.index.pend(&wanted)?;
    for sha256 in &missing {
        tier.markers.clear_object(*sha256)?;
    }
    tier.uploads.notify_one();
    Ok(missing.len() as u64)
}
