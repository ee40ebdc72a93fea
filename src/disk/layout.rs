//! Where things lie in the folder. The shape is fixed: other versions and other tools read it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fs_err as fs;

use super::{OpenError, durable_dirs};
use crate::model::{Key, Sha256};

/// `ab/abcdef...`
pub fn object_name(sha256: Sha256) -> String {
    let name = sha256.to_string();
    format!("{}/{name}", &name[..2])
}

/// `<process>/<id>`: a file in the staging folder. However it was come by, it names nothing outside
/// of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedName {
    pub(super) process: String,
    pub(super) id: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("this names no file of the staging folder")]
pub struct StagedNameError;

impl FromStr for StagedName {
    type Err = StagedNameError;

    fn from_str(text: &str) -> Result<Self, StagedNameError> {
        let (process, id) = text.split_once('/').ok_or(StagedNameError)?;
        let is_process =
            process.len() == 16 && process.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = id.parse().map_err(|_| StagedNameError)?;
        if is_process {
            Ok(Self {
                process: process.to_owned(),
                id,
            })
        } else {
            Err(StagedNameError)
        }
    }
}

impl fmt::Display for StagedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.process, self.id)
    }
}

#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Creates the root folder, and nothing in it.
    ///
    /// # Errors
    /// [`OpenError::Folder`] if it cannot be created.
    pub fn at(root: &Path) -> Result<Self, OpenError> {
        durable_dirs::make_root(root).map_err(|why| OpenError::Folder {
            path: root.to_owned(),
            why,
        })?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Creates the folders in it that do not exist yet.
    ///
    /// # Errors
    /// [`OpenError::Folder`] if one cannot be created.
    pub fn create_folders(&self) -> Result<(), OpenError> {
        let folders = [
            self.objects(),
            self.records(),
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

    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// `staging/<process>/<id>`
    pub fn staged(&self, name: &StagedName) -> PathBuf {
        self.staging().join(&name.process).join(name.id.to_string())
    }

    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    pub fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    /// `leases/<key>`
    pub fn lease(&self, key: Key) -> PathBuf {
        self.leases().join(key.to_string())
    }

    /// `locks/scrub`
    pub fn scrub_lock(&self) -> PathBuf {
        self.locks().join("scrub")
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

    /// `objects/ab/abcdef...`
    pub fn object(&self, sha256: Sha256) -> PathBuf {
        self.objects().join(object_name(sha256))
    }

    /// `records/ab/<key>`
    pub fn records_of(&self, key: Key) -> PathBuf {
        let name = key.to_string();
        self.records().join(&name[..2]).join(name)
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
        let name = key.to_string();
        self.pins().join(&name[..2]).join(name)
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

    /// Takes the lock of whoever makes room in the folder, across processes. It ends with the file.
    pub fn lock_eviction(&self) -> std::io::Result<fs::File> {
        let file = fs::File::create(self.locks().join("evict"))?;
        file.file().lock()?;
        Ok(file)
    }

    /// Takes the lock that publishing and evicting of an object share, across processes. It ends
    /// with the file.
    pub fn lock_object(&self, sha256: Sha256) -> std::io::Result<fs::File> {
        let file = fs::File::create(self.locks().join(&sha256.to_string()[..2]))?;
        file.file().lock()?;
        Ok(file)
    }
}
