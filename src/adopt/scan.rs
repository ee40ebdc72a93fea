//! One scan of a folder: the walk runs on a thread of its own, and several files are adopted at the
//! same time.
//!
//! The main type is [`FolderScan`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::adopter::Adopter;
use super::error::{AdoptError, FolderError};
use super::folder_walk::{ExcludedFiles, FolderWalk, FoundEntry};
use super::read_source::stamp_of;
use super::report::{AdoptOutcome, FileReport};
use super::source_stamp::SourceStamp;
use super::watch_memory::WatchMemory;
use crate::model::lock;

/// Bound on the entries between the walk and the adopter. Each may hold an open file.
const MAX_QUEUED: usize = 16;

/// How a scan has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanEnd {
    Complete,
    /// The stop was requested.
    Stopped,
    /// The folder has more entries than can be watched.
    TooManyEntries,
}

/// A folder, and what a scan of it needs.
pub struct FolderScan {
    pub root: PathBuf,
    pub excluded: ExcludedFiles,
    /// Files that are adopted at the same time.
    pub jobs: usize,
    /// Memory of the earlier scans of a watched folder.
    pub memory: Option<Arc<Mutex<WatchMemory>>>,
}

impl FolderScan {
    /// Adopts all entries of the folder that are due. `show` is called with each result that is
    /// news.
    ///
    /// # Errors
    /// [`FolderError`] if the folder itself cannot be read.
    pub async fn run(
        &self,
        adopter: &Arc<Adopter>,
        mut show: impl FnMut(FileReport),
    ) -> Result<ScanEnd, FolderError> {
        if let Some(memory) = &self.memory {
            lock(memory).begin_scan();
        }
        let (queue, entries) = mpsc::channel(MAX_QUEUED);
        let walk = self.walk(queue, adopter);
        let entries = stream::unfold(entries, |mut entries| async {
            let entry = entries.recv().await?;
            Some((entry, entries))
        });
        let reports = entries.map(|entry| report_on(entry, adopter));
        let mut reports = std::pin::pin!(reports.buffer_unordered(self.jobs));
        while let Some((report, stamp)) = reports.next().await {
            if matches!(report.outcome, AdoptOutcome::Refused(AdoptError::Stopped)) {
                continue;
            }
            let memory = self.memory.as_ref();
            if memory.is_none_or(|memory| lock(memory).note(&report, stamp)) {
                show(report);
            }
        }
        let walked = walk
            .await
            .unwrap_or_else(|panic| Err(std::io::Error::other(panic)))?;
        Ok(self.end(walked, adopter))
    }

    /// Hands the entries that are due to the adopter, on a thread of its own.
    fn walk(
        &self,
        queue: mpsc::Sender<FoundEntry>,
        adopter: &Arc<Adopter>,
    ) -> tokio::task::JoinHandle<std::io::Result<bool>> {
        let (root, excluded) = (self.root.clone(), self.excluded.clone());
        let (memory, adopter) = (self.memory.clone(), Arc::clone(adopter));
        spawn_blocking(move || {
            let memory = memory.as_deref();
            let is_full = || memory.is_some_and(|memory| lock(memory).is_full());
            let walk = FolderWalk {
                excluded: &excluded,
                wants: |path: &Path, stamp| {
                    memory.is_none_or(|memory| lock(memory).is_due(path, stamp))
                },
                visit: |entry| {
                    !adopter.is_stopped() && !is_full() && queue.blocking_send(entry).is_ok()
                },
            };
            walk.run(&root)
        })
    }

    fn end(&self, is_complete: bool, adopter: &Adopter) -> ScanEnd {
        if adopter.is_stopped() {
            return ScanEnd::Stopped;
        }
        if !is_complete {
            return ScanEnd::TooManyEntries;
        }
        if let Some(memory) = &self.memory {
            lock(memory).end_scan();
        }
        ScanEnd::Complete
    }
}

/// Returns the result for an entry, and its stamp afterwards.
async fn report_on(entry: FoundEntry, adopter: &Adopter) -> (FileReport, Option<SourceStamp>) {
    match entry {
        FoundEntry::Skipped(path, stamp, reason) => {
            (FileReport::new(path, AdoptOutcome::Skipped(reason)), stamp)
        }
        FoundEntry::Unreadable(path, stamp, error) => {
            let refused = AdoptOutcome::Refused(AdoptError::Unreadable(error));
            (FileReport::new(path, refused), stamp)
        }
        FoundEntry::File(found) => {
            let report = adopter.adopt(&found).await;
            // A link changes the mode of the file.
            let now = stamp_of(&found.file).ok();
            let stamp = now.filter(|now| now.has_same_bytes(&found.stamp));
            (report, Some(stamp.unwrap_or(found.stamp)))
        }
    }
}
