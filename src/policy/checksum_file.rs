//! Checksum file: the SHA-256 that an operator requires of each target.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::model::{ConfigError, DigestError, Key, Sha256, Target, TargetError};

/// Largest checksum file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Error returned for an invalid line. The text never shows the URL, which may contain a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {error}")]
pub struct ChecksumFileError {
    /// Line number, from 1.
    pub line: usize,
    pub error: ChecksumLineError,
}

/// Reason why a line is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumLineError {
    #[error("invalid line; expected the format of sha256sum: <64 hex digits>  <URL>")]
    Form,
    #[error("{0}")]
    Digest(#[from] DigestError),
    #[error("{0}")]
    Target(#[from] TargetError),
    #[error("line {0} has another digest for the same URL")]
    Contradiction(usize),
}

/// Digests of a checksum file, by target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChecksumList {
    /// Digest of each target, with its line number.
    by_key: HashMap<Key, (Sha256, usize)>,
}

impl ChecksumList {
    /// Parses lines in the format of `sha256sum`, with a URL in place of the file name.
    ///
    /// Empty lines and lines that begin with # are skipped.
    ///
    /// # Errors
    /// [`ChecksumFileError`] for the first invalid line. The file is used completely or not at all.
    pub fn parse(text: &str) -> Result<Self, ChecksumFileError> {
        let mut list = Self::default();
        for (number, line) in text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()))
        {
            if !line.is_empty() && !line.starts_with('#') {
                list.add(number, line).map_err(|error| ChecksumFileError {
                    line: number,
                    error,
                })?;
            }
        }
        Ok(list)
    }

    fn add(&mut self, number: usize, line: &str) -> Result<(), ChecksumLineError> {
        let (hex, rest) = line
            .split_once([' ', '\t'])
            .ok_or(ChecksumLineError::Form)?;
        let rest = rest.trim_start();
        // `sha256sum` marks binary mode with `*`.
        let target = Target::parse(rest.strip_prefix('*').unwrap_or(rest))?;
        let sha256: Sha256 = hex.parse()?;
        match self.by_key.entry(Key::new(&target)) {
            Entry::Vacant(vacant) => {
                vacant.insert((sha256, number));
                Ok(())
            }
            Entry::Occupied(other) if other.get().0 != sha256 => {
                Err(ChecksumLineError::Contradiction(other.get().1))
            }
            Entry::Occupied(_) => Ok(()),
        }
    }

    /// Returns the required SHA-256 of a target.
    #[must_use]
    pub fn get(&self, target: &Target) -> Option<Sha256> {
        // Avoid hashing the target if there is no checksum file.
        if self.by_key.is_empty() {
            None
        } else {
            self.by_key
                .get(&Key::new(target))
                .map(|(sha256, _)| *sha256)
        }
    }

    /// Returns the number of targets in the file.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

/// File attributes that show a change of the file. All are zero or `None` for a missing file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stamp {
    modified_at: Option<SystemTime>,
    size_bytes: u64,
    inode: u64,
}

impl Stamp {
    fn new(metadata: &Metadata) -> Self {
        Self {
            modified_at: metadata.modified().ok(),
            size_bytes: metadata.len(),
            inode: metadata.ino(),
        }
    }
}

/// Checksum file, with the stamp of the last read.
#[derive(Debug, Clone)]
pub struct ChecksumFile {
    path: PathBuf,
    stamp: Stamp,
    /// Stamp at the last check, if the file was changed but not read then.
    pending: Option<Stamp>,
}

impl ChecksumFile {
    /// Reads the file. An empty path means that there is no file.
    ///
    /// # Errors
    /// [`ConfigError`] with the file, and the line number of an invalid line.
    pub fn read(path: &Path) -> Result<(Self, ChecksumList), ConfigError> {
        let mut file = Self {
            path: path.to_owned(),
            stamp: Stamp::default(),
            pending: None,
        };
        let list = if path.as_os_str().is_empty() {
            ChecksumList::default()
        } else {
            file.read_again()?
        };
        Ok((file, list))
    }

    /// Reads the file again if it has changed since the last read, successful or not.
    ///
    /// The file must be unchanged between two checks: a file that is being written may parse.
    pub fn read_if_changed(&mut self) -> Option<Result<ChecksumList, ConfigError>> {
        if self.path.as_os_str().is_empty() {
            return None;
        }
        let stamp = std::fs::metadata(&self.path)
            .map(|metadata| Stamp::new(&metadata))
            .unwrap_or_default();
        if stamp == self.stamp {
            self.pending = None;
            return None;
        }
        if self.pending.replace(stamp.clone()) != Some(stamp) {
            return None;
        }
        self.pending = None;
        Some(self.read_again())
    }

    fn read_again(&mut self) -> Result<ChecksumList, ConfigError> {
        let invalid = |reason: String| ConfigError::new("policy.checksums_file", reason);
        let path = self.path.display();
        self.stamp = Stamp::default();
        let (text, stamp) =
            read(&self.path).map_err(|error| invalid(format!("{path}: {error}")))?;
        let list = ChecksumList::parse(&text).map_err(|error| invalid(format!("{path}:{error}")));
        self.stamp = stamp;
        list
    }
}

fn read(path: &Path) -> io::Result<(String, Stamp)> {
    let file = File::open(path)?;
    let stamp = Stamp::new(&file.metadata()?);
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!(
            "the file is larger than {MAX_FILE_BYTES} bytes"
        )));
    }
    Ok((text, stamp))
}
