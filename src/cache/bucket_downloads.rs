//! The copies from the bucket to the disk that run now, as operators see them.
//!
//! This file reads no bucket. Its main type is [`BucketDownloads`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::model::{Record, Target, TransferNumber, lock};

/// A copy at one time.
#[derive(Debug, Clone)]
pub struct BucketDownloadView {
    pub number: TransferNumber,
    pub target: Target,
    pub size_bytes: u64,
    pub received_bytes: u64,
    pub age: Duration,
}

/// The copies that run now. Promotions bound their number.
#[derive(Debug, Default)]
pub struct BucketDownloads {
    running: Arc<Mutex<BTreeMap<TransferNumber, RunningDownload>>>,
}

#[derive(Debug)]
struct RunningDownload {
    record: Arc<Record>,
    received_bytes: Arc<AtomicU64>,
    started: Instant,
}

/// Place of a copy in the list. Dropping it removes the copy.
#[derive(Debug)]
pub struct BucketDownloadPlace {
    number: TransferNumber,
    /// The copy adds the bytes that have arrived.
    pub received_bytes: Arc<AtomicU64>,
    running: Arc<Mutex<BTreeMap<TransferNumber, RunningDownload>>>,
}

impl BucketDownloads {
    /// Adds a copy that starts now.
    pub fn register(&self, record: &Arc<Record>) -> BucketDownloadPlace {
        let (number, received_bytes) = (TransferNumber::next(), Arc::default());
        let download = RunningDownload {
            record: Arc::clone(record),
            received_bytes: Arc::clone(&received_bytes),
            started: Instant::now(),
        };
        lock(&self.running).insert(number, download);
        BucketDownloadPlace {
            number,
            received_bytes,
            running: Arc::clone(&self.running),
        }
    }

    /// Returns all copies, the oldest first.
    pub fn views(&self) -> Vec<BucketDownloadView> {
        let running = lock(&self.running);
        let views = running.iter().map(|(number, download)| BucketDownloadView {
            number: *number,
            target: download.record.target.clone(),
            size_bytes: download.record.size_bytes,
            received_bytes: download.received_bytes.load(Ordering::Relaxed),
            age: download.started.elapsed(),
        });
        views.collect()
    }
}

impl Drop for BucketDownloadPlace {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.number);
    }
}
