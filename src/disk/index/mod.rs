//! The index: an SQLite file with the sizes and access time of each object, the account of the
//! space on the disk, and the upload queue.
//!
//! The index holds nothing that the files do not say. If it is damaged or missing, it is created
//! anew and filled from the files. It must not read objects or records itself. Its main type is
//! [`Index`].

mod background_writer;
mod bucket_objects;
mod change;
mod connection;
mod database;
mod digest_query;
mod lru;
mod object;
mod opened;
mod pending_upload;
mod reopening;
mod space_ledger;
mod statements;
mod upload_lease;
mod upload_queue;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, OptionalExtension as _, params};

pub use bucket_objects::BucketObjects;
pub use database::since_epoch;
pub use lru::LruOrder;
pub use object::{IndexedObject, ObjectClass};
pub use pending_upload::PendingUpload;
pub use space_ledger::{LedgerTotals, Reservation, SpaceLedger};
pub use upload_queue::UploadQueue;

use super::DiskError;
use super::layout::Layout;
use crate::model::{Key, MIN_PIECED_BYTES, Sha256};
use change::IndexChange;
use connection::IndexConnection;
use database::{identity, to_i64, to_u64};
use digest_query::query_digests;
use lru::AccessTimes;
use statements::query_row;
use upload_lease::UploadsInProgress;

/// The index of one cache folder. Other processes may have the same file open.
pub struct Index {
    connection: Arc<IndexConnection>,
    /// Device and inode of the connected file. The file may be replaced under its name.
    identity: Mutex<Option<(u64, u64)>>,
    /// Reason why the index is kept in memory. `None` if its file is connected.
    file_error: Mutex<Option<String>>,
    is_new: bool,
    access_times: AccessTimes,
    uploads_in_progress: UploadsInProgress,
}

impl Index {
    /// Opens the index. Creates a new one if it is missing, damaged or of another version. If the
    /// file cannot be used, the index is kept in memory until it can.
    ///
    /// # Errors
    /// [`DiskError::Index`] if neither can be opened.
    pub(super) fn open(layout: &Layout) -> Result<Self, DiskError> {
        let opened = opened::open(layout)?;
        Ok(Self {
            connection: IndexConnection::new(opened.connection),
            identity: Mutex::new(identity(layout)),
            file_error: Mutex::new(opened.file_error),
            is_new: opened.is_new,
            access_times: AccessTimes::default(),
            uploads_in_progress: UploadsInProgress::default(),
        })
    }

    /// Returns whether the index was created by [`Index::open`], and is empty.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns whether changes wait until the index can be written.
    pub(super) fn has_deferred(&self) -> bool {
        self.connection.has_deferred()
    }

    /// Returns whether changes were lost, because too many waited. The index is then compared with
    /// the files once it can be written.
    pub(super) fn has_lost_changes(&self) -> bool {
        self.connection.has_lost_changes()
    }

    /// Returns the evicted objects that the index still has, because it cannot be written.
    pub(super) fn deferred_evictions(&self) -> HashSet<Sha256> {
        self.connection.deferred_evictions()
    }

    /// Writes the changes that wait until the index can be written. Returns whether all changes
    /// are in the index: some may have been lost.
    ///
    /// # Errors
    /// [`DiskError`] if the index cannot be written.
    pub(super) fn write_deferred(&self) -> Result<bool, DiskError> {
        self.connection.write()?.commit()?;
        Ok(!self.connection.take_lost_changes())
    }

    /// Returns the total size of all objects in the index, in bytes.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub(super) fn cached_bytes(&self) -> Result<u64, DiskError> {
        let (connection, sql) = (self.connection.read(), "SELECT cached_bytes FROM ledger");
        Ok(query_row(&connection, sql, [], |row| row.get(0)).map(to_u64)?)
    }

    /// Releases the reservations and the queue leases of all processes that are not in `live`.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub(super) fn release_dead_processes(&self, live: &[String]) -> Result<(), DiskError> {
        let transaction = self.connection.write()?;
        let reserved: Vec<String> = transaction
            .prepare("SELECT DISTINCT process FROM reservations")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for dead in reserved.iter().filter(|process| !live.contains(process)) {
            transaction.execute("DELETE FROM reservations WHERE process = ?1", [dead])?;
        }
        release_queue_leases(&transaction, live)?;
        transaction.commit()
    }

    /// Inserts an object and releases the reservation of its body, in one transaction. An object
    /// that the index already has stays as it is, but an observed one becomes recorded with its
    /// class. `reservation` is a process and the number of a body.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index is damaged.
    pub(super) fn insert(
        &self,
        object: IndexedObject,
        class: ObjectClass,
        reservation: Option<(&str, u64)>,
    ) -> Result<(), DiskError> {
        let Some((process, id)) = reservation else {
            return self.connection.apply(IndexChange::Insert(object, class));
        };
        self.connection.unrecorded().remove(&id);
        self.connection.apply(IndexChange::Publish {
            object,
            class,
            process: process.to_owned(),
            id,
        })
    }

    /// Inserts objects that were found on the disk. Returns the number of objects that the index
    /// did not have with that size.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub(super) fn insert_found(&self, found: &[IndexedObject]) -> Result<u64, DiskError> {
        let transaction = self.connection.write()?;
        let mut added = 0;
        for object in found {
            let sizes = (to_i64(object.size_bytes), to_i64(object.disk_bytes));
            let known: Option<(i64, i64)> = transaction
                .query_row(
                    "SELECT size_bytes, disk_bytes FROM objects WHERE sha256 = ?1",
                    [object.sha256.as_bytes()],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            if known == Some(sizes) {
                continue;
            }
            let sha256 = object.sha256.as_bytes();
            transaction.execute("DELETE FROM objects WHERE sha256 = ?1", [sha256])?;
            transaction.execute(
                "INSERT INTO objects VALUES (?1, ?2, ?3, ?4, FALSE, NULL)",
                params![sha256, sizes.0, sizes.1, object.accessed_at],
            )?;
            added += u64::from(known.is_none_or(|known| known.0 != sizes.0));
        }
        transaction.commit()?;
        Ok(added)
    }

    /// Sets the target whose observation names an object. One that named it before is replaced.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub(super) fn set_observed_key(&self, sha256: Sha256, key: Key) -> Result<(), DiskError> {
        self.connection
            .apply(IndexChange::SetObservedKey(sha256, key))
    }

    /// Returns the target whose observation named an object last, if the index knows it.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub(super) fn observed_key(&self, sha256: Sha256) -> Result<Option<Key>, DiskError> {
        let sql = "SELECT observed_key FROM objects WHERE sha256 = ?1";
        let key = self
            .connection
            .read()
            .query_row(sql, [sha256.as_bytes()], |row| {
                row.get::<_, Option<[u8; 32]>>(0)
            })
            .optional()?;
        Ok(key.flatten().map(Key::from_bytes))
    }

    /// Sets the class of an object. Does nothing if the index does not have it.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn set_class(&self, sha256: Sha256, class: ObjectClass) -> Result<(), DiskError> {
        self.connection.apply(IndexChange::SetClass(sha256, class))
    }

    /// Returns the class of an object, or `None` if the index does not have it.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn class_of(&self, sha256: Sha256) -> Result<Option<ObjectClass>, DiskError> {
        let sql = "SELECT is_observed FROM objects WHERE sha256 = ?1";
        let is_observed = self
            .connection
            .read()
            .query_row(sql, [sha256.as_bytes()], |row| row.get(0))
            .optional()?;
        Ok(is_observed.map(|is_observed| {
            if is_observed {
                ObjectClass::Observed
            } else {
                ObjectClass::Recorded
            }
        }))
    }

    /// Removes an object from the index. Does nothing if the index does not have it.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn remove(&self, sha256: Sha256) -> Result<(), DiskError> {
        self.connection.apply(IndexChange::Remove(sha256))
    }

    /// Releases the reservations and the queue leases of one process.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub(super) fn release_process(&self, process: &str) -> Result<(), DiskError> {
        let transaction = self.connection.write()?;
        transaction.execute("DELETE FROM reservations WHERE process = ?1", [process])?;
        transaction.execute(
            "UPDATE pending SET holder = NULL, not_before = 0 WHERE holder = ?1",
            [process],
        )?;
        transaction.commit()
    }

    /// Returns up to `count` objects whose digest is greater than `after`, in the order of digests.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn objects_after(&self, after: &[u8], count: usize) -> Result<Vec<Sha256>, DiskError> {
        query_digests(
            &self.connection,
            "SELECT sha256 FROM objects WHERE sha256 > ?1 ORDER BY sha256 LIMIT ?2",
            after,
            count,
        )
    }

    /// Returns up to `count` objects with pieces whose digest is greater than `after`, in the order
    /// of digests.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn pieced_after(&self, after: &[u8], count: usize) -> Result<Vec<Sha256>, DiskError> {
        let sql = format!(
            "SELECT sha256 FROM objects WHERE sha256 > ?1 AND size_bytes >= {MIN_PIECED_BYTES}
             ORDER BY sha256 LIMIT ?2"
        );
        query_digests(&self.connection, &sql, after, count)
    }

    /// Returns the length that an object had when it was inserted, in bytes, or `None` if the index
    /// does not have the object.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the index fails.
    pub fn size_of(&self, sha256: Sha256) -> Result<Option<u64>, DiskError> {
        let sql = "SELECT size_bytes FROM objects WHERE sha256 = ?1";
        let connection = self.connection.read();
        let size = connection
            .query_row(sql, [sha256.as_bytes()], |row| row.get(0))
            .optional()?;
        Ok(size.map(to_u64))
    }

    /// Returns the account of the space that files and reservations take.
    pub fn ledger(&self) -> SpaceLedger<'_> {
        SpaceLedger::new(&self.connection)
    }

    /// Returns the LRU order of the objects.
    pub fn lru(&self) -> LruOrder<'_> {
        LruOrder::new(&self.connection, &self.access_times)
    }

    /// Returns the upload queue.
    pub fn uploads(&self) -> UploadQueue<'_> {
        UploadQueue::new(&self.connection, &self.uploads_in_progress)
    }

    /// Returns the list of objects that were seen in the bucket.
    pub fn bucket_objects(&self) -> BucketObjects<'_> {
        BucketObjects::new(&self.connection)
    }
}

/// Makes the uploads that dead processes had dequeued available again.
fn release_queue_leases(transaction: &Connection, live: &[String]) -> Result<(), DiskError> {
    let holders: Vec<String> = transaction
        .prepare("SELECT DISTINCT holder FROM pending WHERE holder IS NOT NULL")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for dead in holders.iter().filter(|holder| !live.contains(holder)) {
        transaction.execute(
            "UPDATE pending SET holder = NULL, not_before = 0 WHERE holder = ?1",
            [dead],
        )?;
    }
    Ok(())
}
