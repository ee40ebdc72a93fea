//! Storing of files that an operator has on this machine. They never replace stored bytes.
//!
//! This file must not know where the files lie. The main type is [`OwnFiles`].

use std::fs::File;
use std::sync::Arc;

use super::error::CacheError;
use super::handle::Cache;
use super::pin_sync;
use crate::disk::{
    DiskStore, FirstPublished, IoClass, NewBody, ObjectClass, Sealed, SpaceUse, Staging, catalog,
    publish_first,
};
use crate::model::{Hasher, Record};

/// Access for storing an operator's files.
#[derive(Debug, Clone, Copy)]
pub struct OwnFiles<'a> {
    pub(super) cache: &'a Cache,
}

impl OwnFiles<'_> {
    /// Stages a hard link to a file. Returns `None` if the file system allows none.
    ///
    /// # Errors
    /// [`CacheError`] if the body does not fit, or the disk fails.
    pub async fn link(
        self,
        source: Arc<File>,
        size_bytes: u64,
        hasher: Hasher,
    ) -> Result<Option<Staging>, CacheError> {
        let body = NewBody {
            class: ObjectClass::Recorded,
            length: Some(size_bytes),
            hasher,
            space_use: SpaceUse::Own,
        };
        Ok(Staging::link(self.cache.disk(), source, body).await?)
    }

    /// Publishes bytes under a record, unless the target has others. Without a body, the object
    /// must be stored already.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn publish(
        self,
        sealed: Option<Sealed>,
        record: Record,
        pinned: bool,
    ) -> Result<FirstPublished, CacheError> {
        let (key, sha256) = (record.key(), record.sha256);
        let size_bytes = sealed.as_ref().map_or(0, |sealed| sealed.size_bytes);
        let class = IoClass::Durable { size_bytes };
        let published = self.cache.disk().run(class, move |disk| {
            publish_first::publish_first(disk, sealed.as_ref(), &record, pinned)
        });
        let published = published.await?;
        self.cache.invalidate(key);
        if published == FirstPublished::Answers {
            self.cache.notify_upload();
            if pinned {
                pin_sync::put_pin(self.cache, key, sha256).await;
            }
        }
        Ok(published)
    }

    /// Adds to the index and the catalog what they lack, because another process had them locked.
    ///
    /// # Errors
    /// [`CacheError`] if one of them or the disk fails.
    pub async fn complete_indexes(self) -> Result<(), CacheError> {
        let complete = |disk: &DiskStore| {
            disk.reindex_if_needed()?;
            catalog::scan::scan_if_needed(disk).map(drop)
        };
        Ok(self
            .cache
            .disk()
            .run(IoClass::Maintenance, complete)
            .await?)
    }
}
