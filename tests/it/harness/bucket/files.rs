//! Files of the store: objects by their keys, with their metadata files beside them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;

use super::super::files_under;
use super::BUCKET;

/// An incomplete multipart upload.
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) id: String,
    pub(super) began: SystemTime,
    /// File whose modification time is the start of the upload.
    file: PathBuf,
}

pub(super) struct Files {
    folder: TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::create_dir_all(folder.path().join("store").join(BUCKET)).expect("a folder can be made");
        Self { folder }
    }

    /// Returns the root folder of the store.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Writes a file in the format of /etc/hosts that resolves `name` to 127.0.0.1.
    pub(super) fn hosts_file(&self, name: &str) -> String {
        let file = self.folder.path().join("hosts");
        fs::write(&file, format!("127.0.0.1 localhost {name}\n"))
            .expect("the folder can be written");
        file.to_str().expect("the path is text").to_owned()
    }

    pub(super) fn objects(&self) -> BTreeMap<String, u64> {
        let bucket = self.root().join(BUCKET);
        let files = files_under(&bucket).into_iter();
        // A file may be removed between the listing and the `stat`.
        let sized = files
            .filter_map(|file| Some((key_of(&bucket, &file), fs::metadata(&file).ok()?.len())));
        sized.collect()
    }

    /// Returns the incomplete multipart uploads, sorted by key.
    pub(super) fn uploads(&self) -> Vec<Upload> {
        let files = fs::read_dir(self.root())
            .expect("the folder is there")
            .flatten();
        let mut uploads: Vec<_> = files.filter_map(|file| upload_of(file.path())).collect();
        uploads.sort_by(|one, other| one.key.cmp(&other.key));
        uploads
    }

    /// Moves the start of the uploads for a key into the past.
    pub(super) fn age_uploads(&self, key: &str, by: Duration) {
        for upload in self
            .uploads()
            .into_iter()
            .filter(|upload| upload.key == key)
        {
            set_date(&upload.file, upload.began - by);
        }
    }

    pub(super) fn read(&self, key: &str) -> Option<Vec<u8>> {
        fs::read(self.object(key)).ok()
    }

    pub(super) fn write(&self, key: &str, bytes: &[u8]) {
        let file = self.object(key);
        fs::create_dir_all(file.parent().expect("a key is in a bucket"))
            .expect("a folder can be made");
        self.forget(key);
        fs::write(file, bytes).expect("the folder can be written");
    }

    pub(super) fn remove(&self, key: &str) {
        fs::remove_file(self.object(key)).expect("the object is there");
        self.forget(key);
    }

    pub(super) fn damage(&self, key: &str) {
        let file = self.object(key);
        let date = fs::metadata(&file)
            .and_then(|metadata| metadata.modified())
            .expect("the object is there");
        let mut bytes = fs::read(&file).expect("the object is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(&file, bytes).expect("the object can be written");
        set_date(&file, date);
    }

    pub(super) fn age(&self, key: &str, by: Duration) {
        let file = self.object(key);
        let date = fs::metadata(&file)
            .and_then(|metadata| metadata.modified())
            .expect("the object is there");
        set_date(&file, date - by);
    }

    /// Truncates an object to its first `size` bytes.
    pub(super) fn truncate(&self, key: &str, size: u64) {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(self.object(key))
            .expect("the object is there");
        file.set_len(size).expect("the object can be written");
    }

    /// Removes the metadata files of deleted objects. The server keeps them, and would apply them
    /// to later objects with the same keys.
    pub(super) fn tidy(&self) {
        for file in fs::read_dir(self.root())
            .expect("the folder is there")
            .flatten()
        {
            let name = file.file_name().to_string_lossy().into_owned();
            let Some(key) = key_of_sidecar(&name) else {
                continue;
            };
            if !self.object(&key).exists() {
                self.forget(&key);
            }
        }
    }

    fn object(&self, key: &str) -> PathBuf {
        self.root().join(BUCKET).join(key)
    }

    fn forget(&self, key: &str) {
        for kind in ["metadata", "internal"] {
            let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
            let name = format!(
                ".bucket-{}.object-{}.{kind}.json",
                encode(BUCKET),
                encode(key)
            );
            // An object that the test wrote directly has no metadata file.
            drop(fs::remove_file(self.root().join(name)));
        }
    }
}

fn key_of(bucket: &Path, file: &Path) -> String {
    file.strip_prefix(bucket)
        .expect("the file is in the bucket")
        .to_str()
        .expect("a key is text")
        .to_owned()
}

fn key_of_sidecar(name: &str) -> Option<String> {
    let (_, rest) = name.split_once(".object-")?;
    let encoded = rest
        .strip_suffix(".metadata.json")
        .or_else(|| rest.strip_suffix(".internal.json"))?;
    // The name has a dot here if the file belongs to an incomplete upload; such a file is ignored.
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

fn upload_of(file: PathBuf) -> Option<Upload> {
    let name = file
        .file_name()?
        .to_str()?
        .strip_suffix(".metadata.json")?
        .to_owned();
    let (encoded, id) = name.split_once(".object-")?.1.split_once(".upload-")?;
    let key = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    let began = fs::metadata(&file)
        .and_then(|metadata| metadata.modified())
        .ok()?;
    Some(Upload {
        key,
        id: id.to_owned(),
        began,
        file,
    })
}

fn set_date(file: &Path, date: SystemTime) {
    let file = fs::OpenOptions::new()
        .write(true)
        .open(file)
        .expect("the object is there");
    file.set_modified(date).expect("a date can be set");
}
