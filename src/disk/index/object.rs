//! Objects as the index knows them.

use super::database::now;
use crate::model::Sha256;

/// Kind of the files that name an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectClass {
    /// A record names the object. Its bytes must not be lost.
    Recorded,
    /// Only observations name the object. The origin can give newer bytes, and no replica has it.
    Observed,
}

/// Object of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedObject {
    pub sha256: Sha256,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Bytes that the object takes on the disk.
    pub disk_bytes: u64,
    /// Time of the last access, in milliseconds since 1970.
    pub accessed_at: i64,
}

impl IndexedObject {
    /// Returns an object that is accessed now, with the lengths of its file.
    pub fn new(sha256: Sha256, size_bytes: u64, disk_bytes: u64) -> Self {
        Self {
            sha256,
            size_bytes,
            disk_bytes,
            accessed_at: now(),
        }
    }
}
