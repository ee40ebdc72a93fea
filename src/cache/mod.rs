//! The cache: a folder on the local disk and, if one is configured, a bucket as second tier.
//!
//! A look-up goes from memory to the disk to the bucket. A body is stored in one way: space is
//! reserved, then the body is staged, sealed and published on the disk. From there it is uploaded
//! to the bucket. This module knows no HTTP and no origin, and does not decide what may be stored.
//! Its main type is [`Cache`].

mod admin;
mod bucket_downloads;
mod bucket_findings;
mod bucket_inventory;
mod bucket_state;
mod catalog_access;
mod changed_content;
mod config;
mod error;
mod handle;
mod hashing_signal;
mod hit;
mod leases;
mod lookup;
mod lookup_cache;
mod object_pieces;
mod object_verifier;
mod observations;
mod open;
mod operations;
mod own_files;
mod pin_sync;
mod promote;
mod record_access;
mod repair;
mod replication;
mod staging_pool;
mod tier_copy;
mod upload_worker;
mod verification;
mod verifying_reader;

pub use admin::{CacheAdmin, PinnedTarget, RecordStatus, RemovedTarget, TargetRemoval};
pub use bucket_downloads::BucketDownloadView;
pub use bucket_inventory::InventoryReport;
pub use catalog_access::CatalogAccess;
pub use config::{Config, OnChange};
pub use error::CacheError;
pub use handle::Cache;
pub use hashing_signal::HashingSignal;
pub use hit::{BucketHit, BucketStream, Hit};
pub use leases::TargetLeases;
pub use object_pieces::ObjectPieces;
pub use object_verifier::HashError;
pub use observations::Observations;
pub use own_files::OwnFiles;
pub use replication::Replication;
pub use tier_copy::{CopyReport, Tier, TierCopy, TierPart};
pub use upload_worker::QueuePoll;
pub use verification::{ExaminedObject, ObjectMatch, StoredBytes, Verification};
pub use verifying_reader::VerifyingReader;

pub use crate::bucket::{Bucket, BucketDelivery, BucketError, Config as BucketConfig};
pub use crate::disk::{
    Acquire, CatalogEntry, DiskError, DiskHealth, DiskIo, DiskUsage, EntryOrigin, EvictResult,
    FileHit, Finished, FirstPublished, Lease, LeaseHolder, LeaseState, ListedPins, ListedTarget,
    MAX_FOUND_ENTRIES, ObjectHandle, OpenError, OpenFile, OpenMode, PinnedUse, Published, Sealed,
    StagedName, Staging, TargetLookup, TargetRecords, TargetSnapshot,
};
