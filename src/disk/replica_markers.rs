//! ReplicaMarkers of what the bucket has: empty files, one for each object and each record that was
//! uploaded or came from there.
//!
//! They are the truth for eviction: an object that has none is not removed. They hold for one
//! bucket only.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::durable_dirs;
use crate::model::{Key, Sha256};

/// `uploaded/<bucket>/` in the folder.
#[derive(Debug, Clone)]
pub struct ReplicaMarkers {
    root: PathBuf,
}

impl ReplicaMarkers {
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
        durable_dirs::remove_if_there(&self.object(sha256)).map(drop)
    }

    pub fn clear_record(&self, key: Key, sha256: Sha256) -> io::Result<()> {
        durable_dirs::remove_if_there(&self.record(key, sha256)).map(drop)
    }

    /// The objects that are marked, a folder of them at a time.
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

/// A marker that a power cut takes away costs an upload that finds the object there already: it is
/// not synced.
fn set(path: &Path) -> io::Result<()> {
    match fs::File::create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().expect("a marker lies in a folder"))?;
            fs::File::create(path).map(drop)
        }
        created => created.map(drop),
    }
}
