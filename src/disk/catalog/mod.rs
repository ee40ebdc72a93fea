//! The catalog: an SQLite file that finds targets by file name and by digest.
//!
//! The catalog holds nothing that the files do not say: records, stored digests, and imported lists
//! (`import_files.rs`). If it is damaged or missing, it is created anew and filled from them. It is
//! apart from the index, so that no trouble of the catalog affects the account of the space. Its
//! main type is [`CatalogIndex`].

mod database;
mod entry;
pub mod import_files;
mod import_rows;
pub mod scan;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

pub use entry::{CatalogEntry, EntryOrigin};

use super::DiskError;
use super::layout::Layout;
use crate::model::{Digest, Digests, Key, Record, Sha256, lock};
use database::{Opened, identity};

pub use database::MAX_FOUND_ENTRIES;

/// Entries of a list in one transaction. It bounds the time that look-ups wait.
const IMPORT_BATCH: usize = 1000;

/// The catalog of one cache folder. Other processes may have the same file open.
pub struct CatalogIndex {
    /// `None` while the file cannot be used. Then nothing is found.
    connection: Mutex<Option<Connection>>,
    /// Device and inode of the connected file. The file may be replaced under its name.
    identity: Mutex<Option<(u64, u64)>>,
    /// Whether the file may lack entries.
    needs_scan: AtomicBool,
}

impl CatalogIndex {
    /// Opens the catalog. Creates a new one if it is missing, damaged or of another version. A file
    /// that cannot be used is opened again later.
    pub(super) fn open(layout: &Layout) -> Self {
        let catalog = Self {
            connection: Mutex::default(),
            identity: Mutex::default(),
            needs_scan: AtomicBool::new(false),
        };
        catalog.connect(layout);
        catalog
    }

    fn connect(&self, layout: &Layout) {
        match database::open(layout) {
            Ok(Opened { connection, is_new }) => {
                *lock(&self.connection) = Some(connection);
                *lock(&self.identity) = identity(layout);
                if is_new {
                    self.request_scan();
                }
            }
            Err(error) => {
                tracing::warn!(%error, "catalog cannot be opened, will retry");
                *lock(&self.connection) = None;
                self.request_scan();
            }
        }
    }

    /// Opens the catalog again if its file was deleted or replaced, or could not be used.
    pub(super) fn reopen_if_lost(&self, layout: &Layout) {
        let is_connected = lock(&self.connection).is_some();
        let is_same_file = identity(layout) == *lock(&self.identity);
        if !is_connected || !is_same_file {
            self.connect(layout);
        }
    }

    /// Makes the next scan compare the catalog with the files.
    pub(super) fn request_scan(&self) {
        self.needs_scan.store(true, Ordering::Release);
    }

    /// Returns whether the catalog may lack entries.
    pub(super) fn needs_scan(&self) -> bool {
        self.needs_scan.load(Ordering::Acquire)
    }

    pub(super) fn note_scanned(&self) {
        self.needs_scan.store(false, Ordering::Release);
    }

    /// Adds the entries of a record. A failure is logged, and a scan adds them later.
    pub(super) fn add_record(&self, record: &Record) {
        let added = self.write(|connection| database::add_records(connection, &[record]));
        self.note(added, "entry of a record was not added to the catalog");
    }

    /// Adds the entries of records.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the catalog cannot be written.
    pub(super) fn add_records(&self, records: &[Record]) -> Result<(), DiskError> {
        let records: Vec<&Record> = records.iter().collect();
        self.write(|connection| database::add_records(connection, &records))
    }

    /// Removes the entries of a record. A failure is logged. An entry that is left names a target
    /// that is fetched anew.
    pub(super) fn remove_record(&self, key: Key, sha256: Sha256) {
        let removed = self.write(|connection| database::remove_record(connection, key, sha256));
        self.note(
            removed,
            "entry of a record was not removed from the catalog",
        );
    }

    /// Adds digests to the entries of an object. A failure is logged, and a scan adds them later.
    pub fn add_digests(&self, digests: &Digests) {
        let added = self.write(|connection| database::add_digests(connection, digests));
        self.note(added, "digests of an object were not added to the catalog");
    }

    /// Returns whether the catalog has the entries of a record.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the catalog cannot be read.
    pub(super) fn has_record(&self, key: Key, sha256: Sha256) -> Result<bool, DiskError> {
        let found = self.read(|connection| database::has_record(connection, key, sha256))?;
        Ok(found.unwrap_or_default())
    }

    /// Adds the entries of an imported list, which replace those of the same list. Look-ups and
    /// records go on between the parts of a long list.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the catalog cannot be written. Then only some may be added.
    pub(super) fn add_import(
        &self,
        list: Sha256,
        entries: &[CatalogEntry],
    ) -> Result<(), DiskError> {
        self.remove_import(list)?;
        for part in entries.chunks(IMPORT_BATCH) {
            self.write(|connection| import_rows::add(connection, list, part))?;
        }
        Ok(())
    }

    /// Removes the entries of an imported list.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the catalog cannot be written.
    pub(super) fn remove_import(&self, list: Sha256) -> Result<(), DiskError> {
        self.write(|connection| import_rows::remove(connection, list))
    }

    /// Returns the number of entries that an imported list has in the catalog.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the catalog cannot be read.
    pub fn count_imported(&self, list: Sha256) -> Result<u64, DiskError> {
        let count = self.read(|connection| import_rows::count(connection, Some(list)))?;
        Ok(count.unwrap_or_default())
    }

    /// Returns the imported lists that have entries in the catalog.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the catalog cannot be read.
    pub(super) fn imports(&self) -> Result<Vec<Sha256>, DiskError> {
        Ok(self.read(import_rows::lists)?.unwrap_or_default())
    }

    /// Returns the number of entries that all imported lists have in the catalog.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the catalog cannot be read.
    pub(super) fn count_all_imported(&self) -> Result<u64, DiskError> {
        let count = self.read(|connection| import_rows::count(connection, None))?;
        Ok(count.unwrap_or_default())
    }

    /// Returns up to [`MAX_FOUND_ENTRIES`] different entries of a file name from records, and as
    /// many from lists.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the catalog cannot be read.
    pub fn by_name(&self, name: &str) -> Result<Vec<CatalogEntry>, DiskError> {
        let found = self.read(|connection| database::by_name(connection, name))?;
        Ok(found.unwrap_or_default())
    }

    /// Returns up to [`MAX_FOUND_ENTRIES`] different entries of a digest from records, and as many
    /// from lists.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the catalog cannot be read.
    pub fn by_digest(&self, digest: &Digest) -> Result<Vec<CatalogEntry>, DiskError> {
        let found = self.read(|connection| database::by_digest(connection, digest))?;
        Ok(found.unwrap_or_default())
    }

    /// Returns up to `count` objects whose other digests the catalog does not know, in the order
    /// of their digests, behind `after`.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the catalog cannot be read.
    pub fn without_digests(
        &self,
        after: Option<Sha256>,
        count: usize,
    ) -> Result<Vec<Sha256>, DiskError> {
        let found = self.read(|connection| database::without_digests(connection, after, count))?;
        Ok(found.unwrap_or_default())
    }

    /// Returns the number of entries.
    ///
    /// # Errors
    /// [`DiskError::Index`] if the catalog cannot be read.
    pub fn count(&self) -> Result<u64, DiskError> {
        Ok(self.read(database::count)?.unwrap_or_default())
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<Option<T>, DiskError> {
        let connection = lock(&self.connection);
        Ok(connection.as_ref().map(query).transpose()?)
    }

    /// Runs a change in a transaction.
    fn write(
        &self,
        change: impl FnOnce(&Connection) -> Result<(), rusqlite::Error>,
    ) -> Result<(), DiskError> {
        let mut connection = lock(&self.connection);
        let Some(connection) = connection.as_mut() else {
            return Err(DiskError::IndexBusy);
        };
        let transaction = database::begin(connection)?;
        change(&transaction)?;
        Ok(transaction.commit()?)
    }

    fn note(&self, written: Result<(), DiskError>, failure: &'static str) {
        if let Err(error) = written {
            tracing::debug!(%error, "{failure}");
            self.request_scan();
        }
    }
}
