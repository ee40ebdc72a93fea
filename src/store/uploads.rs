//! The queue for the bucket. It is what lies in the folder without a marker, so that nothing of it is lost with a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::bucket::{Upload, Uploaded};
use super::index::Pending;
use super::tier::{Tier, adopt};
use super::{Bucket, BucketError, Store, StoreError, blocking, records};
use crate::model::{Cause, Event, Record};

/// The rest after an upload that failed by itself, and not with the bucket.
const FAILED_REST: Duration = Duration::from_mins(5);

/// What one turn at the queue came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Something was uploaded, or looked at; there may be more.
    Taken,
    /// There is nothing to do now.
    Idle,
}

/// What an upload came to.
enum Outcome {
    Done,
    /// It is there, but has to be looked at again after a while.
    LookAgain(Duration),
}

impl Store {
    /// The bucket, where there is one.
    #[must_use]
    pub fn bucket(&self) -> Option<&Bucket> {
        self.shared.tier.as_ref().map(|tier| &tier.bucket)
    }

    /// Returns once there may be something to upload, after `at_most` in any case.
    pub async fn uploads(&self, at_most: Duration) {
        let Some(tier) = &self.shared.tier else { return std::future::pending().await };
        // The time is up, or somebody published: both mean a look at the queue.
        let _ = timeout(at_most, tier.uploads.notified()).await;
    }

    /// Uploads what has waited longest.
    ///
    /// # Errors
    /// [`StoreError`] where that failed; it stays in the queue.
    pub async fn upload_next(&self) -> Result<Turn, StoreError> {
        let Some(tier) = &self.shared.tier else { return Ok(Turn::Idle) };
        let store = self.clone();
        let taken = blocking(move || store.shared.index.take_pending(&store.shared.instance.name)).await?;
        let Some(pending) = taken else { return Ok(Turn::Idle) };
        let outcome = self.upload(tier, pending).await;
        let wait = match &outcome {
            Ok(Outcome::Done) => None,
            Ok(Outcome::LookAgain(wait)) => Some(*wait),
            // The whole queue rests then.
            Err(StoreError::Bucket(error)) if error.is_of_the_bucket() || matches!(error, BucketError::Resting) => {
                Some(Duration::ZERO)
            }
            Err(error) => {
                tier.complain(pending.sha256, error);
                Some(FAILED_REST)
            }
        };
        let store = self.clone();
        blocking(move || match wait {
            None => store.shared.index.remove_pending(pending),
            Some(wait) => store.shared.index.put_back(pending, u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        })
        .await?;
        outcome.map(|_| Turn::Taken)
    }

    /// The object first, so that a reader who finds the record finds the bytes.
    async fn upload(&self, tier: &Tier, pending: Pending) -> Result<Outcome, StoreError> {
        let started = Instant::now();
        let Pending { key, sha256 } = pending;
        let store = self.clone();
        let read = blocking(move || {
            let layout = &store.shared.layout;
            let Some(record) = records::read_one(layout, key, sha256)? else { return Ok(None) };
            let is_held = records::is_held(layout, &record);
            Ok(Some((Arc::new(record), is_held)))
        });
        let Some((record, is_held)) = read.await? else { return Ok(Outcome::Done) };
        let mut is_settled = true;
        if is_held {
            let path = self.shared.layout.object(sha256);
            let is_doubted = tier.is_doubted(sha256);
            let uploaded = tier.bucket.put_object(&Upload { path: &path, record: &record, is_doubted }).await?;
            tier.trust(sha256);
            is_settled = uploaded == Uploaded::Safely;
        }
        self.upload_record(tier, &record).await?;
        if !is_held {
            // Its bytes were evicted before there was a bucket. When they come back they are put into the queue.
            let store = self.clone();
            let marked = blocking(move || {
                Ok(store.shared.markers().map(|markers| markers.set_record(key, sha256)).transpose()?)
            });
            return marked.await.map(|_| Outcome::Done);
        }
        let has_taken_long = started.elapsed() > tier.bucket.config().gc_grace.0 / 4;
        if !is_settled || has_taken_long {
            return Ok(Outcome::LookAgain(tier.bucket.settling_time()));
        }
        let (store, size_bytes) = (self.clone(), record.size_bytes);
        blocking(move || {
            store.shared.index.see_in_bucket(&[(sha256, size_bytes)])?;
            if let Some(tier) = &store.shared.tier {
                tier.markers.set_object(sha256)?;
                tier.markers.set_record(key, sha256)?;
            }
            store.shared.index.put_in_row(sha256)
        })
        .await?;
        tier.believe(sha256, true);
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(uri = %record.target, %sha256, size_bytes, duration_ms, "uploaded");
        Ok(Outcome::Done)
    }

    /// Puts the record beside those that other instances have put there, and learns of these.
    async fn upload_record(&self, tier: &Tier, record: &Arc<Record>) -> Result<(), StoreError> {
        let key = record.key();
        let mut all = tier.bucket.records_of(key).await?;
        let theirs = all.iter().find(|other| other.sha256 == record.sha256);
        if theirs.is_none_or(|theirs| record.first_seen < theirs.first_seen) {
            tier.bucket.put_record(record).await?;
            // Of two that put theirs at once at least the later one sees both; the other learns of it at its next audit.
            all = tier.bucket.records_of(key).await?;
        }
        all.retain(|other| other.sha256 != record.sha256);
        if all.is_empty() {
            return Ok(());
        }
        let (earliest, is_news) = (Record::answering(all.clone()), adopt(&self.shared, all).await > 0);
        self.shared.map.forget(key).await;
        if is_news && let Some(other) = earliest {
            let kept = Record::answering(vec![other, (**record).clone()]).map(|record| record.sha256.to_string());
            let detail = format!("another instance got other bytes; sha256:{} is the answer", kept.unwrap_or_default());
            self.shared.events.tell(Event::Trouble { target: record.target.clone(), cause: Cause::Changed, detail });
        }
        Ok(())
    }
}
