//! Markers of the objects and records that the bucket has. A marker is an empty file, and is set
//! after an upload or a download.
//!
//! The markers are the truth for eviction: with a bucket, an object without a marker is not
//! evicted. They are valid for one bucket only. This file must not know how the bucket is reached.
//! Its main type is [`ReplicaMarkers`].

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::durable_dirs;
use crate::model::{Key, Sha256};

/// The markers of one bucket, in `uploaded/<bucket>/` of the cache folder.
#[derive(Debug, Clone)]
pub struct ReplicaMarkers {
    root: PathBuf,
}

impl ReplicaMarkers {
    /// Returns the markers of a bucket in a cache folder. Creates nothing.
    pub fn new(folder: &Path, bucket_id: &str) -> Self {
        Self {
            root: folder.join("uploaded").join(bucket_id),
        }
    }

    pub fn has_object(&self, sha256: Sha256) -> bool {
        self.object(sha256).exists()
    }

    pub fn has_record(&self, key: Key, sha256: Sha256) -> bool {
        self.record(key, sha256).exists()
    }

    pub fn set_object(&self, sha256: Sha256) -> io::Result<()> {
        set(&self.object(sha256))
    }

    pub fn set_record(&self, key: Key, sha256: Sha256) -> io::Result<()> {
        set(&self.record(key, sha256))
    }

    pub fn clear_object(&self, sha256: Sha256) -> io::Result<()> {
        durable_dirs::remove_if_exists(&self.object(sha256)).map(drop)
    }

    pub fn clear_record(&self, key: Key, sha256: Sha256) -> io::Result<()> {
        durable_dirs::remove_if_exists(&self.record(key, sha256)).map(drop)
    }

    /// Returns the folders of the object markers, whose files are named by digests.
    ///
    /// # Errors
    /// The system's error if the disk fails.
    pub fn objects(&self) -> io::Result<Vec<PathBuf>> {
        let folder = self.root.join("objects");
        Ok(durable_dirs::names_in(&folder)?
            .into_iter()
            .map(|name| folder.join(name))
            .collect())
    }

    /// `objects/ab/<sha256>`
    fn object(&self, sha256: Sha256) -> PathBuf {
        let name = sha256.to_string();
        self.root.join("objects").join(&name[..2]).join(name)
    }

    /// `records/ab/<key>.<sha256>`
    fn record(&self, key: Key, sha256: Sha256) -> PathBuf {
        let name = key.to_string();
        self.root
            .join("records")
            .join(&name[..2])
            .join(format!("{name}.{sha256}"))
    }
}

/// Creates a marker without syncing it. If a power cut removes it, the next upload finds the object
/// in the bucket and sets the marker again.
fn set(path: &Path) -> io::Result<()> {
    match fs::File::create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().expect("a marker lies in a folder"))?;
            fs::File::create(path).map(drop)
        }
        created => created.map(drop),
    }
}
