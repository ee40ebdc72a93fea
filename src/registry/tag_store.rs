//! Known tags, in files below `state_dir/tags/`, one for each tag.
//!
//! The main type is [`TagStore`].

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::reference::parse_digest;
use super::state_files::StateFiles;
use crate::model::{Digest, Target};

/// Version of the files. Files of other versions are ignored.
const VERSION: u32 = 1;

/// Bound on a file, in bytes: a URL and two digests.
const MAX_FILE_BYTES: u64 = 16 << 10;

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

/// Result for a tag whose image was adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdoptedTag {
    /// The tag has the digest of the image now, or had it before.
    New,
    /// The registry has stated another digest before.
    Other(Digest),
}

/// The files of all tags.
#[derive(Debug, Clone)]
pub struct TagStore {
    files: StateFiles,
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
            files: StateFiles::new(folder),
        }
    }

    /// Returns a tag. One that cannot be read counts as unknown.
    pub async fn read(&self, target: &Target) -> Option<KnownTag> {
        self.files.known(target, read_file).await
    }

    /// Returns all tags with their targets. Files that cannot be read are left out.
    ///
    /// # Errors
    /// The error of the disk.
    pub async fn all(&self) -> io::Result<Vec<(Target, KnownTag)>> {
        let files = self.files.clone();
        let read = move || {
            let mut tags = Vec::new();
            for path in files.paths()? {
                match read_any(&path) {
                    Ok(tag) => tags.push(tag),
                    Err(error) => tracing::debug!(%error, "a known tag cannot be read"),
                }
            }
            Ok(tags)
        };
        let read = spawn_blocking(read).await;
        read.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }

    /// Writes a tag. A failure is logged: the registry is asked again.
    pub async fn write(&self, target: &Target, known: KnownTag) {
        let (files, target) = (self.files.clone(), target.clone());
        let write = move || write_file(&files, &target, &known);
        let written = spawn_blocking(write).await;
        if let Err(error) = written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            tracing::warn!(%error, "a tag cannot be written, its registry will be asked again");
        }
    }

    /// Writes the tag of an adopted image, unless it is known. The registry is asked for it by the
    /// next request, and the image is served if the registry is away.
    ///
    /// # Errors
    /// The error of the disk.
    pub async fn adopt(&self, target: &Target, digest: &Digest) -> io::Result<AdoptedTag> {
        let (files, target, digest) = (self.files.clone(), target.clone(), digest.clone());
        let write = move || match read_file(&files.path(&target), &target) {
            Ok(known) if known.digest == digest => Ok(AdoptedTag::New),
            Ok(known) => Ok(AdoptedTag::Other(known.digest)),
            Err(_) => {
                let adopted = KnownTag {
                    digest,
                    previous: None,
                    checked_at: SystemTime::UNIX_EPOCH,
                };
                write_file(&files, &target, &adopted)?;
                Ok(AdoptedTag::New)
            }
        };
        let written = spawn_blocking(write).await;
        written.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }

    /// Removes a tag that its registry has deleted.
    pub async fn remove(&self, target: &Target) {
        let (files, target) = (self.files.clone(), target.clone());
        let removed = spawn_blocking(move || files.remove(&target)).await;
        if let Err(error) = removed.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            tracing::warn!(%error, "a deleted tag cannot be removed");
        }
    }
}

fn read_file(path: &Path, target: &Target) -> io::Result<KnownTag> {
    let (found, known) = read_any(path)?;
    if found != *target {
        return Err(io::Error::other("the file is of another tag"));
    }
    Ok(known)
}

/// Reads a file, whatever its tag.
fn read_any(path: &Path) -> io::Result<(Target, KnownTag)> {
    let bytes = StateFiles::read(path, MAX_FILE_BYTES)?;
    let file: TagFile = serde_json::from_slice(&bytes)?;
    let digest = |text: &str| parse_digest(text).map_err(io::Error::other);
    if file.version != VERSION {
        return Err(io::Error::other("the file is of another version"));
    }
    let target = Target::parse(&file.target).map_err(io::Error::other)?;
    let known = KnownTag {
        digest: digest(&file.digest)?,
        previous: file.previous.as_deref().map(digest).transpose()?,
        checked_at: SystemTime::UNIX_EPOCH + Duration::from_secs(file.checked_at),
    };
    Ok((target, known))
}

fn write_file(files: &StateFiles, target: &Target, known: &KnownTag) -> io::Result<()> {
    let checked_at = known.checked_at.duration_since(SystemTime::UNIX_EPOCH);
    let file = TagFile {
        version: VERSION,
        target: target.as_str().to_owned(),
        digest: known.digest.to_string(),
        previous: known.previous.as_ref().map(Digest::to_string),
        checked_at: checked_at.unwrap_or_default().as_secs(),
    };
    files.write(target, &serde_json::to_vec(&file)?)
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
        let path = store.files.path(&target("one"));
        let known = KnownTag {
            digest: parse_digest(&format!("sha256:{}", "ab".repeat(32))).unwrap(),
            previous: Some(parse_digest(&format!("sha512:{}", "cd".repeat(64))).unwrap()),
            checked_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000),
        };
        for _ in 0..2 {
            write_file(&store.files, &target("one"), &known).unwrap();
        }
        assert_eq!(read_file(&path, &target("one")).unwrap(), known);
        // The file of another tag is not the answer.
        assert!(read_file(&path, &target("two")).is_err());
        std::fs::write(&path, "{").unwrap();
        assert!(read_file(&path, &target("one")).is_err());
        assert_eq!(store.files.paths().unwrap(), [path]);
    }
}
