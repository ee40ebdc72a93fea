//! The cache folder on the local disk: objects, records, pins, leases, staged bodies, the index and
//! eviction.
//!
//! The files are the truth, and the index can be rebuilt from them. Functions on [`DiskStore`]
//! block. [`DiskIo`] runs them with limits on time and number.
//!
//! This module must not know the bucket, HTTP or the origin. The markers in the folder are all that
//! it knows of replicas. Its main type is [`DiskStore`].

mod absence;
mod absent_logs;
mod caller;
pub mod catalog;
mod compact_log;
pub mod compaction;
mod config;
pub mod digests;
mod durable_dirs;
mod error;
pub mod evict;
mod eviction_turn;
mod file_stamp;
mod folder_identity;
mod folder_lock;
mod folder_parts;
mod free_inodes;
mod hash_file;
mod health;
mod index;
mod index_error;
mod io;
mod layout;
mod layout_version;
pub mod lease;
pub mod listing;
mod metadata_ledger;
pub mod missing;
mod move_object;
pub mod objects;
pub mod observation_publish;
pub mod observations;
mod open_file;
mod open_hit;
mod open_objects;
mod piece_queue;
pub mod pieces;
pub mod pinned_use;
pub mod pins;
mod process_slot;
pub mod publish;
pub mod publish_first;
pub mod quarantine;
mod read_buffers;
mod record_content;
pub mod record_files;
pub mod records;
mod reindex;
mod repair;
mod replica_markers;
mod send_file;
mod space_reservation;
mod space_use;
mod staging;
mod stale_holds;
mod store;
mod target_records;
mod target_snapshot;
mod usage;

pub use catalog::{CatalogEntry, EntryOrigin, MAX_FOUND_ENTRIES};
pub use compact_log::{damaged as damaged_lines, names as compacted_names};
pub use config::DiskConfig;
pub use durable_dirs::names_in;
pub use error::{DiskError, OpenError};
pub use evict::EvictResult;
pub use file_stamp::FileStamp;
pub use folder_identity::folder_identity;
pub use health::DiskHealth;
pub use index::{ObjectClass, PendingUpload, since_epoch};
pub use io::{DiskIo, IoClass};
pub use layout::{Layout, StagedName};
pub use layout_version::CURRENT as LAYOUT_VERSION;
pub use lease::{Acquire, Lease, LeaseHolder, LeaseState};
pub use listing::{ListedPins, ListedTarget};
pub use objects::ObjectHandle;
pub use open_file::{FileHit, OpenFile, ReadFrom, digest_of};
pub use open_hit::open_object;
pub use pinned_use::PinnedUse;
pub use publish::{Placement, Published};
pub use publish_first::FirstPublished;
pub use space_use::{SpaceShare, SpaceUse};
pub use staging::{Finished, NewBody, Sealed, Staging};
pub use store::{DiskStore, OpenMode};
pub use target_records::{ActiveState, TargetLookup, TargetRecords};
pub use target_snapshot::TargetSnapshot;
pub use usage::DiskUsage;
