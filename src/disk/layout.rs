//! Paths in the cache folder. Other versions of Millpond and other tools read the folder, so its
//! layout is fixed.
//!
//! This file must not know the content of the files. Its main type is [`Layout`].

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::folder_lock::{self, LOCK_TIMEOUT};
use super::{FileStamp, OpenError, durable_dirs};
use crate::model::{Key, Sha256};

/// Length of the longest path behind the root, in bytes. Every request needs such paths, so each is
/// built in one allocation.
const PATH_BYTES: usize = "/observations/ab/".len() + 2 * (64 + "/".len()) + ".json".len();

/// Returns the name of an object under the objects folder: `ab/abcdef...`
pub fn object_name(sha256: Sha256) -> String {
    let name = sha256.to_string();
    format!("{}/{name}", &name[..2])
}

/// Returns the name of the slot of a process under the staging folder.
pub fn slot_name(process: u64) -> String {
    format!("{process:016x}")
}

/// Name of a file in the staging folder: `<process>/<id>`. No value names a file outside that
/// folder, so it may come from another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub struct StagedName {
    pub(super) process: u64,
    pub(super) id: u64,
}

/// Paths of one cache folder.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Returns the paths below a root folder, which need not exist.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Creates the root folder, and nothing in it.
    ///
    /// # Errors
    /// [`OpenError::Folder`] if it cannot be created.
    pub fn create_root(&self) -> Result<(), OpenError> {
        durable_dirs::create_root(&self.root).map_err(|why| OpenError::Folder {
            path: self.root.clone(),
            why,
        })
    }

    /// Creates the folders in the root that do not exist yet.
    ///
    /// # Errors
    /// [`OpenError::Folder`] if one cannot be created.
    pub fn create_folders(&self) -> Result<(), OpenError> {
        let folders = [
            self.objects(),
            self.records(),
            self.observations(),
            self.compact(),
            self.pins(),
            self.staging(),
            self.leases(),
            self.locks(),
        ];
        for folder in folders {
            std::fs::create_dir_all(&folder).map_err(|why| OpenError::Folder {
                path: self.root.clone(),
                why,
            })?;
        }
        Ok(())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub fn records(&self) -> PathBuf {
        self.root.join("records")
    }

    /// Returns `observations`.
    pub fn observations(&self) -> PathBuf {
        self.root.join("observations")
    }

    /// Returns `observations/ab/<key>`.
    pub fn observations_of(&self, key: Key) -> PathBuf {
        self.sharded("observations", &key.to_string())
    }

    /// Returns `digests`.
    pub fn all_digests(&self) -> PathBuf {
        self.root.join("digests")
    }

    /// Returns `digests/ab/<sha256>.json`.
    pub fn digests(&self, sha256: Sha256) -> PathBuf {
        let name = format!("{}.json", object_name(sha256));
        self.all_digests().join(name)
    }

    /// Returns `pieces`.
    pub fn all_pieces(&self) -> PathBuf {
        self.root.join("pieces")
    }

    /// Returns `pieces/ab/<sha256>`.
    pub fn pieces(&self, sha256: Sha256) -> PathBuf {
        self.sharded("pieces", &sha256.to_string())
    }

    /// Returns `compact`.
    pub fn compact(&self) -> PathBuf {
        self.root.join("compact")
    }

    /// Returns `compact/ab.log`, for the targets whose keys begin with these two digits.
    pub fn compact_log(&self, shard: &str) -> PathBuf {
        self.compact().join(format!("{shard}.log"))
    }

    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// `staging/<process>/<id>`
    pub fn staged(&self, name: StagedName) -> PathBuf {
        let slot = self.staging().join(slot_name(name.process));
        slot.join(name.id.to_string())
    }

    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    pub fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    /// `leases/<key>`
    pub fn lease(&self, key: Key) -> PathBuf {
        self.path(["leases", &key.to_string()])
    }

    /// `locks/scrub`
    pub fn scrub_lock(&self) -> PathBuf {
        self.locks().join("scrub")
    }

    /// Returns whether the folder holds a cache, in this layout or an older one.
    #[must_use]
    pub fn has_cache(&self) -> bool {
        self.version().exists() || self.objects().is_dir()
    }

    /// The file that holds the version of this layout.
    pub fn version(&self) -> PathBuf {
        self.root.join("layout")
    }

    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub fn missing(&self) -> PathBuf {
        self.root.join("missing")
    }

    /// `missing/<sha256>`
    pub fn missing_object(&self, sha256: Sha256) -> PathBuf {
        self.missing().join(sha256.to_string())
    }

    pub fn index(&self) -> PathBuf {
        self.root.join("index.sqlite")
    }

    pub fn catalog(&self) -> PathBuf {
        self.root.join("catalog.sqlite")
    }

    /// Lists that operators have imported into the catalog.
    pub fn catalog_lists(&self) -> PathBuf {
        self.root.join("catalog")
    }

    /// `objects/ab/abcdef...`
    pub fn object(&self, sha256: Sha256) -> PathBuf {
        self.sharded("objects", &sha256.to_string())
    }

    /// Returns the identity of an object's file. `None` if it is not on the disk.
    pub fn object_stamp(&self, sha256: Sha256) -> Option<FileStamp> {
        let metadata = fs::metadata(self.object(sha256)).ok()?;
        Some((&metadata).into())
    }

    /// `records/ab/<key>`
    pub fn records_of(&self, key: Key) -> PathBuf {
        self.sharded("records", &key.to_string())
    }

    /// `records/ab/<key>/<sha256>.json`
    pub fn record(&self, key: Key, sha256: Sha256) -> PathBuf {
        self.records_of(key).join(format!("{sha256}.json"))
    }

    pub fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    /// `pins/ab/<key>`
    pub fn pins_of(&self, key: Key) -> PathBuf {
        self.sharded("pins", &key.to_string())
    }

    /// `pins/ab/<key>/<sha256>`
    pub fn pin(&self, key: Key, sha256: Sha256) -> PathBuf {
        self.pins_of(key).join(sha256.to_string())
    }

    /// `pins/by-digest/ab/<sha256>`
    pub fn pins_by_digest(&self, sha256: Sha256) -> PathBuf {
        self.pins().join("by-digest").join(object_name(sha256))
    }

    /// `pins/by-digest/ab/<sha256>/<key>`
    pub fn pin_by_digest(&self, sha256: Sha256, key: Key) -> PathBuf {
        self.pins_by_digest(sha256).join(key.to_string())
    }

    /// `locks/evict`, the lock for eviction, which one thread among all processes of the folder
    /// holds.
    pub fn eviction_lock(&self) -> PathBuf {
        self.locks().join("evict")
    }

    /// Acquires the lock for compacting records, which one thread among all processes of the folder
    /// holds. Dropping the file releases it.
    ///
    /// # Errors
    /// As [`folder_lock::acquire`].
    pub fn lock_compaction(&self) -> std::io::Result<fs::File> {
        self.lock("compact")
    }

    /// Acquires the lock for giving a record of a target its generation, which one thread among all
    /// processes of the folder holds. Targets whose keys begin alike share a lock. It is acquired
    /// before the lock of an object. Dropping the file releases it.
    ///
    /// # Errors
    /// As [`folder_lock::acquire`].
    pub fn lock_target(&self, key: Key) -> std::io::Result<fs::File> {
        self.lock(&format!("target-{}", &key.to_string()[..2]))
    }

    /// Acquires the lock for publishing or evicting an object, which one thread among all processes
    /// of the folder holds. Objects whose digests begin alike share a lock. Dropping the file
    /// releases it.
    ///
    /// # Errors
    /// As [`folder_lock::acquire`].
    pub fn lock_object(&self, sha256: Sha256) -> std::io::Result<fs::File> {
        self.lock(&sha256.to_string()[..2])
    }

    /// Acquires the lock for replacing or removing the observations of a target. It is taken after
    /// that of an object, never before. Targets whose keys begin alike share a lock. Dropping the
    /// file releases it. Its content is the counter of `target_snapshot`.
    ///
    /// # Errors
    /// As [`folder_lock::acquire`].
    pub fn lock_observations(&self, key: Key) -> std::io::Result<fs::File> {
        self.lock(&format!("observations-{}", &key.to_string()[..2]))
    }

    /// `<folder>/ab/abcdef...`
    fn sharded(&self, folder: &str, name: &str) -> PathBuf {
        self.path([folder, &name[..2], name])
    }

    fn path<const N: usize>(&self, names: [&str; N]) -> PathBuf {
        let mut path = PathBuf::with_capacity(self.root.as_os_str().len() + PATH_BYTES);
        path.push(&self.root);
        path.extend(names);
        path
    }

    fn lock(&self, name: &str) -> std::io::Result<fs::File> {
        folder_lock::acquire(&self.locks().join(name), LOCK_TIMEOUT)
    }
}
