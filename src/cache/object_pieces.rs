//! Access to the pieces of objects. The main type is [`ObjectPieces`].

use super::error::CacheError;
use super::handle::Cache;
use crate::disk::{DiskError, DiskStore, FileStamp, IoClass, ObjectHandle, pieces};
use crate::model::{PieceList, Sha256};

/// Objects that are read from the index in one call.
const BATCH: usize = 64;

/// The pieces of the objects of a cache.
#[derive(Debug, Clone, Copy)]
pub struct ObjectPieces<'a> {
    pub(super) cache: &'a Cache,
}

impl ObjectPieces<'_> {
    /// Returns the stored pieces of an object. If there are none, or no SHA-1 of them, the object
    /// is queued for the computation.
    ///
    /// # Errors
    /// [`CacheError`] if the disk does not answer.
    pub async fn of(self, object: &ObjectHandle) -> Result<Option<PieceList>, CacheError> {
        let found = self.stored(IoClass::Request, object).await?;
        if !is_complete(found.as_ref()) {
            let queue = &self.cache.disk().store().piece_queue;
            queue.add(object.sha256, object.size_bytes);
        }
        Ok(found)
    }

    async fn stored(
        self,
        class: IoClass,
        object: &ObjectHandle,
    ) -> Result<Option<PieceList>, CacheError> {
        let (sha256, size_bytes) = (object.sha256, object.size_bytes);
        let read = move |disk: &DiskStore| Ok::<_, DiskError>(pieces::read(&disk.layout, sha256));
        let found = self.cache.disk().run(class, read).await?;
        Ok(found.filter(|list| list.size_bytes() == size_bytes))
    }

    /// Opens an object of the disk that lacks its pieces, or the SHA-1 of them. No client reads it,
    /// so its access time stays.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn open_without(self, sha256: Sha256) -> Result<Option<ObjectHandle>, CacheError> {
        let disk = self.cache.disk();
        let opened = ObjectHandle::open(disk, IoClass::Maintenance, sha256).await?;
        let Some(object) = opened.filter(|object| PieceList::is_for(object.size_bytes)) else {
            return Ok(None);
        };
        let stored = self.stored(IoClass::Maintenance, &object).await?;
        Ok((!is_complete(stored.as_ref())).then_some(object))
    }

    /// Stores the pieces of an object whose file, with this identity, was read and had its digest.
    ///
    /// # Errors
    /// [`CacheError`] if the disk fails.
    pub async fn store(
        self,
        sha256: Sha256,
        stamp: FileStamp,
        list: PieceList,
    ) -> Result<(), CacheError> {
        let verifier = &self.cache.inner.verifier;
        verifier.mark_intact(sha256, stamp).await;
        let write = move |disk: &DiskStore| pieces::write(disk, sha256, &list);
        Ok(self.cache.disk().run(IoClass::Maintenance, write).await?)
    }

    /// Returns the next objects of the index that are large enough for pieces, in the order of
    /// their digests. Empty at the end.
    ///
    /// # Errors
    /// [`CacheError`] if the index fails.
    pub async fn objects_after(self, after: Option<Sha256>) -> Result<Vec<Sha256>, CacheError> {
        let query = move |disk: &DiskStore| {
            let after = after.as_ref().map_or(&[][..], |sha256| sha256.as_bytes());
            disk.index.pieced_after(after, BATCH)
        };
        Ok(self.cache.disk().run(IoClass::Maintenance, query).await?)
    }
}

/// Returns whether nothing has to be computed for a list.
fn is_complete(list: Option<&PieceList>) -> bool {
    list.is_some_and(|list| list.sha1().is_some())
}
