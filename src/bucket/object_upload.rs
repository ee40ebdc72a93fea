//! The description and the result of one upload.

use std::path::Path;

use crate::model::Record;

/// An object to upload.
pub struct ObjectUpload<'a> {
    /// File with the object's bytes.
    pub path: &'a Path,
    /// Record with the object's digest and length, and the header fields for clients.
    pub record: &'a Record,
    /// The copy in the bucket was found damaged, and is replaced.
    pub is_suspect: bool,
}

/// How safe an uploaded object is from garbage collection of other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadResult {
    /// The object is new in the bucket, or recent. No garbage collection removes it.
    Safe,
    /// The object was in the bucket, and old enough that another node may be removing it. The
    /// caller must upload again after [`Bucket::removal_grace`](super::Bucket::removal_grace).
    RecheckNeeded,
}
