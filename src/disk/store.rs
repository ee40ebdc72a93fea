//! The cache folder as one process has it open.
//!
//! This file must not know what objects and records mean. Its main type is [`DiskStore`].

use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fs_err as fs;
use moka::sync::Cache;
use tokio::sync::Notify;

use super::absent_logs::AbsentLogs;
use super::catalog::CatalogIndex;
use super::config::DiskConfig;
use super::durable_dirs::DurableDirs;
use super::error::{DiskError, OpenError};
use super::eviction_turn::EvictionTurn;
use super::folder_parts::create_missing;
use super::index::Index;
use super::layout::Layout;
use super::metadata_ledger::{FileUse, MetadataLedger};
use super::open_objects::OpenObjects;
use super::piece_queue::PieceQueue;
use super::process_slot::ProcessSlot;
use super::replica_markers::ReplicaMarkers;
use crate::model::{EventSink, Sha256, lock};

/// Bound on the objects that are remembered as unreadable.
const MAX_UNREADABLE: u64 = 10_000;

/// Time after which an unreadable object is read from the disk again.
const UNREADABLE_TTL: Duration = Duration::from_mins(10);

/// Mode in which a process opens the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Serves clients from the folder, and evicts.
    Serve,
    /// Works on the folder beside the processes that serve clients. Evicts nothing, because only
    /// those processes know what they need.
    Maintenance,
}

/// The cache folder as one process has it open. Other processes may have the same folder open.
pub struct DiskStore {
    pub layout: Layout,
    pub index: Index,
    pub catalog: CatalogIndex,
    /// Markers of the bucket that this process uploads to, or `None` if it has no bucket.
    pub markers: Option<ReplicaMarkers>,
    /// Objects whose pieces are to be hashed.
    pub piece_queue: PieceQueue,
    pub(super) mode: OpenMode,
    pub(super) config: DiskConfig,
    pub(super) dirs: DurableDirs,
    pub(super) slot: ProcessSlot,
    /// Objects that could not be read recently, although their files exist.
    pub(super) unreadable: Cache<Sha256, ()>,
    /// Small objects that stay open.
    pub(super) open_objects: OpenObjects,
    pub(super) absent_logs: AbsentLogs,
    /// Changes of the small files that the index does not have yet.
    pub(super) metadata: MetadataLedger,
    pub(super) events: EventSink,
    /// Notified when the cached bytes exceed the high watermark, or when the index was lost.
    pub(super) low_space: Notify,
    /// Locked while this process replaces a log of records. True once the process ends, so that it
    /// leaves no draft.
    pub(super) is_closed: Mutex<bool>,
    /// Record files after the last compaction, if it freed too little.
    pub(super) compaction_floor: Mutex<Option<FileUse>>,
    /// Locked while this process evicts.
    pub(super) evicting: Mutex<EvictionTurn>,
    /// Whether the index may differ from the files.
    pub(super) needs_reindex: AtomicBool,
    /// Locked while this process compares the index with the files.
    pub(super) reindexing: Mutex<()>,
    /// Whether the last comparison ended because the index could not be written.
    pub(super) awaits_index: AtomicBool,
    /// Notified when the index must be opened again, or has changes to write.
    pub(super) attention: Notify,
    /// Whether the index belongs to `replica`.
    pub(super) knows_bucket: AtomicBool,
    /// Identity of the bucket that holds copies.
    replica: Option<String>,
}

impl DiskStore {
    /// Opens the folder: creates missing folders, takes a slot and removes the slots of dead
    /// processes. `replica` is the identity of the bucket that holds copies.
    ///
    /// In [`OpenMode::Serve`] a full or read-only disk does not prevent the start. The probe of the
    /// disk then creates what is missing.
    ///
    /// # Errors
    /// [`OpenError`] if the folder cannot be used.
    pub fn open(
        config: DiskConfig,
        mode: OpenMode,
        replica: Option<&str>,
        events: EventSink,
    ) -> Result<Self, OpenError> {
        let layout = Layout::new(&config.dir);
        let mut slot = ProcessSlot::new(&layout);
        match create_missing(&layout, &slot) {
            Err(error) if mode == OpenMode::Serve && error.is_passing() => {
                tracing::error!(%error, "starting without a cache folder that can be written");
            }
            created => drop(created?),
        }
        let index = Index::open(&layout)?;
        if let Err(error) = slot.reclaim_dead_processes(&layout, &index) {
            tracing::warn!(%error, "slots of dead processes were not removed, will retry");
        }
        let needs_reindex = index.is_new() || slot.found_dead();
        let catalog = CatalogIndex::open(&layout);
        if slot.found_dead() {
            catalog.request_scan();
        }
        let store = Self {
            markers: replica.map(|id| ReplicaMarkers::new(layout.root(), id)),
            piece_queue: PieceQueue::default(),
            dirs: DurableDirs::new(&config.dir),
            unreadable: Cache::builder()
                .max_capacity(MAX_UNREADABLE)
                .time_to_live(UNREADABLE_TTL)
                .build(),
            open_objects: OpenObjects::new(config.held_objects),
            absent_logs: AbsentLogs::new(),
            metadata: MetadataLedger::default(),
            low_space: Notify::new(),
            is_closed: Mutex::new(false),
            compaction_floor: Mutex::default(),
            evicting: Mutex::default(),
            needs_reindex: AtomicBool::new(needs_reindex),
            knows_bucket: AtomicBool::new(false),
            reindexing: Mutex::default(),
            awaits_index: AtomicBool::new(false),
            attention: Notify::new(),
            replica: replica.map(str::to_owned),
            mode,
            config,
            layout,
            slot,
            index,
            catalog,
            events,
        };
        if let Err(error) = store.set_bucket() {
            if !error.is_index_unavailable() {
                return Err(error.into());
            }
            tracing::warn!(%error, "index does not know the bucket yet, will retry");
        }
        Ok(store)
    }

    /// Makes the index know which bucket its upload queue belongs to. Does nothing once it knows.
    /// A process without a bucket empties the queue only while no other process could use it.
    pub(super) fn set_bucket(&self) -> Result<(), DiskError> {
        if self.mode != OpenMode::Serve || self.knows_bucket.load(Ordering::Acquire) {
            return Ok(());
        }
        let uploads = self.index.uploads();
        match &self.replica {
            Some(id) if uploads.set_bucket(id)? => self.request_reindex(),
            Some(_) => {}
            None => {
                if let Some(_slots_lock) = self.slot.lock_if_alone(&self.layout) {
                    uploads.set_no_bucket()?;
                }
            }
        }
        self.knows_bucket.store(true, Ordering::Release);
        Ok(())
    }

    /// Opens the index again if its file was lost or damaged. Then the bucket must be set again,
    /// and the next [`DiskStore::reindex_if_needed`] fills the index.
    ///
    /// # Errors
    /// [`DiskError`] if no index can be opened.
    pub(super) fn replace_index_if_lost(&self) -> Result<(), DiskError> {
        if self.index.replace_if_lost(&self.layout)? {
            self.knows_bucket.store(false, Ordering::Release);
            self.request_reindex();
        }
        Ok(())
    }

    /// Releases reservations and queue entries of dead processes. The next
    /// [`DiskStore::reindex_if_needed`] then compares the index with the files.
    ///
    /// # Errors
    /// [`DiskError`] if the index or the disk fails.
    pub fn reclaim_dead_processes(&self) -> Result<(), DiskError> {
        if ProcessSlot::reclaim(&self.layout, &self.index)? {
            self.request_reindex();
        }
        Ok(())
    }

    /// Makes the next [`DiskStore::reindex_if_needed`] compare the index with the files.
    pub(super) fn request_reindex(&self) {
        self.needs_reindex.store(true, Ordering::Release);
    }

    /// Returns once the cached bytes have exceeded the high watermark, the file system lacks
    /// inodes, or the index was lost.
    pub async fn wait_for_low_space(&self) {
        self.low_space.notified().await;
    }

    /// Returns once the index must be opened again, or has changes to write.
    pub async fn wait_for_attention(&self) {
        self.attention.notified().await;
    }

    /// Returns the markers that allow the loss of a file, or `None` if there is no replica. A
    /// process without a bucket may share the folder with processes that have one, so the index is
    /// asked too.
    pub(super) fn active_markers(&self) -> Result<Option<ReplicaMarkers>, DiskError> {
        match &self.markers {
            Some(markers) => Ok(Some(markers.clone())),
            None => Ok(self
                .index
                .uploads()
                .bucket()?
                .map(|id| ReplicaMarkers::new(self.layout.root(), &id))),
        }
    }

    /// Returns whether an object could not be read within the last `UNREADABLE_TTL`. Such an object
    /// counts as a miss, and a new copy may replace it.
    pub fn is_unreadable(&self, sha256: Sha256) -> bool {
        self.unreadable.contains_key(&sha256)
    }

    /// Records the outcome of reading an object. A timeout is ignored: it concerns the disk, not
    /// the object.
    pub fn record_read<T>(&self, sha256: Sha256, read: &std::io::Result<T>) {
        if read
            .as_ref()
            .is_err_and(|error| error.kind() != std::io::ErrorKind::TimedOut)
        {
            self.unreadable.insert(sha256, ());
        }
    }

    /// Returns the name of this process in the folder.
    pub fn process_name(&self) -> &str {
        &self.slot.name
    }

    /// Returns the time of the file system's clock since 1970, in seconds and nanoseconds. Its
    /// resolution is coarser than that of the system's clock.
    ///
    /// # Errors
    /// [`DiskError`] if the disk fails.
    pub fn file_system_time(&self) -> Result<(i64, i64), DiskError> {
        let (_, path) = self.slot.next_file();
        fs::write(&path, b"time")?;
        let metadata = fs::metadata(&path)?;
        fs::remove_file(&path)?;
        Ok((metadata.ctime(), metadata.ctime_nsec()))
    }

    /// Releases the slot at the end of the process, and removes its staged bodies.
    ///
    /// # Errors
    /// [`DiskError`] if the index or the disk fails.
    pub fn close(&self) -> Result<(), DiskError> {
        *lock(&self.is_closed) = true;
        // The serving processes must reindex the files that a maintenance process added, and those
        // that the file of the index does not have.
        let is_clean = self.mode == OpenMode::Serve
            && !self.needs_reindex.load(Ordering::Acquire)
            && !self.index.is_in_memory()
            && !self.index.has_lost_changes();
        self.slot.release(&self.index, is_clean)
    }
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore")
            .field("root", &self.layout.root())
            .finish_non_exhaustive()
    }
}
