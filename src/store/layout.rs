//! Where things lie in the folder. The shape is fixed: other versions and other tools read it.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::OpenError;
use crate::model::{Key, Sha256};

/// `ab/abcdef...`
pub fn object_name(sha256: Sha256) -> String {
    let name = sha256.to_string();
    format!("{}/{name}", &name[..2])
}

#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the folders that do not exist yet.
    pub fn create(root: &Path) -> Result<Self, OpenError> {
        let layout = Self { root: root.to_owned() };
        for folder in [layout.objects(), layout.records(), layout.staging(), layout.locks()] {
            std::fs::create_dir_all(&folder).map_err(|why| OpenError::Folder { path: root.to_owned(), why })?;
        }
        Ok(layout)
    }

    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    fn records(&self) -> PathBuf {
        self.root.join("records")
    }

    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    fn locks(&self) -> PathBuf {
        self.root.join("locks")
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

    /// Takes the lock that publishing and evicting of an object share, across processes. It ends with the file.
    pub fn lock_object(&self, sha256: Sha256) -> std::io::Result<fs::File> {
        let file = fs::File::create(self.locks().join(&sha256.to_string()[..2]))?;
        file.file().lock()?;
        Ok(file)
    }
}
