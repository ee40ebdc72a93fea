//! Known tags, in files below `state_dir/tags/`, one for each tag.
//!
//! A file is replaced by rename and not synced: after a power cut, the registry is asked again. The
//! main type is [`TagStore`].

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::reference::parse_digest;
use crate::model::{Digest, Key, Target};

/// Version of the files. Files of other versions are ignored.
const VERSION: u32 = 1;

/// Bound on the files. The oldest ones are removed.
const MAX_TAGS: usize = 50_000;

/// Number of new files after which the files are counted.
const COUNT_INTERVAL: usize = 1000;

/// Bound on a file, in bytes: a URL and two digests.
const MAX_FILE_BYTES: u64 = 16 << 10;

/// The names of private images are for the user of the service only.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Answer of a registry for a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTag {
    pub digest: Digest,
    /// Digest before the last change.
    pub previous: Option<Digest>,
    pub checked_at: SystemTime,
}

impl KnownTag {
    /// Returns a tag that its registry has just stated.
    #[must_use]
    pub fn now(digest: Digest, known: Option<Self>) -> Self {
        let previous = known.and_then(|known| {
            if known.digest == digest {
                known.previous
            } else {
                Some(known.digest)
            }
        });
        Self {
            digest,
            previous,
            checked_at: SystemTime::now(),
        }
    }
}

/// The files of all tags.
#[derive(Debug, Clone)]
pub struct TagStore {
    folder: PathBuf,
    /// Files that were made since they were counted.
    new_files: Arc<AtomicUsize>,
}

#[derive(Serialize, Deserialize)]
struct TagFile {
    version: u32,
    target: String,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    /// Seconds since 1970.
    checked_at: u64,
}

impl TagStore {
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self::in_folder(state_dir.join("tags"))
    }

    /// Returns the store of what tags were first seen with, of the same form.
    #[must_use]
    pub fn of_new_digests(state_dir: &Path) -> Self {
        Self::in_folder(state_dir.join("new-tags"))
    }

    fn in_folder(folder: PathBuf) -> Self {
        Self {
            folder,
            // The first new file has all files counted.
            new_files: Arc::new(AtomicUsize::new(COUNT_INTERVAL)),
        }
    }

    /// Returns a tag. One that cannot be read counts as unknown.
    pub async fn read(&self, target: &Target) -> Option<KnownTag> {
        let (path, target) = (self.path(target), target.clone());
        let read = spawn_blocking(move || read_file(&path, &target)).await;
        match read.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(known) => Some(known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, "a known tag cannot be read");
                None
            }
        }
    }

    /// Writes a tag. A failure is logged: the registry is asked again.
    pub async fn write(&self, target: &Target, known: KnownTag) {
        let (store, path, target) = (self.clone(), self.path(target), target.clone());
        let write = move || {
            let is_new = write_file(&path, &target, &known)?;
            if is_new && store.new_files.fetch_add(1, Ordering::Relaxed) >= COUNT_INTERVAL {
                store.new_files.store(0, Ordering::Relaxed);
                remove_oldest(&store.folder)?;
            }
            Ok(())
        };
        let written = spawn_blocking(write).await;
        if let Err(error) = written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            tracing::warn!(%error, "a tag cannot be written, its registry will be asked again");
        }
    }

    /// Removes a tag that its registry has deleted.
    pub async fn remove(&self, target: &Target) {
        let path = self.path(target);
        let removed = spawn_blocking(move || fs::remove_file(path)).await;
        match removed.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a deleted tag cannot be removed");
            }
            _ => {}
        }
    }

    fn path(&self, target: &Target) -> PathBuf {
        let key = Key::new(target).to_string();
        self.folder.join(&key[..2]).join(format!("{key}.json"))
    }
}

fn read_file(path: &Path, target: &Target) -> io::Result<KnownTag> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)?;
    let file: TagFile = serde_json::from_slice(&bytes)?;
    let digest = |text: &str| parse_digest(text).map_err(io::Error::other);
    if file.version != VERSION || file.target != target.as_str() {
        return Err(io::Error::other("the file is of another version or tag"));
    }
    Ok(KnownTag {
        digest: digest(&file.digest)?,
        previous: file.previous.as_deref().map(digest).transpose()?,
        checked_at: SystemTime::UNIX_EPOCH + Duration::from_secs(file.checked_at),
    })
}

/// Returns whether the file is new.
fn write_file(path: &Path, target: &Target, known: &KnownTag) -> io::Result<bool> {
    let checked_at = known.checked_at.duration_since(SystemTime::UNIX_EPOCH);
    let file = TagFile {
        version: VERSION,
        target: target.as_str().to_owned(),
        digest: known.digest.to_string(),
        previous: known.previous.as_ref().map(Digest::to_string),
        checked_at: checked_at.unwrap_or_default().as_secs(),
    };
    let is_new = !path.exists();
    if let Some(folder) = path.parent().filter(|_| is_new) {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(FOLDER_MODE).create(folder)?;
    }
    let draft = path.with_extension("draft");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    let mut written = options.mode(FILE_MODE).open(&draft)?;
    written.write_all(&serde_json::to_vec(&file)?)?;
    fs::rename(&draft, path)?;
    Ok(is_new)
}

/// Removes the files that were written longest ago, if there are too many.
fn remove_oldest(folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for group in fs::read_dir(folder)? {
        for file in fs::read_dir(group?.path())? {
            let file = file?;
            files.push((file.metadata()?.modified()?, file.path()));
        }
    }
    let surplus = files.len().saturating_sub(MAX_TAGS);
    if surplus == 0 {
        return Ok(());
    }
    files.sort_unstable();
    for (_, path) in &files[..surplus] {
        fs::remove_file(path)?;
    }
    tracing::info!(surplus, "removed the tags that were asked for longest ago");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tags_survive_as_files() {
        let folder = tempfile::tempdir().unwrap();
        let target = |tag: &str| {
            Target::parse(&format!(
                "https://registry.example.org/v2/a/manifests/{tag}"
            ))
            .unwrap()
        };
        let store = TagStore::new(folder.path());
        let path = store.path(&target("one"));
        let known = KnownTag {
            digest: parse_digest(&format!("sha256:{}", "ab".repeat(32))).unwrap(),
            previous: Some(parse_digest(&format!("sha512:{}", "cd".repeat(64))).unwrap()),
            checked_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000),
        };
        assert!(write_file(&path, &target("one"), &known).unwrap());
        assert!(!write_file(&path, &target("one"), &known).unwrap());
        assert_eq!(read_file(&path, &target("one")).unwrap(), known);
        // The file of another tag is not the answer.
        assert!(read_file(&path, &target("two")).is_err());
        fs::write(&path, "{").unwrap();
        assert!(read_file(&path, &target("one")).is_err());
        remove_oldest(&store.folder).unwrap();
        assert!(path.exists());
    }
}
