//! What operators do with what is kept: they look at it, pin it, bring it and remove it.

use std::sync::Arc;
use std::time::SystemTime;

use fs_err as fs;

use super::evict::{self, Eviction};
use super::listing::{self, Listed};
use super::object::{self, Object};
use super::{Published, Sealed, Store, StoreError, blocking, pins, publish, records};
use crate::model::{Key, Record, Sha256};

/// One record of a target, and what has become of its bytes.
#[derive(Debug, Clone)]
pub struct Witness {
    pub record: Record,
    pub is_held: bool,
    pub pinned_at: Option<SystemTime>,
    /// Whether it is what the target means.
    pub answers: bool,
}

/// What removing a target came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub records: u64,
    /// In bytes.
    pub freed_bytes: u64,
}

impl Store {
    /// All that a target is known to have given, the earliest first.
    ///
    /// # Errors
    /// [`StoreError`] if the disk could not be read.
    pub async fn history(&self, key: Key) -> Result<Vec<Witness>, StoreError> {
        let store = self.clone();
        blocking(move || {
            let layout = &store.shared.layout;
            let mut all = records::read_all(layout, key)?;
            all.sort_by_key(|record| (record.first_seen, record.sha256));
            let pins = pins::of(layout, key)?;
            let Some(known) = records::known(layout, all.clone(), &pins) else { return Ok(Vec::new()) };
            let witness = |record: Record| Witness {
                is_held: records::is_held(layout, &record),
                pinned_at: pins.iter().find(|pin| pin.sha256 == record.sha256).map(|pin| pin.pinned_at),
                answers: known.answering().sha256 == record.sha256,
                record,
            };
            Ok(all.into_iter().map(witness).collect())
        })
        .await
    }

    /// Up to `limit` targets whose key lies behind `after`, in the order of keys.
    ///
    /// # Errors
    /// [`StoreError`] if the disk could not be read.
    pub async fn list(&self, after: Option<Key>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let store = self.clone();
        blocking(move || listing::list(&store.shared.layout, after, limit)).await
    }

    /// Opens an object by its digest. `None` if it is not held.
    ///
    /// # Errors
    /// [`StoreError`] if the disk could not be read.
    pub async fn open_object(&self, sha256: Sha256) -> Result<Option<Object>, StoreError> {
        let store = self.clone();
        let opened = self.shared.disk.ask(move || {
            let object = object::open(&store.shared.layout, &store.shared.disk, sha256)?;
            // A hint, but the only one here: which records name it is not known.
            let known_bytes = store.shared.index.size_of(sha256).unwrap_or_default();
            let fits = |object: &Object| known_bytes.is_none_or(|known_bytes| known_bytes == object.size_bytes);
            Ok::<_, StoreError>(object.filter(fits))
        });
        let object = opened.await?;
        if object.is_some() {
            self.shared.index.touch(sha256);
        }
        Ok(object)
    }

    /// Pins a target to bytes that it has given, held or not. False if there is no such record.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn pin(&self, key: Key, sha256: Sha256) -> Result<bool, StoreError> {
        let store = self.clone();
        let is_known = blocking(move || {
            let is_known = store.shared.layout.record(key, sha256).is_file();
            if is_known {
                pins::set(&store.shared, key, sha256)?;
            }
            Ok(is_known)
        })
        .await?;
        self.shared.map.forget(key).await;
        if is_known {
            self.tell_of_pin(key, sha256).await;
        }
        Ok(is_known)
    }

    /// Takes away one pin of a target, or all of them. Returns how many there were.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn unpin(&self, key: Key, sha256: Option<Sha256>) -> Result<u64, StoreError> {
        let store = self.clone();
        let removed = blocking(move || {
            let all = pins::of(&store.shared.layout, key)?.into_iter().map(|pin| pin.sha256);
            let removed: Vec<_> = all.filter(|pinned| sha256.is_none_or(|wanted| wanted == *pinned)).collect();
            for pinned in &removed {
                pins::remove(&store.shared, key, *pinned)?;
            }
            Ok(removed)
        })
        .await?;
        self.shared.map.forget(key).await;
        for sha256 in &removed {
            self.tell_of_unpin(key, *sha256).await;
        }
        Ok(removed.len() as u64)
    }

    /// As [`Store::publish`], and pins the target to what is published. At no moment can it be evicted in between.
    ///
    /// # Errors
    /// As [`Store::publish`].
    pub async fn publish_pinned(&self, sealed: Sealed, record: Record) -> Result<Published, StoreError> {
        let store = self.clone();
        let (key, sha256) = (record.key(), record.sha256);
        let published = blocking(move || {
            let (shared, sha256) = (&store.shared, record.sha256);
            pins::keep_for(shared, key, sha256)?;
            let mut published = publish::publish(shared, &sealed, &record)?;
            pins::set(shared, key, sha256)?;
            let all = records::read_all(&shared.layout, key)?;
            if let Some(known) = records::known(&shared.layout, all, &pins::of(&shared.layout, key)?) {
                published.known = Arc::new(known);
            }
            Ok(published)
        })
        .await?;
        self.shared.map.forget(key).await;
        self.tell_of_pin(key, sha256).await;
        Ok(published)
    }

    /// Removes an object at once, unless somebody has pinned it. Its records stay.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn remove_object(&self, sha256: Sha256) -> Result<Eviction, StoreError> {
        if self.is_pinned_in_bucket(sha256).await? {
            return Ok(Eviction::Pinned);
        }
        let store = self.clone();
        let removed = blocking(move || evict::remove(&store.shared, sha256)).await?;
        if removed != Eviction::Pinned {
            self.remove_object_from_bucket(sha256).await?;
        }
        Ok(removed)
    }

    /// Removes a target: its pins, its records, and the bytes that they name, but for those that are pinned for other
    /// targets. Another target that has given the same bytes fetches them again, and they must be the same.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses; what is left can be removed by another call.
    pub async fn forget(&self, key: Key) -> Result<Forgotten, StoreError> {
        let store = self.clone();
        let records = blocking(move || records::read_all(&store.shared.layout, key)).await?;
        let digests: Vec<Sha256> = records.iter().map(|record| record.sha256).collect();
        self.unpin(key, None).await?;
        self.remove_records_from_bucket(key, &digests).await?;
        let mut forgotten = Forgotten::default();
        for sha256 in digests {
            if let Eviction::Gone { size_bytes } = self.remove_object(sha256).await? {
                forgotten.freed_bytes += size_bytes;
            }
            let store = self.clone();
            blocking(move || Ok(fs::remove_file(store.shared.layout.record(key, sha256))?)).await?;
            forgotten.records += 1;
        }
        self.shared.map.forget(key).await;
        Ok(forgotten)
    }
}
