//! The bucket as the store's lower tier: what it is believed to have, and what is known of a target by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use moka::Expiry;
use moka::sync::Cache;
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};
use tokio::time::timeout;

use super::bucket_custody::adopt_pins;
use super::index::{Index, Pending, since_epoch};
use super::markers::Markers;
use super::presence::{Known, Presence};
use super::{
    Bucket, BucketError, BucketHit, Config, FileHit, Hit, Shared, Store, StoreError, bucket, contents, publish, records,
};
use crate::model::{Key, Record, Sha256};

/// How many objects are known by memory to be in the bucket or not. The index knows all.
const MAX_KNOWN_OBJECTS: u64 = 100_000;

/// How long memory believes that an object is there, without a look into the index, which knows since when.
const MEMORY_TTL: Duration = Duration::from_mins(1);

/// How long the bucket may take to say what it knows of a target. After that the request is a miss.
const LOOK_DEADLINE: Duration = Duration::from_secs(8);

/// How often one upload that fails by itself is complained of.
const COMPLAINT_INTERVAL: Duration = Duration::from_hours(1);

/// An object that is asked for so often within [`ASKED_WINDOW`] is brought back to the disk.
const BRING_BACK_AFTER: u32 = 3;
const ASKED_WINDOW: Duration = Duration::from_hours(1);

/// How many objects may wait to be brought back. A further one waits for its next request.
const MAX_WANTED: usize = 64;

/// How often the bucket is told that one object is in use, and how many uses may wait to be told.
const MARK_INTERVAL: Duration = Duration::from_hours(24);
const MAX_UNMARKED: usize = 1024;

/// How many objects come back at once.
const MAX_RETURNING: usize = 2;

pub(super) struct Tier {
    pub bucket: Bucket,
    pub markers: Markers,
    /// Whether the bucket has an object.
    present: Cache<Sha256, bool>,
    /// Objects whose copy in the bucket has other bytes.
    doubted: Cache<Sha256, ()>,
    /// Objects whose upload has failed by itself lately.
    complained: Cache<Sha256, ()>,
    pub asked: Cache<Sha256, Arc<AtomicU32>>,
    /// Objects whose use the bucket knows of, or soon will.
    pub marked: Cache<Sha256, ()>,
    uses: mpsc::Sender<Sha256>,
    pub uses_to_mark: Mutex<mpsc::Receiver<Sha256>>,
    wanted: mpsc::Sender<Arc<Record>>,
    pub wanted_back: Mutex<mpsc::Receiver<Arc<Record>>>,
    pub returning: Semaphore,
    /// Wakes whoever uploads.
    pub uploads: Notify,
    present_ttl: Duration,
}

struct Lifetimes {
    present: Duration,
    absent: Duration,
}

impl Expiry<Sha256, bool> for Lifetimes {
    fn expire_after_create(&self, _: &Sha256, is_there: &bool, _: Instant) -> Option<Duration> {
        Some(if *is_there { self.present } else { self.absent })
    }

    fn expire_after_update(&self, _: &Sha256, is_there: &bool, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(if *is_there { self.present } else { self.absent })
    }
}

impl Tier {
    pub fn new(bucket: Bucket, markers: Markers, config: &Config) -> Self {
        let lifetimes = Lifetimes { present: config.present_ttl.0.min(MEMORY_TTL), absent: config.absent_ttl.0 };
        let (wanted, wanted_back) = mpsc::channel(MAX_WANTED);
        let (uses, uses_to_mark) = mpsc::channel(MAX_UNMARKED);
        Self {
            bucket,
            markers,
            present: Cache::builder().max_capacity(MAX_KNOWN_OBJECTS).expire_after(lifetimes).build(),
            doubted: Cache::new(MAX_KNOWN_OBJECTS),
            complained: Cache::builder().max_capacity(MAX_KNOWN_OBJECTS).time_to_live(COMPLAINT_INTERVAL).build(),
            asked: Cache::builder().max_capacity(MAX_KNOWN_OBJECTS).time_to_idle(ASKED_WINDOW).build(),
            marked: Cache::builder().max_capacity(MAX_KNOWN_OBJECTS).time_to_live(MARK_INTERVAL).build(),
            uses,
            uses_to_mark: Mutex::new(uses_to_mark),
            wanted,
            wanted_back: Mutex::new(wanted_back),
            returning: Semaphore::new(MAX_RETURNING),
            uploads: Notify::new(),
            present_ttl: config.present_ttl.0,
        }
    }

    /// Puts a published record into the queue, unless the bucket has it and its object.
    pub fn pend(&self, index: &Index, pending: Pending) -> Result<(), StoreError> {
        let Pending { key, sha256 } = pending;
        if !self.markers.has_record(key, sha256) || !self.markers.has_object(sha256) {
            index.pend(&[pending])?;
            self.uploads.notify_one();
        }
        Ok(())
    }

    fn note_use(&self, record: &Arc<Record>) {
        let count = self.asked.get_with(record.sha256, Arc::default);
        if count.fetch_add(1, Ordering::Relaxed) + 1 == BRING_BACK_AFTER
            && self.wanted.try_send(Arc::clone(record)).is_err()
        {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a use, where retention asks for the last one. What does not fit into the queue is noted at the next use.
    fn mark(&self, sha256: Sha256) {
        if self.bucket.config().has_retention()
            && !self.marked.contains_key(&sha256)
            && self.uses.try_send(sha256).is_ok()
        {
            self.marked.insert(sha256, ());
        }
    }

    /// Tells the log of an upload that fails by itself.
    pub fn complain(&self, sha256: Sha256, error: &StoreError) {
        if !self.complained.contains_key(&sha256) {
            self.complained.insert(sha256, ());
            tracing::warn!(%error, %sha256, "an object cannot be uploaded; it is tried again");
        }
    }

    pub fn is_doubted(&self, sha256: Sha256) -> bool {
        self.doubted.contains_key(&sha256)
    }

    pub fn trust(&self, sha256: Sha256) {
        self.doubted.invalidate(&sha256);
    }

    pub fn believe(&self, sha256: Sha256, is_there: bool) {
        self.present.insert(sha256, is_there);
    }
}

/// What disk and bucket know of a target. What only the bucket knew is written down here.
pub(super) async fn look(shared: Arc<Shared>, key: Key) -> Result<Presence, StoreError> {
    let held = Arc::clone(&shared);
    let on_disk = shared.disk.ask(move || records::look_up(&held.layout, key)).await;
    let Some(tier) = &shared.tier else { return on_disk };
    if let Ok(Presence::Known(_)) = on_disk {
        return on_disk;
    }
    let silent = || BucketError::Unavailable("it is too slow".to_owned());
    let found = timeout(LOOK_DEADLINE, tier.bucket.records_of(key)).await.unwrap_or_else(|_| Err(silent()));
    match found {
        Ok(found) if found.is_empty() => on_disk,
        Ok(found) => {
            let known = Known::new(found.clone(), None, |_| false);
            adopt(&shared, found).await;
            adopt_pins(&shared, key).await;
            let adopted = Arc::clone(&shared);
            match shared.disk.ask(move || records::look_up(&adopted.layout, key)).await {
                Ok(Presence::Known(known)) => Ok(Presence::Known(known)),
                // What could not be written down is known all the same.
                _ => known.map_or(on_disk, |known| Ok(Presence::Known(Arc::new(known)))),
            }
        }
        Err(error) => {
            tracing::debug!(%error, %key, "the bucket was not asked for a target's records");
            on_disk
        }
    }
}

/// Writes down records that came from the bucket. Returns how many were not known here.
pub(super) async fn adopt(shared: &Arc<Shared>, found: Vec<Record>) -> u64 {
    let disk = shared.disk.clone();
    let shared = Arc::clone(shared);
    let adopted = disk.ask(move || {
        let mut new = 0;
        for record in found {
            let (key, sha256) = (record.key(), record.sha256);
            let path = shared.layout.record(key, sha256);
            new += u64::from(!path.exists());
            publish::create_record(&shared, &record, &path)?;
            if let Some(tier) = &shared.tier {
                tier.markers.set_record(key, sha256)?;
            }
        }
        Ok::<_, StoreError>(new)
    });
    adopted.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "records that the bucket has could not be written down");
        0
    })
}

impl Store {
    /// Opens the bytes of a record, on the disk or else in the bucket. `None` if neither has them: then the map forgets the
    /// target.
    ///
    /// # Errors
    /// [`StoreError`] if the disk could not be read, and the bucket has nothing either.
    pub async fn open_hit(&self, key: Key, record: Arc<Record>) -> Result<Option<Hit>, StoreError> {
        let opened = self.open_file(Arc::clone(&record)).await;
        if let Ok(Some(hit)) = opened {
            return Ok(Some(Hit::OnDisk(hit)));
        }
        if let Some(tier) = &self.shared.tier
            && self.bucket_has(tier, &record).await
        {
            let (bucket, store) = (tier.bucket.clone(), self.clone());
            return Ok(Some(Hit::InBucket(BucketHit { record, bucket, store })));
        }
        self.shared.map.forget(key).await;
        opened.map(|_| None)
    }

    pub(super) async fn open_file(&self, record: Arc<Record>) -> Result<Option<FileHit>, StoreError> {
        let sha256 = record.sha256;
        if self.shared.disk.is_unreadable(sha256) {
            return Ok(None);
        }
        let mut hit = contents::open_hit_in_memory(&self.shared.layout, &self.shared.disk, &record);
        if hit.is_none() {
            let shared = Arc::clone(&self.shared);
            hit = self.shared.disk.ask(move || contents::open_hit(&shared.layout, &shared.disk, record)).await?;
        }
        if hit.is_some() {
            self.shared.index.touch(sha256);
            if let Some(tier) = &self.shared.tier {
                tier.mark(sha256);
            }
        }
        Ok(hit)
    }

    /// Whether the bucket has a record's object. One listing tells that of a thousand objects.
    async fn bucket_has(&self, tier: &Tier, record: &Record) -> bool {
        let (sha256, size_bytes) = (record.sha256, record.size_bytes);
        // While it fails, what is believed of it is of no use: one request asks for all whether it is back.
        if !tier.bucket.is_failing() {
            if let Some(is_there) = tier.present.get(&sha256) {
                return is_there;
            }
            let since = since_epoch(SystemTime::now() - tier.present_ttl);
            let store = self.clone();
            let was_seen = move || store.shared.index.was_seen_in_bucket(sha256, size_bytes, since);
            if matches!(self.shared.disk.ask(was_seen).await, Ok(true)) {
                tier.believe(sha256, true);
                return true;
            }
        }
        let seen = match tier.bucket.objects_from(sha256).await {
            Ok(listed) => self.see(tier, &listed).await,
            Err(error) => {
                tracing::debug!(%error, %sha256, "the bucket was not asked for an object");
                return false;
            }
        };
        match seen.iter().find(|(seen, _)| *seen == sha256) {
            Some((_, seen_bytes)) if *seen_bytes == size_bytes => {
                tier.believe(sha256, true);
                return true;
            }
            Some(_) => self.doubt(record, &BucketError::Damaged).await,
            None => {
                let markers = tier.markers.clone();
                let was_there = self.shared.disk.ask(move || Ok::<_, StoreError>(markers.has_object(sha256))).await;
                if was_there.unwrap_or_default() {
                    self.doubt(record, &BucketError::Absent).await;
                } else {
                    tier.believe(sha256, false);
                }
            }
        }
        false
    }

    /// Notes objects that a listing has shown.
    pub(super) async fn see(&self, tier: &Tier, listed: &[bucket::Listed]) -> Vec<(Sha256, u64)> {
        let seen = listed.iter().filter_map(|one| Some((tier.bucket.object_of(one)?, one.size_bytes)));
        let seen: Vec<_> = seen.collect();
        let (store, noted) = (self.clone(), seen.clone());
        if let Err(error) = self.shared.disk.ask(move || store.shared.index.see_in_bucket(&noted)).await {
            tracing::debug!(%error, "what the bucket has was not noted");
        }
        seen
    }

    /// Counts a use out of the bucket. What is asked for often is wanted back.
    pub(super) fn note_bucket_use(&self, record: &Arc<Record>) {
        if let Some(tier) = &self.shared.tier {
            tier.note_use(record);
            tier.mark(record.sha256);
        }
    }

    /// Takes note that the bucket does not have what it should have.
    pub(super) async fn doubt(&self, record: &Record, error: &BucketError) {
        let Some(tier) = &self.shared.tier else { return };
        if !matches!(error, BucketError::Absent | BucketError::Damaged) {
            return;
        }
        let sha256 = record.sha256;
        tracing::error!(%error, %sha256, "the bucket does not have what it had");
        tier.believe(sha256, false);
        if matches!(error, BucketError::Damaged) {
            tier.doubted.insert(sha256, ());
        }
        let (store, record) = (self.clone(), record.clone());
        let forgotten = self.shared.disk.ask(move || {
            let shared = &store.shared;
            let Some(tier) = &shared.tier else { return Ok::<_, StoreError>(()) };
            shared.index.forget_in_bucket(sha256)?;
            // What the disk has goes up again. It waits in the queue before it loses its marker.
            if records::is_held(&shared.layout, &record) {
                shared.index.pend(&[Pending { key: record.key(), sha256 }])?;
                tier.uploads.notify_one();
            }
            Ok(tier.markers.clear_object(sha256)?)
        });
        if let Err(error) = forgotten.await {
            tracing::warn!(%error, %sha256, "what the bucket lacks was not noted");
        }
    }
}
