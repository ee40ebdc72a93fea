//! Uploads that this process works on. Its main type is [`UploadLease`].

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use super::pending_upload::PendingUpload;
use crate::model::lock;

/// The uploads that this process works on, shared by its workers.
pub type UploadsInProgress = Arc<Mutex<HashSet<PendingUpload>>>;

/// An upload that one worker has dequeued.
///
/// If a worker drops it and could not change the queue, another worker may dequeue the upload at
/// once. So a disk that does not answer in between delays the upload only.
#[derive(Debug)]
pub struct UploadLease {
    upload: PendingUpload,
    in_progress: UploadsInProgress,
}

impl UploadLease {
    /// Adds an upload to those in progress. The caller holds `locked`, the set of `in_progress`.
    pub(super) fn new(
        upload: PendingUpload,
        locked: &mut HashSet<PendingUpload>,
        in_progress: &UploadsInProgress,
    ) -> Self {
        locked.insert(upload);
        Self {
            upload,
            in_progress: Arc::clone(in_progress),
        }
    }
}

impl Deref for UploadLease {
    type Target = PendingUpload;

    fn deref(&self) -> &PendingUpload {
        &self.upload
    }
}

impl Drop for UploadLease {
    fn drop(&mut self) {
        lock(&self.in_progress).remove(&self.upload);
    }
}
